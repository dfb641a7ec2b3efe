"""The set `geometry`: the built-in face geometry of toolkit/vision/geometry.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.contract import Card, Features, Reads
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmltk.toolkit.vision.tracks import FaceTrack


@dataclass(frozen=True, slots=True)
class GeometrySet:
    """Position, turn and motion of the speaker's face."""

    @property
    def card(self) -> Card:
        """The set's card."""
        from fmltk.toolkit.vision.geometry import GEOMETRY_FEATURES

        return Card(
            name="geometry",
            modality="vision",
            reads=Reads.FACE,
            features=tuple((name, unit) for name, unit, *_ in GEOMETRY_FEATURES),
            rate_hz=FRAME_RATE_HZ,
        )

    def load(self, device: str) -> Callable[[FaceTrack], Features]:
        """Return the function of one clip; it runs on the CPU."""
        return _features


def extractor(argument: str | None) -> GeometrySet:
    """Return the set. Raises ConfigError if it is given an argument."""
    if argument is not None:
        raise ConfigError(f"geometry takes no argument, and {argument!r} was given")
    return GeometrySet()


def _features(face: FaceTrack) -> Features:
    from fmltk.toolkit.vision.geometry import geometry_sequence

    return Features(*geometry_sequence(face))
