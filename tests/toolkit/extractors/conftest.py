"""Feature sets: transformers is imported by the tests, so a torchvision that it cannot import is hidden first."""

from __future__ import annotations

from fmltk.toolkit.compat import guard_torchvision

guard_torchvision()
