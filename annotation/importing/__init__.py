"""From annotators' exports to ratings.parquet."""
