"""Oddities of a run's input: problems.csv, and a line per kind for people."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.clip_row import FAILED
from fmltk.toolkit.io.printable import printable
from fmltk.toolkit.io.tables import write_csv
from fmltk.toolkit.text.language import MAX_UNKNOWN_SHARE, unknown_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.clip_row import ClipRow
    from fmltk.toolkit.io.paths import AnyPath

PROBLEMS_FILE = "problems.csv"
LISTED = 5  # how many cases of one kind of problem are written out on the terminal
UNKNOWN_TOKENS = "unknown-tokens"
PROBLEM_TITLES = {
    "no-transcript": "clips without a transcript, so without text",
    "no-video": "transcripts without a video",
    "ambiguous-id": "transcripts whose video is not certain",
    "duplicate-id": "ids given twice",
    "same-content": "files with the content of another",
    "unreadable": "clips that cannot be read",
    "duration": "clips of an unusual duration",
    "unknown-split": "clips of an unknown split",
    "ignored-file": "files and folders left out",
    "unmatched-sidecar": "text files of no video",
    "other-language": "clips without a text file in the language asked for",
    "other-words": "clips with text files that say different things",
    "short-cue": "cues too short to be a clip",
    UNKNOWN_TOKENS: "clips with many words that the text model does not know",
    "excluded-unknown": "excluded clips that do not exist",
}
NAMED_BY_ID = frozenset({"no-transcript", "no-video", "excluded-unknown"})  # what is wrong with them is the title
OF_FILES = frozenset(
    {"unreadable", "duration", UNKNOWN_TOKENS}
)  # known once files are opened; the others, before work begins


def unusual_duration(utterance_id: str, duration_s: float, usual_s: tuple[float, float]) -> list[Problem]:
    """Return the problem of a clip that is shorter or longer than is usual; none where it is not."""
    low, high = usual_s
    if low <= duration_s <= high:
        return []
    message = f"lasts {duration_s:.2f} s, outside the usual {low:g} to {high:g} s"
    return [Problem("duration", utterance_id, message)]


def problems_of_row(row: ClipRow, usual_s: tuple[float, float]) -> list[Problem]:
    """Return what problems.csv says of a clip's file, from its row: the same however often the run was interrupted."""
    found = []
    if row.text_unknown_share is not None and row.text_unknown_share > MAX_UNKNOWN_SHARE:
        found.append(
            Problem(UNKNOWN_TOKENS, row.utterance_id, f"of the tokens, {unknown_tokens(row.text_unknown_share)}")
        )
    if row.duration_s is not None:
        return [*found, *unusual_duration(row.utterance_id, row.duration_s, usual_s)]
    if row.status == FAILED and row.error_class != ConfigError.__name__:
        return [Problem("unreadable", row.utterance_id, str(row.error_message))]
    return []


def write_problems(folder: AnyPath, problems: Sequence[Problem]) -> None:
    """Write everything that is odd about the input to problems.csv, which people open in spreadsheets and terminals."""
    rows = (tuple(map(printable, astuple(problem))) for problem in problems)
    write_csv(folder / PROBLEMS_FILE, Problem.__slots__, rows, spreadsheet_safe=True)


def say_problems(folder: AnyPath, problems: Sequence[Problem], reporter: Reporter) -> None:
    """Say what is odd about the input: a line per kind that names the first few cases."""
    for kind, title in PROBLEM_TITLES.items():
        cases = [problem for problem in problems if problem.kind == kind]
        if not cases:
            continue
        by_id_alone = kind in NAMED_BY_ID
        named = "; ".join(case.where if by_id_alone else f"{case.where}: {case.message}" for case in cases[:LISTED])
        more = f"; and {len(cases) - LISTED} more in {folder / PROBLEMS_FILE}" if len(cases) > LISTED else ""
        reporter.warn(f"{title} ({len(cases)}): {named}{more}")
