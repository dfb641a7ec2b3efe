"""Text that a terminal or a log may show: what a terminal would obey, or people would not see, is written out.

Names of files, ids, answers of servers and messages of libraries are others' text. Everything that fmltk writes for
people passes through here, on a terminal, in a pipe or in a file.
"""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1: window titles, clipboard, clear screen, overwriting by carriage return), line and
# paragraph separators, marks that reorder what is shown (Unicode's bidirectional embeddings, overrides and isolates,
# UAX #9), and halves of surrogate pairs, which are not text.
_BEYOND_ASCII = "\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_OBEYED = re.compile(f"[\x00-\x1f{_BEYOND_ASCII}]")
_OBEYED_IN_JSON = re.compile(f"[{_BEYOND_ASCII}]")  # JSON writes out the others itself
_SPACES = "\n\t"
_SHOWN_CHARS = 80  # of a value that a message or a list names


def printable(text: str) -> str:
    r"""Return a text as one line that a terminal shows and does not obey.

    Line ends and tabs become spaces, every other control character and mark of direction is written out.

    >>> printable("clip\n1 \x1b[2J\u202e4pm.exe")
    'clip 1 \\x1b[2J\\u202e4pm.exe'
    """
    return _OBEYED.sub(_written_out, text)


def short_text(value: object) -> str | None:
    """Return what is listed of a value from a file: short, in characters that a terminal does not obey.

    >>> short_text(3), len(short_text(100 * "b")), short_text(None)
    ('3', 80, None)
    """
    if value is None:
        return None
    text = printable(str(value))
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def printable_lines(text: str) -> str:
    r"""Return a text of several lines, each as `printable` gives it.

    >>> printable_lines("Usage: fmltk\n\x07")
    'Usage: fmltk\n\\x07'
    """
    return "\n".join(map(printable, text.split("\n")))


def printable_json(document: str) -> str:
    r"""Return the text of a JSON document with the same content, in which nothing is left that a terminal obeys.

    >>> printable_json('["\x9b2J"]')
    '["\\u009b2J"]'
    """
    return _OBEYED_IN_JSON.sub(lambda found: f"\\u{ord(found.group()):04x}", document)


def _written_out(found: re.Match[str]) -> str:
    character = found.group()
    return " " if character in _SPACES else character.encode("unicode_escape").decode("ascii")
