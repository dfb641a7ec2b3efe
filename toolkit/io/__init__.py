"""Files on this machine and in buckets: paths, atomic writing, Parquet, tables, encodings."""
