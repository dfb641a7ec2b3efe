"""The settings of `fmltk align`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from fmltk.toolkit.command_options import check_choices, option
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import LENGTH_SOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

CLOCKS = ("auto", "clip", "video")
UNITS = ("word", "character", "token")
TEXT_POOLINGS = ("mean", "first")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignSettings:
    """Settings that the aligned features depend on, besides the words and the features themselves.

    Attributes
    ----------
    clock
        The zero of times of clips that are cut from videos: "clip", "video", or "auto" where it can be found out.
    unit
        The kind of step: a "word" as the source gives it, a "character" of words in scripts without spaces, or a
        "token" of the text model, as in MMSA's aligned sets.
    text_pooling
        A word's text features: the "mean" of its tokens, or its "first" token.
    n_sigmas, lengths_from
        The padding rule, as in `PaddingSettings`; all modalities have the same lengths here, so one L.
    length
        L outright, such as that of a model; None: by the rule.
    """

    clock: str = field(
        default="auto",
        metadata=option(
            type=click.Choice(CLOCKS),
            help="Whether words of a clip that is cut from a video count from the clip's or the video's beginning.",
        ),
    )
    unit: str = field(
        default="word",
        metadata=option(
            type=click.Choice(UNITS),
            help="A step is a word of the source, a character (Chinese, Japanese, Thai), or a token of the text model.",
        ),
    )
    text_pooling: str = field(
        default="mean",
        metadata=option(
            "--text", type=click.Choice(TEXT_POOLINGS), help="Text features of a word: its tokens' mean, or its first."
        ),
    )
    n_sigmas: float = field(
        default=3.0,
        metadata=option(
            "--lambda",
            type=click.FloatRange(min=0),
            help="L = mean + LAMBDA standard deviations of the clips' lengths in words (paper, eq. 2).",
        ),
    )
    lengths_from: str = field(
        default="all",
        metadata=option(
            type=click.Choice(LENGTH_SOURCES), help="Take the lengths of all clips, or of the training split."
        ),
    )
    length: int | None = field(
        default=None,
        metadata=option(
            type=click.IntRange(min=1), metavar="N", show_default="by the rule", help="L outright, such as a model's."
        ),
    )

    def __post_init__(self) -> None:
        check_choices(self)

    def padded_length(self, lengths: Sequence[int]) -> int:
        """Return L for clips of these lengths in steps, which `lengths_from` has chosen.

        Raises ConfigError if there are none, since no clip is in the training split.
        """
        from fmltk.toolkit.features.padding import padded_length

        if self.length is not None:
            return self.length
        if not lengths:
            raise ConfigError(
                "--lengths-from train: no aligned clip is in the training split; extract with a column split in "
                "--transcripts, or use --lengths-from all"
            )
        return padded_length(lengths, n_sigmas=self.n_sigmas)
