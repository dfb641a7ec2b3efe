"""A small project of made-up numbers, which the examples in docstrings read: features/, labels.parquet, ratings.csv."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import utterance_id
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path

IDS = [utterance_id(f"video_{video:04d}", f"{clip:04d}") for video in (1, 2, 3, 4) for clip in (1, 2, 3)]
SPLITS = ["train"] * 6 + ["valid"] * 3 + ["test"] * 3


def write_project(folder: Path) -> None:
    """Write twelve clips with features of all modalities, their labels, and five raters' answers to three of them."""
    clips = replace(planted(len(IDS), dims=(384, 33, 33)), ids=IDS, splits=list(SPLITS))
    (folder / "features").mkdir()
    write_clips(clips, folder / "features")
    (folder / "features" / "labels.parquet").rename(folder / "labels.parquet")
    with (folder / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("utterance_id", "condition", "annotator", "value"))
        answers = ((1, 1, 0, 1, 1), (-1, 0, -1, -1, 0), (0, 0, 1, 0, -1))
        for utterance, values in zip(IDS[: len(answers)], answers, strict=True):
            rows.writerows((utterance, "AT", f"rater {n}", value) for n, value in enumerate(values, start=1))
