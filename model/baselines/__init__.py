"""Models to compare with, trained by the same trainer on the same data. Importing this registers them."""

from fmltk.model.baselines import late_fusion

__all__ = ["late_fusion"]
