"""benchmark.json, which `fmltk benchmark` writes, as a report reads it: without what makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import StoreError, advised
from fmltk.toolkit.io import documents

if TYPE_CHECKING:
    from pathlib import Path

RESULT_FILE = "benchmark.json"
_NUMBER = (float, int, type(None))
_RESULT_SHAPE = {
    "family": str,
    "split": str,
    "n_clips": int,
    "tables": [{"key": str, "title": str, "columns": [str], "rows": [[str]], "bold": [[int]], "note": str}],
    "systems": [
        {"name": str, "metrics": {"*": {"mean": _NUMBER, "low": _NUMBER, "high": _NUMBER, "values": [_NUMBER]}}}
    ],
}
_damaged = advised(StoreError, "run the same `fmltk benchmark` again")


def read_results(out: Path) -> dict[str, Any]:
    """Return benchmark.json of a benchmark's folder. Raises StoreError if there is none, or it is broken."""
    document = documents.read_json(out / RESULT_FILE, error=_damaged)
    documents.check_shape(document, _RESULT_SHAPE, name=str(out / RESULT_FILE), error=_damaged)
    return document
