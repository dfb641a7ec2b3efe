"""The clips of a feature folder that a careful researcher would look at, and what becomes of them."""
