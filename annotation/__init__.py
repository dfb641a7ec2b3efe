"""Labels from raters: Label Studio projects, imports, aggregation, agreement."""
