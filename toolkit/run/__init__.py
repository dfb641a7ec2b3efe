"""A run: from clips to a feature folder, in worker processes or on a cluster."""
