"""Which OpenFace CSV of a folder belongs to a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.errors import OpenFaceError
from fmltk.toolkit.vision.clip_tables import FoundTable, find_clip_table

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from fmltk.toolkit.clip import Clip


def find_openface_csv(folder: str | Path, clip: Clip, *, shared_stems: Collection[str] = ()) -> FoundTable:
    """Return the CSV of a clip in a folder of OpenFace CSVs; see `find_clip_table`. Raises OpenFaceError."""
    return find_clip_table(folder, clip, shared_stems=shared_stems, what="OpenFace CSV", error=OpenFaceError)
