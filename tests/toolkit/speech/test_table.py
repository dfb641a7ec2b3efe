"""The tables of recognised text: read back, and described."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from fmltk.toolkit.clip import Clip
from fmltk.toolkit.hf_folder import ModelFolder
from fmltk.toolkit.speech.model import SpeechModel
from fmltk.toolkit.speech.recognition import HeardSegment, Recognition
from fmltk.toolkit.speech.settings import TranscriptionSettings
from fmltk.toolkit.speech.table import TRANSCRIBED_FILE, TRANSCRIBED_WORDS_FILE, read_transcribed, write_transcribed
from fmltk.toolkit.speech.transcription import Transcription
from fmltk.toolkit.speech.words import HeardWord

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).parents[3] / "docs" / "data-format.md"
SAID = Recognition(
    text="很好",
    language="zh",
    avg_log_prob=-0.5,
    segments=(HeardSegment("很好", 0.0, 1.5),),
    words=(HeardWord("很", 0.0, 0.5, 0.9), HeardWord("好", 0.5, 1.5, 0.7)),
)


def write(folder: Path, found: Sequence[tuple[str, Recognition, bool]], *, has_word_times: bool = True) -> None:
    model = SpeechModel(ModelFolder("tiny", folder, None, "ab" * 32), ("zh",), has_word_times)
    how = Transcription(model, TranscriptionSettings(model="hf:tiny"), "energy")
    write_transcribed(folder, how, ((Clip(name, "0", None), one, used) for name, one, used in found))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, [("a", SAID, True), ("b", Recognition(notes=("no text, it is quiet",)), False)])
    found = read_transcribed(tmp_path)
    assert found["a$_$0"] == {"utterance_id": "a$_$0", "status": "ok", "text": "很好", "language": "zh", "used": True}
    assert (found["b$_$0"]["text"], found["b$_$0"]["used"]) == (None, False)
    assert pq.read_table(tmp_path / TRANSCRIBED_WORDS_FILE)["word"].to_pylist() == ["很", "好"]


@pytest.mark.parametrize(
    "found", [[], [("a", Recognition(status="failed"), False)], [("a", Recognition(words=()), False)]]
)
def test_tables_without_a_word_are_tables(tmp_path: Path, found: list[tuple[str, Recognition, bool]]) -> None:
    write(tmp_path, found)
    assert len(read_transcribed(tmp_path)) == len(found)
    assert pq.read_table(tmp_path / TRANSCRIBED_WORDS_FILE).num_rows == 0


def test_without_word_times_there_is_no_table_of_words(tmp_path: Path) -> None:
    write(tmp_path, [("a", SAID, True)], has_word_times=False)
    assert not (tmp_path / TRANSCRIBED_WORDS_FILE).exists()


def test_a_folder_without_recognised_text_has_none(tmp_path: Path) -> None:
    assert read_transcribed(tmp_path) == {}


def test_every_column_is_described_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, [("a", SAID, True)])
    section = DOCS.read_text(encoding="utf-8").partition("## transcribed.parquet and")[2].partition("\n## ")[0]
    described = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in section.splitlines() if row.startswith("| `")]
    columns = [
        *pq.read_schema(tmp_path / TRANSCRIBED_FILE).names,
        *pq.read_schema(tmp_path / TRANSCRIBED_WORDS_FILE).names,
    ]
    assert [name for row in described for name in row] == columns
