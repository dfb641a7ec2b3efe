"""Rows by field: those that are not of a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.features.label_file import read_labels
from tests.spreadsheets import write_xlsx

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["Sum", "MEAN ", "Total:", "Summe", "Ecart-type", "平均值"])
@pytest.mark.parametrize(("column", "row"), [("file", 4), ("utterance_id", 4), ("video_id", 4)])
def test_labels_that_end_with_a_figure_of_those_above_are_refused(
    tmp_path: Path, name: str, column: str, row: int
) -> None:
    cells = [[column, "label"], ["a", 0.5], ["b", -1], [name, -0.25], ["Std", 0.5]]
    with pytest.raises(AnnotationError, match=rf"row {row}: '{name.strip()}' is called like a figure"):
        read_labels(write_xlsx(tmp_path / "t.xlsx", cells))


@pytest.mark.parametrize("row", ["Total;;12", "Total;3.5;", "sum;0;12"])
def test_transcripts_that_do_are_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"file;start_s;text\na.mp4;0;hello\n{row}\n")
    with pytest.raises(ConfigError, match=r"t\.csv line 3: '(Total|sum)' is called like a figure"):
        list(read_transcripts(path))


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na,1\nTotal,0\nzoo,1\n",  # a clip of this name among others
        "file,label\na,1\nTotal recall.mp4,0\n",
        "video_id,clip_id,label\na,1,1\nmean,2,0\n",
        "utterance_id,label\na$_$1,1\nmean$_$2,0\n",
    ],
)
def test_clips_may_be_called_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert len(read_labels(path).utterance_ids) == text.count("\n") - 1
