"""The search for a model's settings on the validation clips, with Optuna."""
