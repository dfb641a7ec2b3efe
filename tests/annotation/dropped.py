"""The file of dropped annotations that an import writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fmltk.annotation.importing.import_files import dropped_path

if TYPE_CHECKING:
    from pathlib import Path


def dropped_lines(ratings: Path) -> list[dict[str, Any]]:
    """Return every line of the file of dropped annotations of a table of ratings."""
    return [json.loads(line) for line in dropped_path(ratings).read_text(encoding="utf-8").splitlines()]
