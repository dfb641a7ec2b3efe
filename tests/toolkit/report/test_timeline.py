"""Shots, people, the speaker and words of a clip, from the tables of a feature folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fmltk.toolkit.features.faces import (
    FACE_FILE,
    SHOT_FILE,
    FaceRows,
    face_schema,
    face_table,
    shot_schema,
    shot_table,
)
from fmltk.toolkit.io.parquet import write_table
from fmltk.toolkit.report.timeline import Timeline, read_timelines

if TYPE_CHECKING:
    from pathlib import Path

RUN: dict[str, object] = {"settings": {}}
MANIFEST = pd.DataFrame(
    {"utterance_id": ["a$_$0", "b$_$0"], "n_frames": [90, 60], "width": [200] * 2, "height": [100] * 2}
)


def faces(*rows: tuple[int, int, bool]) -> FaceRows:
    """Faces at (frame, person, whether the speaker), each one's box 20 wide and high, at x = its frame."""
    frame, person, speaker = (np.array(column) for column in zip(*rows, strict=True))
    corners = np.stack([frame, np.full(len(frame), 10), frame + 20, np.full(len(frame), 30)], axis=1)
    n = len(frame)
    return FaceRows(
        frame.astype(np.int32),
        np.zeros(n, np.int32),
        person.astype(np.int32),
        speaker.astype(bool),
        corners.astype(np.float32),
        np.ones(n, np.float32),
        np.zeros((n, 10), np.float32),
    )


def write_faces(folder: Path, found: dict[str, FaceRows], shots: dict[str, list[int]]) -> None:
    tables = [face_table(name, own, face_schema(RUN)) for name, own in found.items()]
    write_table(pa.concat_tables(tables), folder / FACE_FILE)
    cuts = [shot_table(name, np.array(own, np.int32), 90, shot_schema(RUN)) for name, own in shots.items()]
    write_table(pa.concat_tables(cuts), folder / SHOT_FILE)


def test_people_and_the_speaker_have_spans_and_the_speaker_boxes(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    first = [(k, 0, True) for k in range(30)] + [(k, 0, True) for k in range(60, 90)]
    second = [(k, 1, False) for k in range(30, 60)]
    ignored = [(k, -1, False) for k in range(10)]
    write_faces(tmp_path, {"a$_$0": faces(*first, *second, *ignored)}, {"a$_$0": [0, 30, 60]})
    timeline = read_timelines(tmp_path, MANIFEST)["a$_$0"]
    assert timeline.duration_s == 3.0
    assert timeline.shots == [0.0, 1.0, 2.0]
    assert timeline.people == {0: [(0.0, 1.0), (2.0, 3.0)], 1: [(1.0, 2.0)]}
    assert timeline.speaker == [(0.0, 1.0), (2.0, 3.0)]
    assert timeline.boxes[:2] == [(0.0, 0, 100, 100, 300), (0.2, 30, 100, 130, 300)]
    assert [time for time, *_ in timeline.boxes if time >= 1] == [2.0, 2.2, 2.4, 2.6, 2.8]


def test_clips_are_kept_apart_and_one_without_a_speaker_has_no_box(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    found = {"a$_$0": faces(*[(k, 0, True) for k in range(12)]), "b$_$0": faces(*[(k, 2, False) for k in range(60)])}
    write_faces(tmp_path, found, {"a$_$0": [0], "b$_$0": [0]})
    timelines = read_timelines(tmp_path, MANIFEST)
    assert timelines["a$_$0"].speaker == [(0.0, 0.4)]
    assert (timelines["b$_$0"].speaker, timelines["b$_$0"].boxes) == ([], [])
    assert timelines["b$_$0"].document() == {"length": 2.0, "shots": [0.0], "people": [[2, [(0.0, 2.0)]]]}


@pytest.mark.parametrize("name", ["words.parquet", "transcribed_words.parquet"])
def test_words_have_their_times_where_these_are_known(tmp_path: Path, name: str) -> None:
    rows = [
        ("a$_$0", "well", 0.101, 0.5),
        ("a$_$0", "um", None, None),
        ("b$_$0", "done", 1.0, 1.25),
        ("z", "no", 0.0, 1.0),
    ]
    table = pa.Table.from_pylist(
        [dict(zip(("utterance_id", "word", "start_s", "end_s"), row, strict=True)) for row in rows]
    )
    write_table(table, tmp_path / name)
    timelines = read_timelines(tmp_path, MANIFEST)
    assert {name: one.words for name, one in timelines.items()} == {
        "a$_$0": [("well", 0.1, 0.5)],
        "b$_$0": [("done", 1.0, 1.25)],
    }


def test_a_folder_without_faces_and_words_has_no_timelines(tmp_path: Path) -> None:
    assert read_timelines(tmp_path, MANIFEST) == {}
    assert Timeline().document() == {}
