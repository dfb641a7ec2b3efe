"""The feature folder: its tables, shards, padding rule and labels."""
