"""Models to compare with, trained by the same trainer on the same data."""
