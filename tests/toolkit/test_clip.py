"""Ids and splits, as tables name them."""

from __future__ import annotations

import pytest

from fmltk.toolkit.clip import SPLITS, WHOLE, ids_of_row, split_name


@pytest.mark.parametrize(
    ("row", "ids"),
    [
        ({"video_id": "0001", "clip_id": "0002"}, ("0001", "0002")),
        ({"video_id": "talk"}, ("talk", WHOLE)),
        ({"video_id": "talk", "clip_id": ""}, ("talk", WHOLE)),
        ({"utterance_id": "a$_$b$_$3"}, ("a$_$b", "3")),
        ({"utterance_id": "talk"}, ("talk", WHOLE)),
        ({"video_id": "", "clip_id": "", "utterance_id": "a$_$1"}, ("a", "1")),
        ({"video_id": "v", "clip_id": "2", "utterance_id": "a$_$1"}, ("v", "2")),
        ({"video_id": "NA", "clip_id": "nan"}, ("NA", "nan")),
        ({"clip_id": "3"}, None),
        ({}, None),
    ],
)
def test_a_row_names_its_clip(row: dict[str, str], ids: tuple[str, str] | None) -> None:
    assert ids_of_row(row) == ids


@pytest.mark.parametrize(
    ("text", "split"),
    [
        *((name, name) for name in SPLITS),
        ("val", "valid"),
        (" Dev\t", "valid"),
        ("TRAIN", "train"),
        ("Validation", "valid"),
        ("development", "valid"),
        ("Testing ", "test"),
    ]
    + [(text, None) for text in ("", "later", "held out", "0", "traın")],
)
def test_a_split_has_the_names_that_the_fields_files_use(text: str, split: str | None) -> None:
    assert split_name(text) == split
