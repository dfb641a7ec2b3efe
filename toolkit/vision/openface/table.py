"""Read OpenFace's CSVs; `files` finds the one of a clip, `align` puts it on the clip's 30 Hz grid.

Columns are taken by name, never by position: OpenFace writes only the groups that it was asked for, and its versions
differ.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import OpenFaceError, advised
from fmltk.toolkit.io.tables import open_table
from fmltk.toolkit.vision.openface.layout import OPENFACE_FEATURES
from fmltk.toolkit.vision.openface.rows import OpenFaceTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.io.tables import DelimitedTable

MAX_CSV_BYTES = 2 * 1024**3  # about four hours of 709 features at 30 Hz
REMEDY = "if OpenFace wrote it, run OpenFace again"
# Texts that C++ run-times print for "not a number", also after the space of ", ".
_SPELLINGS = ("", "nan", "-nan", "NaN", "-NaN", "nan(ind)", "-nan(ind)", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN")
NOT_A_NUMBER = (*_SPELLINGS, *(f" {spelling}" for spelling in _SPELLINGS))

_FEATURE_NAMES = frozenset(feature.name for feature in OPENFACE_FEATURES)
_HEAD_COLUMNS = ("frame", "face_id", "face", "timestamp", "confidence", "success")


def read_openface(path: str | Path, *, max_bytes: int = MAX_CSV_BYTES) -> OpenFaceTable:
    """Read one CSV of OpenFace 2 (or 1), made by FeatureExtraction, FaceLandmarkVidMulti or FaceLandmarkImg.

    Accepts what every table may be (commas, tabs or semicolons, with or without a space after them; UTF-8, UTF-16 or
    GB18030; CRLF; blank lines), and any order and any subset of the feature columns.

    max_bytes : int
        Larger files are refused; raise it to read them.

    Raises OpenFaceError if the file cannot be read, is empty, is not an OpenFace CSV, has no rows, has a column twice,
    ends inside a row, or holds something that is not a number. A file that was cut exactly between two rows looks
    whole; `openface_sequence` finds that out, as it knows how long the clip is.
    """
    path = Path(path)
    with contextlib.suppress(OSError):  # open_table says what it is
        n_bytes = path.stat().st_size
        if n_bytes > max_bytes:
            raise OpenFaceError(f"{path}: has {n_bytes:,} bytes, more than the limit of {max_bytes:,}")
    with open_table(path, error=advised(OpenFaceError, REMEDY)) as table:
        return _read(path, table)


def _read(path: Path, table: DelimitedTable) -> OpenFaceTable:
    header = table.header
    image_mode = "face" in header and "frame" not in header
    _check_header(path, header, image_mode)
    heads = [name for name in _HEAD_COLUMNS if name in header]
    names = tuple(name for name in header if name in _FEATURE_NAMES)
    head, values = _read_columns(table, heads, names)
    n_rows = len(values)
    if n_rows == 0:
        raise OpenFaceError(f"{path}: has a header but no rows; OpenFace read no frame: run it again")
    columns = dict(zip(heads, head.T, strict=True))
    nan = np.full(n_rows, np.nan)
    frame = np.ones(n_rows, np.int64) if image_mode else _whole_numbers(path, "frame", columns["frame"])
    face = "face_id" if "face_id" in columns else "face"
    return OpenFaceTable(
        path=path,
        frame=frame,
        face_id=_whole_numbers(path, face, columns[face]) if face in columns else np.zeros(n_rows, np.int64),
        timestamp_s=_meaningful(columns.get("timestamp", nan), frame),
        confidence=columns.get("confidence", nan),
        success=np.ones(n_rows, bool) if image_mode else columns["success"] > 0.5,
        names=names,
        values=values,
        image_mode=image_mode,
    )


def _check_header(path: Path, header: Sequence[str], image_mode: bool) -> None:
    needed = () if image_mode else ("frame", "success")
    for name in needed:
        if name not in header:
            begin = ", ".join(header[:5])[:80]
            raise OpenFaceError(f"{path} is not an OpenFace CSV: no column {name!r}; its columns begin with {begin!r}")
    counts = Counter(name for name in header if name in _FEATURE_NAMES or name in _HEAD_COLUMNS)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise OpenFaceError(f"{path}: column {repeated[0]!r} stands {counts[repeated[0]]} times in the header")
    if not _FEATURE_NAMES.intersection(counts):
        raise OpenFaceError(
            f"{path}: has none of OpenFace's {len(OPENFACE_FEATURES)} feature columns; run FeatureExtraction with"
            " -gaze -pose -2Dfp -3Dfp -pdmparams -aus"
        )


def _read_columns(
    table: DelimitedTable, heads: Sequence[str], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the head columns, shape (n, len(heads)), and the features, shape (n, len(names))."""
    head_parts: list[NDArray[np.float64]] = [np.empty((0, len(heads)))]
    value_parts: list[NDArray[np.float32]] = [np.empty((0, len(names)), np.float32)]
    columns = [table.header.index(name) for name in (*heads, *names)]
    for block in table.numbers(columns, missing=NOT_A_NUMBER):
        head_parts.append(block[:, : len(heads)])
        with np.errstate(over="ignore"):  # a failed row may hold a number beyond float32: it becomes infinite
            value_parts.append(block[:, len(heads) :].astype(np.float32))
    return np.concatenate(head_parts), np.concatenate(value_parts)


def _whole_numbers(path: Path, name: str, column: NDArray[np.float64]) -> NDArray[np.int64]:
    wrong = ~((column >= 0) & (column < 2**53) & (column == np.floor(column)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise OpenFaceError(f"{path}: column {name!r} holds {column[row]} in row {row + 1}, expected a whole number")
    return column.astype(np.int64)


def _meaningful(timestamp_s: NDArray[np.float64], frame: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return NaN instead of the 0.000 that OpenFace writes for every picture of an image sequence."""
    several = bool(np.any(frame != frame[0]))
    return np.full_like(timestamp_s, np.nan) if several and not np.any(timestamp_s) else timestamp_s
