"""Read OpenFace's CSVs; `files` finds the one of a clip, `align` puts it on the clip's 30 Hz grid.

Columns are taken by name, never by position: OpenFace writes only the groups that it was asked for, and its versions
differ.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import OpenFaceError
from fmltk.toolkit.vision.openface.layout import OPENFACE_FEATURES
from fmltk.toolkit.vision.openface.rows import OpenFaceTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MAX_CSV_BYTES = 2 * 1024**3  # about four hours of 709 features at 30 Hz
MAX_HEADER_BYTES = 1024**2  # OpenFace's own header of 714 columns has 6 KB
BLOCK_BYTES = 4 * 1024**2
# What C++ run-times print for "not a number"; "nan" after a space is understood without being listed.
NOT_A_NUMBER = ("", "nan", "-nan", "NaN", "-NaN", "nan(ind)", "-nan(ind)", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN")

_FEATURE_NAMES = frozenset(feature.name for feature in OPENFACE_FEATURES)
_RAGGED_ROW = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)")
_NO_NUMBER = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to double: invalid value (.*)", re.DOTALL
)
_HEAD_COLUMNS = ("frame", "face_id", "face", "timestamp", "confidence", "success")


def read_openface(path: str | Path, *, max_bytes: int = MAX_CSV_BYTES) -> OpenFaceTable:
    """Read one CSV of OpenFace 2 (or 1), made by FeatureExtraction, FaceLandmarkVidMulti or FaceLandmarkImg.

    Accepts "," and ", " between columns, a BOM, CRLF, blank lines, any order and any subset of the feature columns.

    max_bytes : int
        Larger files are refused; raise it to read them.

    Raises OpenFaceError if the file cannot be opened, is empty, is no OpenFace CSV, has no rows, has a column twice,
    ends inside a row, or holds something that is no number. A file that was cut exactly between two rows looks whole;
    `openface_sequence` finds that out, as it knows how long the clip is.
    """
    path = Path(path)
    try:
        return _read(path, max_bytes)
    except OSError as error:
        raise OpenFaceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(path: Path, max_bytes: int) -> OpenFaceTable:
    if not path.is_file():
        raise OpenFaceError(f"{path}: no such file" if not path.exists() else f"{path}: is not a file")
    n_bytes = path.stat().st_size
    if n_bytes == 0:
        raise OpenFaceError(f"{path}: is empty; OpenFace may have been stopped: run it again")
    if n_bytes > max_bytes:
        raise OpenFaceError(f"{path}: has {n_bytes:,} bytes, more than the limit of {max_bytes:,}")
    header = _read_header(path)
    image_mode = "face" in header and "frame" not in header
    _check_header(path, header, image_mode)
    heads = [name for name in _HEAD_COLUMNS if name in header]
    names = tuple(name for name in header if name in _FEATURE_NAMES)
    head, values = _read_columns(path, header, heads, names)
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


def _read_header(path: Path) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(MAX_HEADER_BYTES)
    try:
        text = line.decode("utf-8-sig").strip()
        names = next(csv.reader([text], strict=True)) if text.isprintable() else []
    except (UnicodeDecodeError, csv.Error, StopIteration):
        names = []
    if not names:
        raise OpenFaceError(f"{path}: is no OpenFace CSV: its first line is not a row of column names")
    return [name.strip() for name in names]


def _check_header(path: Path, header: list[str], image_mode: bool) -> None:
    needed = () if image_mode else ("frame", "success")
    for name in needed:
        if name not in header:
            shown = ", ".join(header[:5])[:80]
            raise OpenFaceError(f"{path}: is no OpenFace CSV: no column {name!r}; its columns begin with {shown!r}")
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
    path: Path, header: list[str], heads: Sequence[str], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the head columns, shape (n, len(heads)), and the features, shape (n, len(names))."""
    head_parts: list[NDArray[np.float64]] = [np.empty((0, len(heads)))]
    value_parts: list[NDArray[np.float32]] = [np.empty((0, len(names)), np.float32)]
    for block in _read_blocks(path, header, [header.index(name) for name in (*heads, *names)]):
        head_parts.append(block[:, : len(heads)])
        with np.errstate(over="ignore"):  # a failed row may hold a number beyond float32: it becomes infinite
            value_parts.append(block[:, len(heads) :].astype(np.float32))
    return np.concatenate(head_parts), np.concatenate(value_parts)


def _read_blocks(path: Path, header: list[str], wanted: Sequence[int]) -> Iterator[NDArray[np.float64]]:
    """Yield the wanted columns in pieces of the file, so that only float32 is ever held for all of it."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    positions = [str(i) for i in range(len(header))]  # unique, whatever the file's names are
    included = [positions[i] for i in wanted]
    nulls = [*NOT_A_NUMBER, *(f" {spelling}" for spelling in NOT_A_NUMBER)]

    try:
        reader = arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=positions, skip_rows=1, use_threads=False, block_size=BLOCK_BYTES
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={position: pa.float64() for position in included},
                include_columns=included,
                null_values=nulls,
            ),
        )
        for batch in reader:
            columns = [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            yield np.stack(columns, axis=1)  # (rows, wanted)
    except pa.ArrowException as error:
        if "skip initial" in str(error):  # a header without even a line's end
            return
        raise OpenFaceError(f"{path}: {_explain(str(error), header)}") from error


def _explain(message: str, header: list[str]) -> str:
    """Turn pyarrow's message into one that names the line, and the column as the file calls it."""
    message = " ".join(message.split())  # a damaged cell may hold line ends
    if ragged := _RAGGED_ROW.match(message):
        line, expected, n_columns = ragged.groups()
        return f"line {line} has {n_columns} of {expected} columns: the file was cut off or damaged; run OpenFace again"
    if word := _NO_NUMBER.match(message):
        column, line, value = word.groups()
        return f"line {line}, column {header[int(column)]!r}: {value[:40]} is no number; run OpenFace again"
    return f"is no CSV that can be read: {message[:120]}"


def _whole_numbers(path: Path, name: str, column: NDArray[np.float64]) -> NDArray[np.int64]:
    wrong = ~((column >= 0) & (column < 2**53) & (column == np.floor(column)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise OpenFaceError(f"{path}: column {name!r} holds {column[row]} in row {row + 1}, expected a whole number")
    return column.astype(np.int64)


def _meaningful(timestamp_s: NDArray[np.float64], frame: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return NaN in place of the 0.000 that OpenFace writes for every picture of an image sequence."""
    several = bool(np.any(frame != frame[0]))
    return np.full_like(timestamp_s, np.nan) if several and not np.any(timestamp_s) else timestamp_s
