"""The command that a finished one names next: it can be copied, and it runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from fmltk.toolkit.cli.main import fmltk, main
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.console import Reporter
from tests.model.folders import planted, small_settings, write_clips

DEMO = Path(__file__).parents[3] / "toolkit" / "demo"


def next_words(err: str) -> list[str]:
    """Return the words of the command that was named; fail unless there is one, and it can be parsed."""
    (line,) = [line for line in err.splitlines() if line.startswith("next: ")]
    words = shlex.split(line.removeprefix("next: "))
    assert words[0] == "fmltk"
    return words[1:]


@pytest.fixture
def run(capsys):
    def run_command(*words):
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        assert caught.value.code == 0, captured.err
        return captured.err

    return run_command


@pytest.mark.parametrize("folder", ["plain", "with space", "it's"])
def test_from_answers_to_labels_to_their_summary(folder, tmp_path, run):
    place = tmp_path / folder
    place.mkdir()
    exports = sorted((DEMO / "ratings").glob("*_AT.json"))
    err = run("annotation", "import", *exports, "-o", place / "ratings.parquet")
    words = next_words(err)
    assert words == ["annotation", "agreement", str(place / "ratings.parquet")]
    words = next_words(run(*words))
    assert words == ["annotation", "aggregate", str(place / "ratings.parquet"), "-o", str(place / "labels.parquet")]
    words = next_words(run(*words))
    assert words == ["annotation", "summary", str(place / "labels.parquet")]
    run(*words)


def test_where_there_are_features_labels_are_for_training(tmp_path, run):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "manifest.parquet").write_bytes(b"")
    ratings, labels = tmp_path / "ratings.parquet", tmp_path / "labels.parquet"
    run("annotation", "import", *(DEMO / "ratings").glob("*_AT.json"), "-o", ratings)
    err = run("annotation", "aggregate", ratings, "-o", labels)
    assert next_words(err) == ["train", str(tmp_path / "features"), "--labels", str(labels)]


@pytest.mark.parametrize("labels", ["none", "next to it", "in the transcripts"])
def test_features_are_for_training_where_labels_are_found(labels, tmp_path, run):
    table = tmp_path / "label.csv"
    extra = (",label", ",0.4") if labels == "in the transcripts" else ("", "")
    table.write_text(f"video_id,clip_id,text{extra[0]}\nv,1,A good day.{extra[1]}\nv,2,A bad day.{extra[1]}\n")
    if labels == "next to it":
        ratings = tmp_path / "ratings.parquet"
        run("annotation", "import", *(DEMO / "ratings").glob("*_AT.json"), "-o", ratings)
        run("annotation", "aggregate", ratings, "-o", tmp_path / "labels.parquet")
    features = tmp_path / "features"
    options = ("--transcripts", table, "--modalities", "text", "--text-model", "minilm", "--workers", "1")
    err = run("extract", table, *options, "-o", features)
    assert "Starting workers and loading models: 2 of 2 clips to extract" in err.splitlines()
    of_text = ["--modalities", "T", "--model", "late-fusion"]
    expected = {
        "none": ["report", str(features), "-o", str(tmp_path / "report.html")],
        "next to it": ["train", str(features), "--labels", str(tmp_path / "labels.parquet"), *of_text],
        "in the transcripts": ["train", str(features), "--labels", str(table), *of_text],
    }
    assert next_words(err) == expected[labels]


@pytest.mark.parametrize(
    ("letters", "more"),
    [
        ("TAV", []),
        ("AV", ["--modalities", "A,V"]),
        ("TV", ["--modalities", "T,V"]),
        ("A", ["--modalities", "A", "--model", "late-fusion"]),
    ],
)
def test_the_training_that_is_named_reads_what_there_is(letters, more, tmp_path, run):
    folder = write_clips(planted(60), tmp_path / "features")
    for letter in set(MODALITY_OF) - set(letters):
        (folder / f"{MODALITY_OF[letter]}.parquet").unlink()
    words = next_words(run("dataset", "check", folder))
    assert words == ["train", str(folder), "--labels", str(folder / "labels.parquet"), *more]
    fast = [word for setting in small_settings("max_epochs=30", "lr=0.01") for word in ("--set", setting)]
    run(*words, *fast, "--jobs", 0, "-o", tmp_path / "run")


def test_nothing_is_named_where_a_program_reads(tmp_path, capsys):
    for reporter in (Reporter(quiet=True), Reporter(json_output=True)):
        reporter.suggest("train", tmp_path)
    assert capsys.readouterr() == ("", "")
    Reporter().suggest("train", "a b", 3)
    assert capsys.readouterr().err == "next: fmltk train 'a b' 3\n"


def test_the_commands_that_name_another_name_one_that_exists():
    import re

    root = Path(__file__).parents[3]
    named = set()
    for path in (*root.glob("toolkit/cli/*.py"), *root.glob("annotation/commands/*.py"), *root.glob("model/**/*.py")):
        named |= set(re.findall(r'\.suggest\(\s*"(\w+)"(?:, "(\w+)")?', path.read_text(encoding="utf-8")))
    assert len(named) > 6
    context = fmltk.make_context("fmltk", [], resilient_parsing=True)
    for first, second in named:
        command = fmltk.get_command(context, first)
        assert command is not None
        commands = json.dumps(sorted(getattr(command, "commands", {})))
        assert not commands.strip("[]") or second in commands
