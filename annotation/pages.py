"""The answers that a labelling page offers annotators: the scale of each control of a Label Studio configuration."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from fmltk.toolkit.conditions import MAX_SPAN, Scale
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import read_text

if TYPE_CHECKING:
    from pathlib import Path

MAX_STEPS = 20  # of a slider whose values are taken for choices: raters do not tell more apart
STARS = "5"  # of a Rating control that does not say how many
_DECLARATION = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)  # no page needs one, and it may expand without an end


def read_page(path: Path) -> dict[str, Scale]:
    """Return the scale of each control of a file with the page's XML, as `parse_page` does.

    Raises ConfigError if the file cannot be read, is not XML, or has no control that gives a rating.
    """
    try:
        scales = parse_page(read_text(path, error=ConfigError))
    except ET.ParseError as error:
        raise ConfigError(
            f"{path} is not the XML of a labelling configuration ({error}); copy it from the project's Settings, "
            "Labeling Interface, Code"
        ) from error
    if not scales:
        raise ConfigError(f"{path} has no control of Choices, Rating, Number or Taxonomy with a name")
    return scales


def scales_of_page(text: object) -> dict[str, Scale]:
    """Return what `parse_page` gives; nothing where a server's page is not XML."""
    try:
        return parse_page(text) if isinstance(text, str) else {}
    except ET.ParseError:
        return {}


def parse_page(text: str) -> dict[str, Scale]:
    """Return the scale of each control: of Choices and Taxonomy from the values, of Rating and Number from their ends.

    A Number without min and max says nothing of its scale, and is left out.

    Raises ParseError (of xml.etree) if `text` is not XML, or declares a document type.

    >>> parse_page('<View><Rating name="valence" maxRating="7"/><Number name="mood" min="0" max="100"/></View>')
    {'valence': Scale.parse('1..7'), 'mood': Scale.parse('0..100:continuous')}
    """
    if _DECLARATION.search(text):
        raise ET.ParseError("it declares a document type")
    scales: dict[str, Scale] = {}
    for element in ET.fromstring(text).iter():  # noqa: S314 - entities cannot be declared
        name = element.get("name")
        scale = None
        if name and element.tag in ("Choices", "Taxonomy"):
            values = [choice.get("alias") or choice.get("value") or "" for choice in element.iter("Choice")]
            scale = _scale_of_choices([value.strip() for value in values])
        elif name and element.tag == "Rating":
            scale = _parsed(f"1..{element.get('maxRating', STARS)}")
        elif name and element.tag == "Number":
            scale = _scale_of_ends(element.get("min", ""), element.get("max", ""), element.get("step", ""))
        if name and scale is not None:
            scales[name] = scale
    return scales


def _scale_of_choices(values: list[str]) -> Scale | None:
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        return _parsed("|".join(values))
    return _parsed(f"{min(numbers)}..{max(numbers)}") if numbers else None


def _scale_of_ends(low: str, high: str, step: str) -> Scale | None:
    """Return the scale of a Number control; Label Studio lets raters give any number where no step is said."""
    continuous = _parsed(f"{low}..{high}:continuous")
    if continuous is None:
        return None
    n_steps = continuous.high - continuous.low
    is_whole = step == "1" and n_steps <= min(MAX_STEPS, MAX_SPAN)
    return (_parsed(f"{low}..{high}") or continuous) if is_whole else continuous


def _parsed(text: str) -> Scale | None:
    """Return the scale of a text; None where it is not one, as of a page with a single choice."""
    try:
        return Scale.parse(text)
    except ConfigError:
        return None
