"""The terms of a release, which only its authors know: title, licence, who made it, where it is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fmltk.toolkit.command_options import option
from fmltk.toolkit.errors import ConfigError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def parse_date(text: str) -> str:
    """Return a day as it was given. Raises ConfigError if it is not one such as 2026-11-27."""
    from datetime import date

    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise ConfigError(f"--date {text!r} is not a day; expected one such as 2026-11-27")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of a release, published as they are given; what is left out is said to be missing."""

    title: str = field(default="Multimodal sentiment labels", metadata=option(help="Title of the release."))
    description: str | None = field(default=None, metadata=option(help="Why the labels were made, in a sentence."))
    licence: str | None = field(
        default=None, metadata=option(help="Licence of the labels: an SPDX name such as CC-BY-4.0, or an address.")
    )
    creators: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--creator", multiple=True, metavar="NAME", help="A person or group that made the labels. Repeatable."
        ),
    )
    address: str | None = field(
        default=None, metadata=option(help="Address where the release is published (https://...).")
    )
    citation: str | None = field(default=None, metadata=option(help="How to cite the release."))
    version: str = field(default="1.0.0", metadata=option(help="Version of the release."))
    date: str | None = field(default=None, metadata=option(parse=parse_date, help="Day of publication: YYYY-MM-DD."))

    @property
    def missing(self) -> tuple[str, ...]:
        """The options that a reader of the release would miss most, where they were not given."""
        given = {"--licence": self.licence, "--creator": self.creators, "--description": self.description}
        return tuple(name for name, value in given.items() if not value)
