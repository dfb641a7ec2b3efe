"""Labels from annotators: Label Studio projects, imports, aggregation, agreement."""
