"""Video and sound files: probing, decoding, external programs."""
