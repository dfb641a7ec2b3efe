"""A clip's timeline, for its case: shots, people, the speaker's face, and words whose times are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.features.faces import BOX_NAMES, FACE_FILE, SHOT_FILE, read_shots
from fmltk.toolkit.features.layout import WORDS_FILE
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.settings import FRAME_RATE_HZ
from fmltk.toolkit.speech.table import TRANSCRIBED_WORDS_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

MAX_CLIPS = 2000  # some kilobytes each
BOX_EVERY = 6  # frames: five boxes a second, between which the page interpolates
LONGEST_GAP = 6  # frames within which a person counts as still there


@dataclass(slots=True)
class Timeline:
    """Times in seconds from the clip's first frame.

    duration_s : to the last frame; shots : where each begins
    people, speaker : spans (from, to) of each person's face, by number, and of the speaker's
    boxes : (time, x1, y1, x2, y2) of the speaker's face, in thousandths of the picture's width and height
    words : (word, from, to)
    """

    duration_s: float = 0.0
    shots: list[float] = field(default_factory=list)
    people: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    speaker: list[tuple[float, float]] = field(default_factory=list)
    boxes: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    words: list[tuple[str, float, float]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return what is known, as the page's script reads it."""
        known = {
            "length": round(self.duration_s, 3),
            "shots": self.shots,
            "people": [[number, spans] for number, spans in sorted(self.people.items())],
            "speaker": self.speaker,
            "boxes": self.boxes,
            "words": self.words,
        }
        return {name: value for name, value in known.items() if value}


def read_timelines(folder: Path, manifest: pd.DataFrame) -> dict[str, Timeline]:
    """Return the timelines of a feature folder's first MAX_CLIPS clips, by utterance_id."""
    rows = {str(row["utterance_id"]): row for row in manifest.head(MAX_CLIPS).to_dict("records")}
    found: dict[str, Timeline] = {}
    if (folder / FACE_FILE).is_file():
        starts = read_shots(folder / SHOT_FILE) if (folder / SHOT_FILE).is_file() else {}
        for utterance, faces in _faces_of_clips(folder / FACE_FILE):
            if utterance in rows:
                found[utterance] = _timeline(faces, rows[utterance], starts.get(utterance))
    for name in (WORDS_FILE, TRANSCRIBED_WORDS_FILE):
        if (folder / name).is_file():
            for utterance, words in _words_of_clips(folder / name).items():
                if utterance in rows:
                    found.setdefault(utterance, Timeline()).words = words
            break
    return found


def _faces_of_clips(path: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each clip's id and its rows of faces.parquet, which is read a batch of rows at a time."""
    import pandas as pd

    columns = ["utterance_id", "frame", "person", "speaker", *BOX_NAMES]
    held: list[pd.DataFrame] = []
    with open_parquet(path) as file, reading(path):
        for batch in file.iter_batches(columns=columns):
            for utterance, own in batch.to_pandas().groupby("utterance_id", sort=False):
                if held and held[0]["utterance_id"].iloc[0] != utterance:
                    yield str(held[0]["utterance_id"].iloc[0]), pd.concat(held)
                    held = []
                held.append(own)
    if held:
        yield str(held[0]["utterance_id"].iloc[0]), pd.concat(held)


def _timeline(faces: pd.DataFrame, row: Mapping[Any, Any], starts: NDArray[np.int32] | None) -> Timeline:
    n_frames = row["n_frames"]
    last = int(faces["frame"].max()) + 1 if not np.isfinite(n_frames or np.nan) else int(n_frames)
    people = faces[faces["person"] >= 0]
    speaker = faces[faces["speaker"]].sort_values("frame")
    timeline = Timeline(
        duration_s=last / FRAME_RATE_HZ,
        shots=[round(float(start) / FRAME_RATE_HZ, 2) for start in (starts if starts is not None else [])],
        people={int(own["person"].iloc[0]): spans_of(own["frame"].to_numpy()) for _, own in people.groupby("person")},
        speaker=spans_of(speaker["frame"].to_numpy()),
    )
    width, height = float(row["width"] or np.nan), float(row["height"] or np.nan)
    if width > 0 and height > 0:
        shown = speaker[(speaker["frame"] % BOX_EVERY == 0) | ~speaker["frame"].diff().between(1, LONGEST_GAP)]
        corners = 1000 * shown[list(BOX_NAMES)].to_numpy(float) / (width, height, width, height)
        timeline.boxes = [
            (round(frame / FRAME_RATE_HZ, 2), *np.clip(np.rint(corner), 0, 1000).astype(int).tolist())
            for frame, corner in zip(shown["frame"].tolist(), corners, strict=True)
        ]
    return timeline


def spans_of(frames: NDArray[np.integer[Any]]) -> list[tuple[float, float]]:
    """Return the spans of time, in seconds, that frames at 30 Hz cover; short gaps belong to them.

    >>> spans_of(np.array([0, 1, 2, 3, 30, 31, 32]))
    [(0.0, 0.13), (1.0, 1.1)]
    """
    ordered = np.unique(frames)
    if not len(ordered):
        return []
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered) > LONGEST_GAP) + 1)
    return [(round(float(own[0]) / FRAME_RATE_HZ, 2), round(float(own[-1] + 1) / FRAME_RATE_HZ, 2)) for own in parts]


def _words_of_clips(path: Path) -> Mapping[str, list[tuple[str, float, float]]]:
    """Return the words that have a time, by utterance_id."""
    with open_parquet(path) as file, reading(path):
        table = file.read(columns=["utterance_id", "word", "start_s", "end_s"])
    words: dict[str, list[tuple[str, float, float]]] = {}
    for row in table.to_pylist():
        if row["start_s"] is not None and row["end_s"] is not None:
            words.setdefault(row["utterance_id"], []).append(
                (row["word"], round(row["start_s"], 2), round(row["end_s"], 2))
            )
    return words
