"""A reporter that keeps what it is given."""

from __future__ import annotations

from fmltk.toolkit.console import Reporter


class Listener(Reporter):
    """Keeps what is said and what is warned of; nothing is printed."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)
