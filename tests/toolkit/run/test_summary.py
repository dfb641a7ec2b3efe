"""The last line of a run: a clip that nobody should use is not simply ok."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmltk.toolkit.features.clip_row import FAILED, OK, ClipRow
from fmltk.toolkit.run.summary import Summary


def _summary(*rows: dict[str, Any]) -> Summary:
    summary = Summary(Path("features"))
    for k, row in enumerate(rows):
        summary.add(ClipRow(utterance_id=f"{k}$_$0", **{"status": OK, **row}), {})
    return summary


GOOD = {"n_faces": 1, "face_coverage": 1.0, "speaker_source": "only"}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([GOOD, GOOD], "2 clips: 2 ok"),
        ([{"status": OK}], "1 clip: 1 ok"),  # without vision
        ([GOOD, {**GOOD, "n_faces": 2, "speaker_source": "asd"}], "2 ok (look at 1 before use: 1 several people)"),
        ([{**GOOD, "face_coverage": 0.49}], "1 ok (look at 1 before use: 1 face in under half of the frames)"),
        ([{**GOOD, "face_coverage": 0.5}], "1 clip: 1 ok"),
        (
            [GOOD, {"n_faces": 3, "face_coverage": 0.2, "speaker_source": "unsure"}],
            "2 ok (look at 1 before use: 1 face in under half of the frames, 1 several people, 1 speaker unsure)",
        ),
        ([{**GOOD, "n_faces": 2, "status": FAILED}, GOOD], "2 clips: 1 failed, 1 ok"),  # a failed one is not used
    ],
)
def test_the_sentence_counts_doubtful_clips(rows: list[dict[str, Any]], sentence: str) -> None:
    assert sentence in _summary(*rows).sentence()
    assert ("look at" in sentence) == ("look at" in _summary(*rows).sentence())


def test_json_counts_them_too() -> None:
    row = {"n_faces": 2, "face_coverage": 0.9, "speaker_source": "unsure"}
    doubtful = _summary(GOOD, row, row).document()["doubtful"]
    assert doubtful == {"clips": 2, "reasons": {"several people": 2, "speaker unsure": 2}}
