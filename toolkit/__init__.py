"""Features from videos: framing, faces, OpenFace, acoustics, text, padding, Parquet."""
