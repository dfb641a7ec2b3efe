"""The seven conditions and the two scales.

Source: paper, section 3. A condition is what a rater may use: text T, audio A, silent video V, two of them, or all (M).
"""

from __future__ import annotations

from dataclasses import dataclass

CONDITIONS = ("M", "T", "A", "V", "AT", "VT", "AV")  # order of columns in labels.parquet
UNIMODAL = ("T", "A", "V")
BIMODAL = ("AT", "VT", "AV")
MAX_SPAN = 100  # of a scale: everything is counted by value, and a scale comes from files that others wrote
MODALITY_OF = {"T": "text", "A": "audio", "V": "vision"}


def canonical_condition(text: str) -> str | None:
    """Return the condition that `text` means, or None; the order of two letters does not matter.

    >>> canonical_condition("ta"), canonical_condition("VT"), canonical_condition("X")
    ('AT', 'VT', None)
    """
    letters = "".join(sorted(text.strip().upper()))
    return next((name for name in CONDITIONS if "".join(sorted(name)) == letters), None)


@dataclass(frozen=True, slots=True)
class Scale:
    """The values that a rater may choose, from `low` to `high` in whole steps."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"

    @property
    def values(self) -> tuple[int, ...]:
        """Every choice, in order.

        >>> Scale(-1, 1).values
        (-1, 0, 1)
        """
        return tuple(range(self.low, self.high + 1))

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read "-1..1".

        Raises ConfigError if `text` is not two whole numbers, the lower first, or they are more than 100 apart.

        >>> Scale.parse("-3..3")
        Scale(low=-3, high=3)
        """
        from fmltk.toolkit.errors import ConfigError

        low, separator, high = text.partition("..")
        try:
            scale = cls(int(low), int(high))
        except ValueError:
            separator = ""
        if not separator or scale.low >= scale.high:
            raise ConfigError(f"scale {text!r} is not LOW..HIGH in whole numbers, such as -1..1 or -3..3")
        if scale.high - scale.low > MAX_SPAN:
            raise ConfigError(
                f"scale {text!r} spans more than {MAX_SPAN} steps; raters cannot tell so many values apart"
            )
        return scale


CH_SIMS_SCALE = Scale(-1, 1)  # paper, section 3: -1 negative, 0 neutral, 1 positive
MOSI_SCALE = Scale(-3, 3)  # paper, section 3: strongly negative to strongly positive

# What may stand next to the mean of a panel in a table of labels: labels weighed by the raters' reliability.
WEIGHED = ("evaluator_weighted", "dawid_skene", "mace", "glad")
