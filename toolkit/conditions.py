"""The seven conditions, and the scales that raters answer on: the paper's two and others.

Source: paper, section 3. A condition is what a rater may use: text T, audio A, silent video V, two of them, or all (M).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONDITIONS = ("M", "T", "A", "V", "AT", "VT", "AV")  # order of columns in labels.parquet
UNIMODAL = ("T", "A", "V")
BIMODAL = ("AT", "VT", "AV")
MAX_SPAN = 100  # of a scale: everything is counted by value, and a scale comes from files that others wrote
NAME_SEPARATOR, NOMINAL, CONTINUOUS = "|", "nominal", "continuous"  # in the text of a scale
CONTINUOUS_STEPS = 6  # what counts as one step of a continuous scale is a sixth of it, as on a scale of seven values
MODALITY_OF = {"T": "text", "A": "audio", "V": "vision"}


def canonical_condition(text: str) -> str | None:
    """Return the condition that `text` means, or None; the order of two letters does not matter.

    >>> canonical_condition("ta"), canonical_condition("VT"), canonical_condition("X")
    ('AT', 'VT', None)
    """
    letters = "".join(sorted(text.strip().upper()))
    return next((name for name in CONDITIONS if "".join(sorted(name)) == letters), None)


Kind = Literal["ordinal", "continuous", "nominal"]
_NUMBER = r"[+-]?\d{1,15}(?:\.\d{1,9})?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(\s*[:\s]\s*continuous)?", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Scale:
    """The answers that an annotator may give.

    Attributes
    ----------
    low, high
        The ends; of a nominal scale, the numbers of its first and last class.
    kind
        "ordinal": from `low` to `high` in whole steps. "continuous": any number between. "nominal": classes without
        order, such as emotions.
    names
        The classes of a nominal scale, in order; none where the answers themselves say which there are.
    """

    low: float
    high: float
    kind: Kind = "ordinal"
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "nominal":
            return NAME_SEPARATOR.join(self.names) or NOMINAL
        ends = f"{self.low:.15g}..{self.high:.15g}"
        return f"{ends}:{CONTINUOUS}" if self.kind == "continuous" else ends

    def __repr__(self) -> str:
        return f"Scale.parse({str(self)!r})"

    @property
    def values(self) -> tuple[int, ...]:
        """Every choice, in order; the classes of a nominal scale by number. None on a continuous scale.

        >>> Scale(-1, 1).values
        (-1, 0, 1)
        """
        return () if self.kind == "continuous" else tuple(range(int(self.low), int(self.high) + 1))

    @property
    def step(self) -> float:
        """One step: 1; on a continuous scale a sixth of it, as on one of seven values."""
        return (self.high - self.low) / CONTINUOUS_STEPS if self.kind == "continuous" else 1

    @property
    def has_signs(self) -> bool:
        """Whether it has a negative and a positive side."""
        return self.kind != "nominal" and self.low < 0 < self.high

    def contains(self, value: float) -> bool:
        """Whether a number is one that a rater may give."""
        return self.low <= value <= self.high and (self.kind == "continuous" or float(value).is_integer())

    @classmethod
    def nominal(cls, names: Iterable[str] = ()) -> Scale:
        """Return the scale of these classes, or of those that the answers have.

        >>> str(Scale.nominal(["happy", "sad"])), str(Scale.nominal())
        ('happy|sad', 'nominal')
        """
        names = tuple(names)
        return cls(0, len(names) - 1, "nominal", names)

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read "-1..1" (whole steps), "0..100:continuous" (any number), "happy|sad|angry" or "nominal" (words).

        Words may also be separated by commas, which mean nothing to a shell.

        Raises ConfigError if `text` is not one of these, the first number is not the lower one, whole numbers are more
        than 100 apart, or a word occurs twice.

        >>> Scale.parse("-3..3"), Scale.parse("0..1:continuous").kind, Scale.parse("happy|sad").names
        (Scale.parse('-3..3'), 'continuous', ('happy', 'sad'))
        """
        words = _words(text)
        if words or text.strip().casefold() == NOMINAL:
            return _parse_nominal(text, words)
        found = _RANGE.fullmatch(text.strip().replace("\N{MINUS SIGN}", "-"))
        if found and found[3] and float(found[1]) < float(found[2]):
            return cls(float(found[1]), float(found[2]), "continuous")
        if not found or found[3] or "." in found[1] + found[2] or int(found[1]) >= int(found[2]):
            raise ConfigError(
                f"scale {text!r} is not LOW..HIGH in whole numbers, such as -1..1 or -3..3; decimals and sliders are "
                "0..100:continuous, words happy|sad|angry"
            )
        scale = cls(int(found[1]), int(found[2]))
        if scale.high - scale.low > MAX_SPAN:
            raise ConfigError(
                f"scale {text!r} spans more than {MAX_SPAN} steps; of a slider or other numbers that annotators do not "
                f"choose one by one, give --scale {scale}:{CONTINUOUS}"
            )
        return scale


def _words(text: str) -> list[str]:
    """Return the words of a nominal scale; none where the text is a range, or numbers alone."""
    separator = NAME_SEPARATOR if NAME_SEPARATOR in text else ","
    words = [word.strip() for word in text.split(separator)]
    is_numbers = separator == "," and (".." in text or all(re.fullmatch(_NUMBER, word) for word in words))
    return [] if len(words) < 2 or is_numbers else words


def _parse_nominal(text: str, words: list[str]) -> Scale:
    folded = {word.casefold() for word in words}
    if "" in folded or len(folded) < len(words) or len(words) > MAX_SPAN:
        raise ConfigError(
            f"scale {text!r} has an empty word, one word twice, or more than {MAX_SPAN}; expected happy|sad|angry"
        )
    return Scale.nominal(words)


CH_SIMS_SCALE = Scale(-1, 1)  # paper, section 3: -1 negative, 0 neutral, 1 positive
MOSI_SCALE = Scale(-3, 3)  # paper, section 3: strongly negative to strongly positive

# Labels that may stand next to the mean of a panel: weighed by the annotators' reliability.
OF_CLASSES = ("dawid_skene", "mace", "glad")  # those that take values for classes without order
WEIGHED = ("evaluator_weighted", *OF_CLASSES)
