"""The settings of the recognition of speech."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import click

from fmltk.toolkit.command_options import check_choices, option

# Whisper's own limits: R. Radford et al., "Robust speech recognition via large-scale weak supervision", section 4.5.
DEFAULT_NO_SPEECH = 0.6
DEFAULT_LOG_PROBABILITY = -1.0
DEFAULT_COMPRESSION = 2.4


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionSettings:
    """Settings that recognised text depends on.

    Attributes
    ----------
    model
        "hf:" and a folder or name of a Whisper; "": nothing is recognised.
    spoken_language
        A code that the model knows, such as "en"; "": what the model hears at a clip's beginning.
    no_speech, log_probability
        A piece of sound gives no text where the model's probability that nobody speaks is more than the one and the
        average log-probability of the text less than the other; less than the other alone is said.
    compression
        Text that is compressed by more than this factor repeats itself: it is dropped.
    """

    model: str = field(
        default="",
        metadata=option(
            "--transcribe",
            metavar="hf:MODEL",
            help="Recognise what is said with a Whisper: a name on the hub or a folder. Clips without a transcript use "
            "the text; transcripts that are given stay.",
        ),
    )
    spoken_language: str = field(
        default="",
        metadata=option(
            "--transcribe-language",
            metavar="LANG",
            show_default="as heard",
            help="Language of all clips, such as en or zh.",
        ),
    )
    no_speech: float = field(
        default=DEFAULT_NO_SPEECH,
        metadata=option(
            "--transcribe-no-speech",
            type=click.FloatRange(0, 1),
            metavar="P",
            help="No text where the Whisper is surer than this that nobody speaks, and unsure of the text.",
        ),
    )
    log_probability: float = field(
        default=DEFAULT_LOG_PROBABILITY,
        metadata=option(
            "--transcribe-logprob",
            type=click.FloatRange(max=0),
            metavar="LOGP",
            help="A lower average log-probability means that the text is unsure.",
        ),
    )
    compression: float = field(
        default=DEFAULT_COMPRESSION,
        metadata=option(
            "--transcribe-compression",
            type=click.FloatRange(min=1),
            metavar="RATIO",
            help="Text that zlib compresses by more than this repeats itself and is dropped.",
        ),
    )

    def __post_init__(self) -> None:
        check_choices(self)

    def document(self) -> dict[str, Any]:
        """Return what recognised text depends on, besides the model, as JSON holds it."""
        return {name: value for name, value in asdict(self).items() if name != "model"}
