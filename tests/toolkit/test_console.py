"""What people and machines see: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit import console
from fmltk.toolkit.console import Reporter, output_options


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_results_go_to_stdout_and_remarks_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.say("a remark")
    reporter.warn("a warning")
    reporter.table(["clip", "n"], [["a", 1]])
    written = capsys.readouterr()
    assert written.err.splitlines() == ["a remark", "Warning: a warning"]
    assert [line.split() for line in written.out.splitlines()] == [["clip", "n"], ["a", "1"]]


def test_quiet_leaves_results_and_json_leaves_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    for reporter, remarks in ((Reporter(quiet=True), []), (Reporter(json_output=True), ["Warning: a warning"])):
        reporter.say("a remark")
        reporter.warn("a warning")
        reporter.table(["n"], [[1]])
        with reporter.progress("Working", 3) as progress:
            progress.advance(3)
        written = capsys.readouterr()
        assert written.err.splitlines() == remarks
        assert bool(written.out) is not reporter.json_output


def test_a_warning_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    for message in ("one", "two", "one"):
        reporter.warn(message)
    assert capsys.readouterr().err.splitlines() == ["Warning: one", "Warning: two"]


def test_a_table_shows_values_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["[red]x[/red]", 1.23456, None], ["你好 👋", math.nan, 7], ["", 2, 100]]
    Reporter().table(["name", "score", "count"], rows, title="Results [bold]")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Results [bold]"
    assert "[red]x[/red]" in lines[2], "what a cell holds is no markup"
    assert lines[2].split()[1:] == ["1.235", "-"]
    assert "👋" in lines[3]
    assert lines[3].split()[2:] == ["-", "7"]
    assert [line.rstrip()[-3:] for line in (lines[2], lines[3], lines[4])] == ["  -", "  7", "100"], "right-aligned"


def test_a_column_has_one_number_of_decimals(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["a", 0.4, 1e-6, 1e-4, 3.0], ["b", 0.381, 0.02, 0.123456, math.nan], ["c", 12.5, None, 7, math.inf]]
    Reporter().table(["task", "mae", "p", "share", "lag"], rows)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[1:] for line in lines] == [
        ["0.400", "1e-06", "0.0001", "3"],
        ["0.381", "0.02", "0.1235", "-"],
        ["12.500", "-", "7", "inf"],
    ]


def test_a_title_is_not_folded_to_the_width_of_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().table(["a", "b"], [[1, 2]], title="a title that is wider than its table")
    assert capsys.readouterr().out.splitlines()[0] == "a title that is wider than its table"


def test_a_piped_table_is_not_folded_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().table(["path"], [["/".join(["folder"] * 20)]])
    assert "/".join(["folder"] * 20) in capsys.readouterr().out.splitlines()


# ---- progress


def test_a_piped_job_says_where_it_is_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with Reporter().progress("Extracting", 10, done=2) as progress:
        for _ in range(8):
            now[0] += 4.0
            progress.advance(note="1 failed")
    # every 10 s or more, and at the end; 3 of 8 took 12 s, so 5 take 20 s
    assert capsys.readouterr().err.splitlines() == [
        "Extracting: 5/10 clips, 1 failed, 0.25 clips/s, 20 s left",
        "Extracting: 8/10 clips, 1 failed, 0.25 clips/s, 8 s left",
        "Extracting: 10/10 clips, 1 failed, 0.25 clips/s, 0 s left",
    ]


def test_a_terminal_shows_a_bar_and_removes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Reporter().progress("Reading", 3, unit="files", done=1) as progress:
        progress.advance(note="0 failed")
        progress.advance(note="1 failed")
    shown = stream.getvalue()
    for part in ("Reading", "1/3", "3/3", "files, 1 failed", " files/s"):
        assert part in shown
    assert shown.endswith(("\x1b[2K", "\x1b[?25h\r\x1b[1A\x1b[2K")), "the bar is erased in the end"


def test_a_job_of_nothing_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter().progress("Reading", 0) as progress:
        progress.advance(0)
    assert capsys.readouterr().err == ""


# ---- JSON

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_a_document_is_written_as_it_is(document: Any) -> None:
    runner = CliRunner()

    @click.command()
    def command() -> None:
        Reporter().json(document)

    assert json.loads(runner.invoke(command, catch_exceptions=False).output) == document


def test_what_json_cannot_hold_becomes_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().json(
        {
            "nan": math.nan,
            "infinite": [-math.inf, np.float32("nan"), 1.5],
            "array": np.arange(4, dtype=np.int32).reshape(2, 2),
            "scalar": np.float32(0.5),
            "truth": np.bool_(True),
            "path": Path("a") / "b",
            "set": {"b", "a", "c"},
            1: (2, 3),
            "chinese": "你好",
        }
    )
    written = capsys.readouterr().out
    assert "你好" in written
    assert json.loads(written) == {
        "nan": None, "infinite": [None, None, 1.5], "array": [[0, 1], [2, 3]], "scalar": 0.5, "truth": True,
        "path": "a/b", "set": ["a", "b", "c"], "1": [2, 3], "chinese": "你好",
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
def test_json_is_whole_where_stdout_cannot_show_every_letter(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace"))
    Reporter().json({"text": "你好 👋 é"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue().decode(encoding)) == {"text": "你好 👋 é"}


# ---- options of every command


def test_every_command_takes_quiet_and_json() -> None:
    @click.command()
    @click.option("--n", default=1)
    @output_options
    def command(reporter: Reporter, *, n: int) -> None:
        r"""Count.

        \b
        fmltk count --n 2
        fmltk count --n 3
        """
        reporter.say("counting")
        if reporter.json_output:
            reporter.json({"n": n})
        else:
            reporter.table(["n"], [[n]])

    runner = CliRunner()
    assert json.loads(runner.invoke(command, ["--n", "3", "--json"]).output) == {"n": 3}
    assert runner.invoke(command, ["--quiet"]).output.split() == ["n", "1"]
    assert runner.invoke(command, []).stderr == "counting\n"
    shown = runner.invoke(command, ["--help"]).output
    assert "  fmltk count --n 2\n  fmltk count --n 3\n" in shown, "examples stay on lines of their own"
    assert "\\b" not in shown
