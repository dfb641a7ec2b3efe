"""The meaning of texts on the command line: scales, conditions, panels, words for ratings."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from typing import TYPE_CHECKING

from fmltk.toolkit.conditions import CONDITIONS, Scale, canonical_condition
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

DIMENSION = re.compile(r"\w[\w-]{0,39}")  # also a part of a file's name: labels.valence.parquet


def parse_scales(pairs: Iterable[str]) -> dict[str, Scale]:
    """Return the scales of --scale AT=-1..1 options, by condition or dimension; "-3..3" alone is for all conditions.

    Raises ConfigError if an option is not a scale.

    >>> parse_scales(("AT=-3..3",))
    {'AT': Scale.parse('-3..3')}
    """
    scales: dict[str, Scale] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if separator:
            scales[name.strip()] = Scale.parse(text)
        else:
            scales.update(dict.fromkeys(CONDITIONS, Scale.parse(pair)))
    return scales


def parse_dimensions(pairs: Iterable[str]) -> dict[str, str]:
    """Return the columns or controls of --dimension NAME=COLUMN options, by dimension; without =COLUMN, it is NAME.

    Raises ConfigError if a name cannot be one, or occurs twice.

    >>> parse_dimensions(("valence=V", "arousal"))
    {'valence': 'V', 'arousal': 'arousal'}
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, column = (part.strip() for part in pair.partition("="))
        if not DIMENSION.fullmatch(name) or name in CONDITIONS:
            raise ConfigError(
                f"--dimension {pair!r} is not NAME or NAME=COLUMN, such as valence=V; a name is of letters, digits, - "
                f"and _, and not a condition ({', '.join(CONDITIONS)})"
            )
        if name in found:
            raise ConfigError(f"--dimension names {name!r} twice; give each once")
        found[name] = column or name
    return found


def parse_conditions(text: str) -> tuple[str, ...]:
    """Return the conditions of "AT,VT,AV", each once, in that order.

    Raises ConfigError if one is unknown.

    >>> parse_conditions("AT, VT")
    ('AT', 'VT')
    """
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = canonical_condition(word)
        if name is None:
            raise ConfigError(f"{word!r} is not a condition; expected some of {','.join(CONDITIONS)}")
        found.append(name)
    if not found:
        raise ConfigError(f"no condition is given; expected some of {','.join(CONDITIONS)}")
    return tuple(dict.fromkeys(found))


def parse_condition(text: str) -> str:
    """Return the one condition that --condition names.

    Raises ConfigError if it is unknown, or there are several.
    """
    found = parse_conditions(text)
    if len(found) > 1:
        raise ConfigError(f"--condition {text!r} names several; import the files of each condition on their own")
    return found[0]


def parse_label_values(pairs: Iterable[str]) -> dict[str, int]:
    """Return the ratings that --label WORD=VALUE options give to words.

    Raises ConfigError if an option is something else.

    >>> parse_label_values(("Negative=-1",))
    {'Negative': -1}
    """
    values = {}
    for pair in pairs:
        word, _, number = pair.rpartition("=")
        try:
            values[word] = int(number)
        except ValueError:
            word = ""
        if not word:
            raise ConfigError(f"--label {pair!r} is not WORD=VALUE with a whole number, such as Negative=-1")
    return values


def parse_panel(text: str) -> int | None:
    """Return N of "at-least N" (or at-least-N, at-least=N), None for "strict".

    Raises ConfigError if it is neither.

    >>> parse_panel("strict"), parse_panel("at-least 3")
    (None, 3)
    """
    if text == "strict":
        return None
    found = re.fullmatch(r"at-least[ =:-]?([0-9]{1,4})", text.strip())
    if not found:
        raise ConfigError(f"--panel {text!r} is neither strict nor at-least-N, such as at-least-3")
    return int(found.group(1))


def parse_replacements(pairs: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the (old, new) raters of --replacement OLD=NEW options.

    Raises ConfigError if an option is something else, or a rater replaces several, or itself.

    >>> parse_replacements(("3=6",))
    (('3', '6'),)
    """
    found: dict[str, str] = {}
    for pair in pairs:
        old, _, new = pair.partition("=")
        if not old or not new or old == new:
            raise ConfigError(f"--replacement {pair!r} is not OLD=NEW with two annotators, such as 3=6")
        if found.setdefault(new, old) != old:
            raise ConfigError(f"--replacement: {new!r} replaces {found[new]!r} and {old!r}; one annotator replaces one")
    return tuple((old, new) for new, old in found.items())


def parse_time_zone(text: str) -> tzinfo:
    """Return the zone that --time-zone names.

    Raises ConfigError if no such zone is known; it names those that are called nearly the same.

    >>> parse_time_zone("Asia/Shanghai")
    zoneinfo.ZoneInfo(key='Asia/Shanghai')
    """
    try:
        return zoneinfo.ZoneInfo(text.strip())
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = {name.casefold(): name for name in zoneinfo.available_timezones()}
        if not known:
            raise ConfigError("this machine has no list of time zones: pip install tzdata") from error
        near = difflib.get_close_matches(text.strip().casefold(), known, n=2)
        meant = f"; is {' or '.join(known[name] for name in near)} meant?" if near else ""
        raise ConfigError(f"--time-zone {text!r} is not a time zone, such as Asia/Shanghai or UTC{meant}") from error
