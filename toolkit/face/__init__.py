"""fmltk: from a folder of videos to a trained multimodal sentiment model.

The names that a notebook or a script starts with; each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmltk._features import align, pad, report
    from fmltk._labels import aggregate, agreement, import_ratings
    from fmltk._models import predict, train
    from fmltk.model.predict import FmlMSN
    from fmltk.toolkit import errors
    from fmltk.toolkit.features.feature_set import read_features
    from fmltk.toolkit.run.extract import extract

    __version__: str

__all__ = [
    "FmlMSN",
    "__version__",
    "aggregate",
    "agreement",
    "align",
    "errors",
    "extract",
    "import_ratings",
    "pad",
    "predict",
    "read_features",
    "report",
    "train",
]

_HOMES = {  # the module of each name that is not a module itself
    "FmlMSN": "fmltk.model.predict",
    "aggregate": "fmltk._labels",
    "agreement": "fmltk._labels",
    "align": "fmltk._features",
    "extract": "fmltk.toolkit.run.extract",
    "import_ratings": "fmltk._labels",
    "pad": "fmltk._features",
    "predict": "fmltk._models",
    "read_features": "fmltk.toolkit.features.feature_set",
    "report": "fmltk._features",
    "train": "fmltk._models",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use: torch, pandas and librosa take seconds."""
    import importlib

    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("fmltk")
    elif name == "errors":
        value = importlib.import_module("fmltk.toolkit.errors")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
