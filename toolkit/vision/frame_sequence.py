"""From the rows of any table of video frames to one row per frame of the clip's 30 Hz grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fmltk.toolkit.errors import FeatureError, MissingModalityError
from fmltk.toolkit.settings import FRAME_RATE_HZ
from fmltk.toolkit.vision.row_times import DURATION_TOLERANCE_S, nearest_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.vision.frame_rows import FrameRows

BEST_FACE = "best"
MOST_ROWS_PER_S = 1000.0  # more than any camera; a time in a wrong unit has more
_SAME_RATE = 0.01  # 29.97 and 30 frames a second are one
_FITS_S = 0.1  # a table whose end is as near as this to the clip's is of every frame
_EVEN = 1.5  # steps of up to so many of the shortest are those from row to row; longer ones are gaps


@dataclass(frozen=True, slots=True)
class RowChoice:
    """The user's choices about the rows.

    Attributes
    ----------
    face
        The face to take of several in a frame: an id, "best" for that of the highest confidence, None where there must
        be one.
    min_confidence
        Rows of less do not count.
    fps
        How many frame numbers are a second; None: see `frame_sequence`. Given, times do not count.
    first_frame
        The number of a video's first frame; None: 0 where a row has it, else 1 where a row has that, else 0.
    """

    face: str | None = None
    min_confidence: float = 0.0
    fps: float | None = None
    first_frame: int | None = None


@dataclass(frozen=True, slots=True)
class TableClock:
    """The clock of the table's times and frame numbers.

    Attributes
    ----------
    start_s, end_s
        The clip's part of the video.
    longest_s
        The end of the video that the table is of.
    fps
        How many frames a second that video may have, likeliest first.
    offset_s
        When its first picture is shown.
    frame_times_s : float64 (n_pictures,)
        When each picture of a video of variable frame rate is shown; None for others.
    """

    start_s: float
    end_s: float
    longest_s: float
    fps: Sequence[float]
    offset_s: float = 0.0
    frame_times_s: NDArray[np.float64] | None = None


class FrameSequence(NamedTuple):
    """A table on a clip's grid: values float32 (n_frames, d), valid bool (n_frames,), notes: sentences for people."""

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    notes: tuple[str, ...]


def frame_sequence(
    rows: FrameRows, clock: TableClock, choice: RowChoice, *, n_frames: int, error: MakeError = FeatureError
) -> FrameSequence:
    """Return a table's features on the clip's grid, frame k at start_s + k / 30, and where they can be trusted.

    A grid frame takes the row nearest in time (`nearest_rows`), and is masked where none is near, where that row has
    no success, less than `min_confidence` or a value that is not finite, and where the table ends.

    A row's time is the table's, if it has one, else its frame's number over the frames a second that make the table as
    long as the clip: of `clock.fps`. A table without either has a row for each frame of the grid.

    Raises `error` where a frame has several rows that count and nothing says which, where times or numbers do not fit
    the clip, or are not clear; MissingModalityError where no row that counts is in the clip.
    """
    notes: list[str] = []
    kept = _of_face(rows, choice, error)
    _check_confidence(rows, choice, error)
    times, keys, interval_s = _row_times(rows, clock, choice, notes, n_frames=n_frames, error=error)
    end_s = float(times.max()) + interval_s
    if end_s < clock.end_s - DURATION_TOLERANCE_S:
        notes.append(
            f"the table ends at {end_s:.2f} s, the clip at {clock.end_s:.2f} s; the frames after it are masked"
        )
    if interval_s > _EVEN / FRAME_RATE_HZ:
        notes.append(f"the table's rows are {interval_s:.2f} s apart; each stands for the frames nearest to it")
    finite = np.isfinite(rows.values).all(axis=1)
    found = kept & rows.success & finite
    unsure = found & (rows.confidence < choice.min_confidence)
    usable = found & ~unsure
    moments, row = _one_row(rows, keys, usable, choice, notes, error)

    moment_s = times[moments]
    by_time = np.argsort(moment_s, kind="stable")
    grid = clock.start_s + np.arange(n_frames) / FRAME_RATE_HZ
    nearest, near = nearest_rows(grid, moment_s[by_time], interval_s, clock.frame_times_s)
    chosen = np.where(near, row[by_time][nearest], -1)
    valid = chosen >= 0
    values = np.zeros((n_frames, rows.values.shape[1]), np.float32)
    values[valid] = rows.values[chosen[valid]]
    if not valid.any():
        _explain_nothing(rows, found, usable, bool(near.any()), choice, error)
    n_unsure = np.count_nonzero(unsure)
    if n_unsure:
        notes.append(
            f"{n_unsure} of {len(times)} rows have a confidence under {choice.min_confidence:g} and are masked"
        )
    return FrameSequence(values, valid, tuple(notes))


def _of_face(rows: FrameRows, choice: RowChoice, error: MakeError) -> NDArray[np.bool_]:
    """Return the rows of the face that the user chose; all where none was chosen."""
    if choice.face in (None, BEST_FACE):
        return np.ones(len(rows.values), bool)
    kept: NDArray[np.bool_] = np.equal(rows.face_id, choice.face)
    if not kept.any():
        raise error(f"{rows.name} has no face {choice.face!r}; its faces are {_faces(rows.face_id)}")
    return kept


def _check_confidence(rows: FrameRows, choice: RowChoice, error: MakeError) -> None:
    """Raise `error` where `min_confidence` would leave every row, for lack of a confidence or because of its scale."""
    if not choice.min_confidence:
        return
    said = rows.confidence[~np.isnan(rows.confidence)]
    if not len(said) and rows.success.any():
        raise error(f"{rows.name} has no column of confidence, which min_confidence needs; name it, confidence=COLUMN")
    if len(said) and said.max() > 1:
        raise error(
            f"{rows.name} has a confidence of {said.max():g}, and min_confidence={choice.min_confidence:g} expects 0 "
            "to 1; bring the column to that scale, or leave min_confidence out"
        )


def _faces(face_id: NDArray[np.str_]) -> str:
    ids = [str(one) or "one without an id" for one in np.unique(face_id)]
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def _row_times(
    rows: FrameRows, clock: TableClock, choice: RowChoice, notes: list[str], *, n_frames: int, error: MakeError
) -> tuple[NDArray[np.float64], NDArray[Any], float]:
    """Return each row's time, what rows of one frame have in common, and the time from one row to the next."""
    number = None if rows.frame is None else _from_zero(rows.name, rows.frame, choice, notes, error)
    if number is not None and clock.frame_times_s is not None and choice.fps is None:
        if number.max() >= len(clock.frame_times_s):
            raise error(
                f"{rows.name} has {number.max() + 1} frames, the video {len(clock.frame_times_s)}: it is of another "
                "video, or of face crops: then give fps=30"
            )
        steps = np.diff(clock.frame_times_s)
        return clock.frame_times_s[number], number, float(np.median(steps)) if len(steps) else 0.0
    if rows.time_s is not None and choice.fps is None:
        return _by_times(rows, rows.time_s, number, clock, error)
    if number is None:
        if len(rows.values) != n_frames:
            raise error(
                f"{rows.name} has neither a column of frames nor of times, and {len(rows.values)} rows for the clip's "
                f"{n_frames} frames at 30 Hz; name such a column frame, time_s or time_ms"
            )
        number = np.arange(n_frames)
        return clock.start_s + number / FRAME_RATE_HZ, number, 1 / FRAME_RATE_HZ
    step = int(np.gcd.reduce(np.diff(np.unique(number)))) or 1  # every fifth frame, with gaps, is five apart
    fps = choice.fps or _frame_rate(rows, int(number.max()) + 1, step, clock, error)
    times = clock.offset_s + number / fps
    _check_end(rows.name, float(times.max()) + step / fps, clock, f"at {fps:g} frames a second", error)
    return times, number, step / fps


def _from_zero(
    name: str, frame: NDArray[np.int64], choice: RowChoice, notes: list[str], error: MakeError
) -> NDArray[np.int64]:
    """Return frame numbers that count from 0."""
    lowest = int(frame.min())
    if choice.first_frame is None and lowest > 1:
        notes.append(f"the table's frames begin with {lowest}, and count from 0; if from 1, give first_frame=1")
    first = int(lowest == 1) if choice.first_frame is None else choice.first_frame
    if lowest < first:
        raise error(f"{name} has a frame {lowest}, before first_frame={first}")
    return frame - first


def _by_times(
    rows: FrameRows, time_s: NDArray[np.float64], number: NDArray[np.int64] | None, clock: TableClock, error: MakeError
) -> tuple[NDArray[np.float64], NDArray[Any], float]:
    where = f"{rows.name}, column {rows.time_column!r}"
    if np.isnan(time_s).any():
        raise error(
            f"{where}: row {int(np.argmax(np.isnan(time_s))) + 1} has no time; without the column, frames count"
        )
    keys: NDArray[Any] = time_s if number is None else number
    _, first = np.unique(keys, return_index=True)
    steps = np.diff(time_s[first])
    if number is not None and len(steps) and np.any(steps <= 0):
        raise error(f"{where}: its times do not grow with the frames; give fps=, and the frames' numbers count instead")
    interval_s = float(np.mean(steps[steps <= _EVEN * np.quantile(steps, 0.1)])) if len(steps) else 1 / FRAME_RATE_HZ
    if interval_s < 1 / MOST_ROWS_PER_S:
        raise error(
            f"{where}: {1 / interval_s:,.0f} rows a second are more than a video has; if it is in seconds, give "
            f"time_s={rows.time_column}"
        )
    end_s = clock.offset_s + float(time_s.max()) + interval_s
    _check_end(rows.name, end_s, clock, f"by its column {rows.time_column!r}", error, column=rows.time_column)
    return clock.offset_s + time_s, keys, interval_s


def _check_end(
    name: str, end_s: float, clock: TableClock, by: str, error: MakeError, *, column: str | None = None
) -> None:
    if end_s <= clock.longest_s + DURATION_TOLERANCE_S:
        return
    cure = "it is of another video; check its name"
    if column and end_s / 1000 <= clock.longest_s + DURATION_TOLERANCE_S:
        cure = f"if that column is in milliseconds, give time_ms={column}"
    raise error(f"{name} lasts {end_s:.2f} s {by}, the video {clock.longest_s:.2f} s; {cure}")


def _frame_rate(rows: FrameRows, n_numbers: int, step: int, clock: TableClock, error: MakeError) -> float:
    """Return which of the video's possible frame rates makes the table as long as the clip."""
    rates = list(clock.fps[:1])
    rates += [fps for fps in clock.fps[1:] if all(abs(fps - one) > _SAME_RATE * one for one in rates)]
    lasts = {fps: clock.offset_s + (n_numbers - 1 + step) / fps for fps in rates}
    possible = [fps for fps in rates if lasts[fps] <= clock.longest_s + DURATION_TOLERANCE_S]
    near = [fps for fps in possible if abs(lasts[fps] - clock.longest_s) <= _FITS_S + (step - 1) / fps]
    if near:
        return min(near, key=lambda fps: abs(lasts[fps] - clock.longest_s))
    if len(possible) > 1:
        said = " or ".join(f"{lasts[fps]:.2f} s at {fps:.4g} frames a second" for fps in possible)
        ways = " or ".join(f"fps={fps:.4g}" for fps in possible)
        raise error(
            f"{rows.name} lasts {said}, the video {clock.longest_s:.2f} s; say which: {ways} (fmltk's face crops have "
            f"{FRAME_RATE_HZ})"
        )
    return possible[0] if possible else max(rates)  # too long at each of them, which `_check_end` says


def _one_row(
    rows: FrameRows,
    keys: NDArray[Any],
    usable: NDArray[np.bool_],
    choice: RowChoice,
    notes: list[str],
    error: MakeError,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, for each frame of the table, one of its rows, and the one that counts: -1 where none does."""
    rank = rows.confidence if choice.face == BEST_FACE else np.zeros(len(keys))
    order = np.lexsort((-np.nan_to_num(rank, nan=-1.0), ~usable, keys))  # those that count first, the surest of them
    first = np.flatnonzero(np.r_[True, np.diff(keys[order]) != 0])
    n_usable = np.add.reduceat(usable[order].astype(np.int64), first)
    several = n_usable > 1
    if several.any():
        of_frame = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(order)]))
        alike = np.all(rows.values[order] == rows.values[order[first[of_frame]]], axis=1) | ~usable[order]
        n_unlike = np.count_nonzero(~np.logical_and.reduceat(alike, first))
        if n_unlike and choice.face != BEST_FACE:
            raise error(
                f"{rows.name}: {n_unlike} of its {len(first)} frames have several rows that differ (faces: "
                f"{_faces(rows.face_id[usable])}); run the program on fmltk's face crops (--face-crops 224), or give "
                "face=ID, or face=best for that of the highest confidence"
            )
        if n_unlike and np.isnan(rows.confidence[usable]).all():
            raise error(f"{rows.name} has no column of confidence, which face=best needs; name it, confidence=COLUMN")
        notes.append(
            f"{n_unlike} of the table's {len(first)} frames have several faces; that of the highest confidence is taken"
            if n_unlike
            else f"{np.count_nonzero(several)} of the table's {len(first)} frames have the same row more than once"
        )
    return order[first], np.where(n_usable > 0, order[first], -1)


def _explain_nothing(
    rows: FrameRows,
    found: NDArray[np.bool_],
    usable: NDArray[np.bool_],
    near: bool,
    choice: RowChoice,
    error: MakeError,
) -> None:
    """Say why no frame of the grid is valid."""
    if not rows.success.any() or np.isnan(rows.values).all():
        raise MissingModalityError(f"{rows.name}: no face was found in any of its {len(rows.values)} rows")
    if not near:
        raise error(f"{rows.name} has no row within the clip; is it another clip's?")
    if found.any() and not usable.any():
        raise MissingModalityError(
            f"{rows.name}: the confidence is at most {np.nanmax(rows.confidence[found]):g}, expected "
            f"{choice.min_confidence:g} or more in a frame at least (min_confidence)"
        )
    if usable.any():
        raise MissingModalityError(f"{rows.name}: no face was found in the clip's frames")
    raise error(
        f"{rows.name}: every row holds a value that is not a finite number; leave out the column that has it, "
        "csv:DIR,columns=..."
    )
