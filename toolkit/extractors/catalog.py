"""Feature sets by name: what `--audio NAME[:ARGUMENT]` means, whoever brings the set."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError, FmltkError
from fmltk.toolkit.extractors.contract import ENTRY_POINTS, Card, Extractor

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# A modality whose sets are mostly models: a name that no set has is the argument of this one.
_MODELS = {"text": "hf"}


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """A feature set that a user named.

    name : what its table and its columns are called; given : as it was asked for, without that name
    """

    name: str
    extractor: Extractor
    given: str


def set_names(modality: str) -> tuple[str, ...]:
    """Return the names of the sets of a modality that are installed, sorted; none is loaded.

    >>> "fmltk33" in set_names("audio")
    True
    """
    found = (point.name.partition(".") for point in metadata.entry_points(group=ENTRY_POINTS))
    return tuple(sorted({name for kind, _, name in found if kind == modality}))


def find_extractor(modality: str, text: str) -> ChosenSet:
    """Return the feature set that `text` names: "NAME", "NAME:ARGUMENT", or "SET=NAME:ARGUMENT" to call it SET.

    modality : "text", "audio" or "vision"; of text, any other name is that of a model: "minilm" is "hf:minilm"

    Raises ConfigError if no set has that name, or what a package brings is not one; what the set itself raises where
    its argument or its library is at fault.

    >>> find_extractor("audio", "mine=fmltk33").name
    'mine'
    """
    own_name, given = split_name(text)
    name, _, argument = given.partition(":")
    names = set_names(modality)
    if name not in names and _MODELS.get(modality) in names:
        name, argument = _MODELS[modality], given
    if name not in names or not given:
        raise ConfigError(
            f"{name!r} is not one of the {modality} sets: {', '.join(names) or 'none'}. "
            "Others come with a package: install it"
        )
    point = _entry_point(f"{modality}.{name}")
    source = f"the {modality} set {name!r} (entry point {point.value}{_package(point)})"
    try:
        extractor = point.load()(argument or None)
        card = extractor.card
        pickle.dumps(extractor)  # it is sent to the workers
    except FmltkError:
        raise
    except Exception as error:  # the code of another package may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())  # one line
        raise ConfigError(f"{source} does not load: {reason}; update or remove its package") from error
    _check_card(card, modality, source)
    own_name = own_name or card.name
    if not SET_NAME.fullmatch(own_name):
        raise ConfigError(
            f"{source} is called {own_name!r}; expected letters, digits, dots, dashes and underscores: "
            f"give it a name, --{modality} NAME={given}"
        )
    return ChosenSet(own_name, extractor, given)


def split_name(text: str) -> tuple[str, str]:
    """Return the name that a user gave a set, "" where none, and the rest.

    >>> split_name("mine=hf:models/a"), split_name("hf:models/a=b")
    (('mine', 'hf:models/a'), ('', 'hf:models/a=b'))
    """
    name, separator, rest = text.partition("=")
    return (name, rest) if separator and SET_NAME.fullmatch(name) else ("", text)


def _entry_point(name: str) -> EntryPoint:
    points = {point.value: point for point in metadata.entry_points(group=ENTRY_POINTS, name=name)}
    if len(points) > 1:
        packages = ", ".join(sorted(f"{value}{_package(point)}" for value, point in points.items()))
        raise ConfigError(f"several packages bring a set {name!r} ({packages}); uninstall all but one")
    return next(iter(points.values()))


def _package(point: EntryPoint) -> str:
    return f" of the package {point.dist.name}" if point.dist is not None else ""


def _check_card(card: object, modality: str, source: str) -> None:
    if not isinstance(card, Card):
        raise ConfigError(f"{source} has a card that is {type(card).__name__}; it must be a Card")
    if card.modality != modality:
        raise ConfigError(f"{source} says that it is of {card.modality!r}; its entry point says {modality!r}")
