"""OpenFace 2: its features, its CSVs, its program."""
