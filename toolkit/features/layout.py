"""What a feature folder contains beside its tables, and the version of their schema."""

from __future__ import annotations

SCHEMA_VERSION = 1
RUN_FILE, SHARD_FOLDER = "run.json", "shards"  # what a run keeps beside the tables, and a feature folder is known by
MANIFEST_FILE = "manifest.parquet"
