"""Libraries that break each other: how fmltk imports them safely.

torchvision is a dependency of facenet-pytorch, and pip installs a build of it for CUDA. Beside a CPU build of torch it
fails to import ("operator torchvision::nms does not exist"). transformers sees that it is installed, imports it, and
fails with it. fmltk itself needs no torchvision: neither for text nor for faces.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from enum import Enum


class Torchvision(Enum):
    """The findings of `guard_torchvision`."""

    USABLE = "usable"
    ABSENT = "absent"
    HIDDEN = "hidden"  # installed, but it cannot be imported here


def guard_torchvision() -> Torchvision:
    """Hide a torchvision that cannot be imported, so that other libraries treat it as absent.

    Call it before importing transformers. A torchvision that works, or none at all, is left as it is. Hiding sets
    ``sys.modules["torchvision"]`` to None for this process: ``import torchvision`` then raises ModuleNotFoundError and
    ``importlib.util.find_spec`` finds nothing. Calling it again changes nothing.
    """
    if "torchvision" in sys.modules:
        return Torchvision.HIDDEN if sys.modules["torchvision"] is None else Torchvision.USABLE
    if importlib.util.find_spec("torchvision") is None:
        return Torchvision.ABSENT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("torchvision")
    except (ImportError, OSError, RuntimeError, AttributeError):
        # A failed import leaves the submodules that it got through; they are as unusable as the whole.
        for name in [name for name in sys.modules if name.startswith("torchvision.")]:
            del sys.modules[name]
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        return Torchvision.HIDDEN
    return Torchvision.USABLE
