"""The figures in docs/reliability.md, which runs at full size write."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def write_section(name: str, text: str, *, page: Path = PAGE) -> None:
    """Put `text`, and where it was measured, between the page's markers of `name`."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise ValueError(f"{page} has no markers {begin} and {end}")
    when = datetime.date.today().isoformat()
    machine = f"Measured on {when}: Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}."
    page.write_text(f"{before}{begin}\n\n{text}\n\n{machine}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
