"""One OpenFace CSV in memory, row by row as the file has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import OpenFaceError
from fmltk.toolkit.vision.openface.layout import OPENFACE_GROUPS, openface_features

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class OpenFaceTable:
    """One OpenFace CSV, row by row as the file has it; a frame with several faces has several rows.

    Attributes
    ----------
    path
        The file.
    frame : int64, shape (n,)
        The frame's number: 1-based as OpenFace writes it, 0-based in some filtered files. 1 in `image_mode`.
    face_id : int64, shape (n,)
        Which face of the frame; 0 where the file has no such column.
    timestamp_s : float64, shape (n,)
        Seconds since the first frame, as frame / fps; NaN where the column is absent or every one is 0.000.
    confidence : float64, shape (n,), 0..1
        NaN where absent.
    success : bool, shape (n,)
        Whether the face was found. Rows where it was not still carry numbers, which mean nothing.
    names
        The feature columns among OpenFace's 709, in the file's order, with their case; other columns are left out.
    values : float32, shape (n, len(names))
        NaN where the file says nan, -nan or nothing.
    image_mode
        The file is FaceLandmarkImg's, of one picture.
    """

    path: Path
    frame: NDArray[np.int64]
    face_id: NDArray[np.int64]
    timestamp_s: NDArray[np.float64]
    confidence: NDArray[np.float64]
    success: NDArray[np.bool_]
    names: tuple[str, ...]
    values: NDArray[np.float32]
    image_mode: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of OPENFACE_GROUPS that the file has whole."""
        return tuple(group for group in OPENFACE_GROUPS if not self.missing_names([group]))

    def missing_names(self, groups: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the columns of `groups` (None: of all seven) that the file does not have.

        Raises ConfigError if `groups` holds an unknown name.
        """
        present = frozenset(self.names)
        return tuple(feature.name for feature in openface_features(groups) if feature.name not in present)

    def columns(self, names: Sequence[str], rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Return the named columns in the order asked for, shape (n_rows, len(names)); `rows` None is all rows.

        Raises OpenFaceError if the file has not all of them.
        """
        index = {name: i for i, name in enumerate(self.names)}
        missing = [name for name in names if name not in index]
        if missing:
            raise OpenFaceError(f"{self.path}: no column {missing[0]!r} ({len(missing)} of {len(names)} are missing)")
        values = self.values if rows is None else self.values[rows]
        return values[:, [index[name] for name in names]]
