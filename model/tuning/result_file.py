"""tuning.json, which `fmltk tune` writes, as a report reads it: without what makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import StoreError, advised
from fmltk.toolkit.io import documents

if TYPE_CHECKING:
    from pathlib import Path

RESULT_FILE = "tuning.json"
_NUMBER = (float, int, type(None))
_RESULT_SHAPE = {
    "model": str,
    "space": {},
    "trials": [{"number": int, "state": str, "value": _NUMBER, "settings": {}}],
    "best": int,
    "importances": {"*": _NUMBER},
    "remarks": [str],
}
_damaged = advised(StoreError, "run the same `fmltk tune` again")


def read_tuning(out: Path) -> dict[str, Any]:
    """Return tuning.json of a search. Raises StoreError if there is none, or it is broken."""
    document = documents.read_json(out / RESULT_FILE, error=_damaged)
    documents.check_shape(document, _RESULT_SHAPE, name=str(out / RESULT_FILE), error=_damaged)
    return document
