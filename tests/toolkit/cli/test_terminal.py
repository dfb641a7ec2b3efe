"""What commands look like on a terminal and in a pipe: width, colours, bars, completion, misspelt words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fmltk.toolkit.cli.main import fmltk
from tests.processes import on_terminal

WIDTH = 60
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-9][0-9;]*m")
MESSAGE = "a message of many words that is far longer than the line of a terminal is wide"
TABLE = f"""
from fmltk.toolkit.console import Reporter
message = {MESSAGE!r}
Reporter().table(("clip", "why"), [("video_0001$_$0001", message), ("a" * 70, 1)])
"""
BAR = """
import time
from fmltk.toolkit.console import Reporter
with Reporter().progress("Extracting", 4) as progress:
    for _ in range(4):
        progress.advance()
        time.sleep(0.15)
"""


SAYING = """
import time
from fmltk.toolkit.console import LiveView, Reporter
from fmltk.toolkit.io.standard_streams import guard_standard_streams
guard_standard_streams()
reporter = Reporter()
with {shown}:
    for number in range(3):
        time.sleep(0.6)
        reporter.say(f"message {{number}}")
"""


def shown_on_terminal(code: str, **environment: str) -> str:
    """Run Python code on a terminal of 60 columns and return what appears there."""
    exit_code, written = on_terminal([sys.executable, "-c", code], width=WIDTH, **environment)
    assert exit_code == 0, written
    return written


def piped(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "shown",
    [
        "reporter.live(lambda: LiveView('in work', ('stage', 'epoch'), [('AV', 1), ('AT', 2)]))",
        "reporter.live(lambda: LiveView('in work', ('stage',), []))",
        "reporter.progress('in work', 3)",
    ],
)
def test_what_is_said_meanwhile_stands_on_lines_of_its_own(shown: str) -> None:
    written = shown_on_terminal(SAYING.format(shown=shown))
    assert "in work" in written
    for number in range(3):
        assert re.search(rf"(^|\n|\x1b\[2K)message {number}\r\n", written), written
    assert piped(SAYING.format(shown=shown)).stderr.count("message") == 3


def test_a_live_view_is_for_a_terminal_alone() -> None:
    code = SAYING.format(shown="reporter.live(lambda: 1 / 0) as is_shown") + "\nprint(is_shown)"
    done = piped(code)
    assert (done.stdout, done.stderr) == ("False\n", "message 0\nmessage 1\nmessage 2\n")


def test_a_table_fits_the_terminal_and_loses_no_word() -> None:
    lines = ESCAPE.sub("", shown_on_terminal(TABLE)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    words = " ".join(lines).split()
    assert set(MESSAGE.split()) <= set(words)
    assert sum(word.count("a") for word in words if set(word) == {"a"}) >= 70


def test_a_table_of_too_many_columns_becomes_lines_of_names_and_values() -> None:
    columns = tuple(f"condition_{number}" for number in range(9))
    rows = [tuple(f"value_{row}_{number}" for number in range(9)) for row in range(2)]
    code = f"from fmltk.toolkit.console import Reporter; Reporter().table({columns!r}, {rows!r})"
    lines = [line.split() for line in ESCAPE.sub("", shown_on_terminal(code)).splitlines()]
    assert [line for line in lines if line] == [
        [column, cell] for row in rows for column, cell in zip(columns, row, strict=True)
    ]
    assert piped(code).stdout.splitlines()[0].split() == list(columns)


def test_colours_and_bars_appear_on_a_terminal_and_not_in_a_pipe() -> None:
    shown = shown_on_terminal(BAR)
    assert COLOUR.search(shown)
    assert "━" in shown
    done = piped(BAR)
    assert "\x1b" not in done.stdout + done.stderr
    assert "Extracting: 4/4 clips" in done.stderr


def test_no_color_takes_the_colours_and_leaves_the_bar() -> None:
    shown = shown_on_terminal(BAR, NO_COLOR="1")
    assert COLOUR.search(shown) is None
    assert "━" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_that_the_documentation_names_exists(shell: str) -> None:
    program = Path(sys.executable).with_name("fmltk")
    environment = {**os.environ, "_FMLTK_COMPLETE": f"{shell}_source"}
    done = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    if "bash" in done.stderr.lower() and not done.stdout:
        pytest.skip(done.stderr.strip())
    assert "_FMLTK_COMPLETE" in done.stdout
    assert "fmltk" in done.stdout


def test_completion_offers_commands_and_options() -> None:
    program = Path(sys.executable).with_name("fmltk")
    for words, offered in (("fmltk ex", "plain,extract"), ("fmltk report --emb", "plain,--embed-mb")):
        environment = {**os.environ, "_FMLTK_COMPLETE": "bash_complete", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split()) - 1)
        done = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
        assert offered in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["reprot", "x"], "'report'"),
        (["extract", "v", "--transcript", "x"], "--transcripts"),
        (["report", "x", "--video", "y"], "--videos"),
        (["doctor", "--jsom"], "--json"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_right_one(arguments: list[str], right: str) -> None:
    done = CliRunner().invoke(fmltk, arguments)
    assert done.exit_code == 2
    assert right in done.output
