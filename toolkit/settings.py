"""The settings of a run: those that the numbers depend on, and how sequences are padded."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.clip import MODALITIES, modality_of
from fmltk.toolkit.command_options import Words, check_choices, option
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_toml
from fmltk.toolkit.option_types import FixedLengths, MaxLengths, ModalityList, merged_lengths, words

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAME_RATE_HZ = 30  # paper, section 4.1.2
AUDIO_RATE_HZ = 22_050  # paper, section 4.1.2
HOP_SAMPLES = 512  # from one acoustic frame to the next: librosa's default
ACOUSTIC_RATE_HZ = AUDIO_RATE_HZ / HOP_SAMPLES  # acoustic frames per second: 43.07
SPEECH_RATE_HZ = 16_000  # what networks that hear speech were trained on
MEL_SCALES = ("htk", "slaney")
ACOUSTICS = ("built-in", "librosa")
DEFAULT_MAX_DURATION_S = 3600.0
DEFAULT_MAX_PIXELS = 8192 * 4320  # the largest common picture size, "8K"
DEFAULT_MIN_FACE_PX = 20
# In 15 recordings OpenFace calls no row with less than 0.78 a success and gives up to 0.72 to rows that failed.
DEFAULT_OPENFACE_CONFIDENCE = 0.75
OPENFACE_LAYOUT = "openface"
GEOMETRY_LAYOUT = "mtcnn-geometry"
BY_SPEECH = "speaker"
LOOKS = ("largest", "longest", "center", "first")
FACE_SELECTIONS = (BY_SPEECH, *LOOKS)
PERSON, ACTIVE = SPEAKER_SCOPES = ("person", "active")
AUTO = "auto"
ENERGY, SILERO = "energy", "silero"
AUTO, BUILTIN, DLIB, NONE = IDENTITIES = ("auto", "builtin", "dlib", "none")
SPEECH_METHODS = (AUTO, ENERGY, SILERO)
TORCH, OPENVINO = FACE_NETWORKS = ("torch", "openvino")
CROP_SIZES = (112, 224)
OPENFACE_INPUTS = ("face", "clip")
LENGTH_SOURCES = ("all", "train")
ENGINES = ("local", "ray")
SET_FIELDS = {modality: f"{modality}_sets" for modality in MODALITIES}  # of ExtractSettings
MIN_FACE_PX = 12  # what MTCNN's first network judges at a time


@dataclass(frozen=True, slots=True)
class ExtractSettings:
    """Settings that the features depend on. A folder holds features of one setting: another is refused.

    `extract` fills in vision_layout, openface_source, asd_weights, speech and text_model, from its own arguments and
    what it finds.

    Attributes
    ----------
    modalities
        Which of text, audio, vision are extracted; the others are recorded as skipped.
    text_sets, audio_sets, vision_sets
        The feature sets as a user names them (`fmltk.toolkit.extractors.catalog.find_extractor`), each modality's first
        one first; empty: the one that fmltk chooses. Their cards stand in run.json, not here.
    vision_layout
        "openface" (709 features, or those of `openface_groups`) or "mtcnn-geometry" (built in).
    openface_source
        "folder" (CSVs that exist) or the version of the OpenFace that is run; "" for mtcnn-geometry.
    openface_groups
        The groups of OpenFace features in use; empty: all seven.
    openface_input
        The input of OpenFace: "face" (an upright crop that follows the speaker) or "clip" (the whole picture).
    openface_confidence
        Rows of OpenFace with less confidence (0 to 1) are masked, whatever their success says.
    face_tracking, face_every, face_networks, face_select, speaker_scope, identity, min_face_px
        See docs/features.md, "Faces". `extract` turns the identity "auto" into "dlib" or "builtin".
    asd_weights
        The SHA-256 of LR-ASD's weights; "": mouths are looked at instead.
    speech
        "silero" or "energy": what hears where somebody speaks; "auto" becomes one of them.
    face_crops
        Side of the aligned face crops in pixels, 112 or 224; 0: none are written.
    mfcc_scale
        "htk" (as in the published CH-SIMS features) or "slaney" (librosa's default).
    acoustics
        "built-in" or "librosa": who computes the acoustic features; the numbers are the same.
    text_model
        The name or folder that the text model is loaded from; "" where text is not extracted.
    video_stream, audio_stream
        Which of several in a file, counted from 0; None: the one that players choose.
    max_duration_s, max_pixels
        Longer clips and larger frames are refused by name.
    device
        "cpu" or "cuda".
    """

    modalities: tuple[str, ...] = field(
        default=MODALITIES,
        metadata=option(
            type=ModalityList(), metavar="LIST", show_default="text,audio,vision", help="Which features to extract."
        ),
    )
    text_sets: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--text",
            multiple=True,
            metavar="SET",
            help="A text set: the name or folder of a model, or NAME[:ARGUMENT]; may be given again.",
        ),
    )
    audio_sets: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--audio",
            multiple=True,
            metavar="SET",
            help="An acoustic set, NAME[:ARGUMENT], fmltk33 unless given; may be given again.",
        ),
    )
    vision_sets: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--vision",
            multiple=True,
            metavar="SET",
            help="A visual set, NAME[:ARGUMENT], such as geometry or openface:DIR; may be given again.",
        ),
    )
    vision_layout: str = GEOMETRY_LAYOUT
    openface_source: str = ""
    openface_groups: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--openface-features",
            metavar="GROUPS",
            parse=words,
            help="Only these groups, such as action_units or pose,gaze.",
        ),
    )
    openface_input: str = field(
        default="face",
        metadata=option(
            type=click.Choice(OPENFACE_INPUTS),
            help="OpenFace sees an upright crop that follows the speaker, or the whole video frame.",
        ),
    )
    openface_confidence: float = field(
        default=DEFAULT_OPENFACE_CONFIDENCE,
        metadata=option(
            type=click.FloatRange(0, 1), metavar="SHARE", help="Mask OpenFace's rows of less confidence, 0 to 1."
        ),
    )
    face_tracking: bool = field(
        default=True,
        metadata=option(
            type=Words({"on": True, "off": False}),
            help="Follow faces between full detections, or detect in every frame.",
        ),
    )
    face_every: int = field(
        default=1,
        metadata=option(
            type=click.IntRange(1, 2),
            metavar="N",
            help="Search every frame for faces, or (2) every second one; faces between are interpolated and checked.",
        ),
    )
    face_networks: str = field(
        default=TORCH,
        metadata=option(
            type=click.Choice(FACE_NETWORKS),
            help="Run the face detector's networks with torch, or OpenVINO (the extra fast), in 0.7 to 0.95 of the "
            "time for faces, boxes the same to 0.001 px.",
        ),
    )
    face_select: str = field(
        default=BY_SPEECH,
        metadata=option(
            type=click.Choice(FACE_SELECTIONS),
            help="Which of several faces to use: the speaker's, or by size, duration, position or order.",
        ),
    )
    speaker_scope: str = field(
        default=PERSON,
        metadata=option(
            type=click.Choice(SPEAKER_SCOPES),
            help="One person for the whole clip, who speaks most of it, or whoever speaks in each shot.",
        ),
    )
    asd_weights: str = ""
    speech: str = field(
        default=AUTO,
        metadata=option(
            type=click.Choice(SPEECH_METHODS),
            help="How speech is found if several people are in view: by silero-vad (fmltk[speech]), or by loudness; "
            "auto: silero-vad if it is installed.",
        ),
    )
    identity: str = field(
        default=AUTO,
        metadata=option(
            type=click.Choice(IDENTITIES),
            help="How faces of several shots are linked to people: dlib (the extra identity), built in, or not at all.",
        ),
    )
    min_face_px: int = field(
        default=DEFAULT_MIN_FACE_PX,
        metadata=option(
            "--min-face", type=click.IntRange(min=MIN_FACE_PX), help="The smallest face searched for, in pixels."
        ),
    )
    face_crops: int = field(
        default=0,
        metadata=option(
            type=click.Choice(CROP_SIZES), help="Write the speaker's aligned face as a video of this size."
        ),
    )
    mfcc_scale: str = field(
        default="htk",
        metadata=option(
            type=click.Choice(MEL_SCALES),
            help="Mel scale of the MFCC: HTK as in the published CH-SIMS features, or librosa's default.",
        ),
    )
    acoustics: str = field(
        default="built-in",
        metadata=option(
            type=click.Choice(ACOUSTICS),
            help="Compute the acoustic features with fmltk, or with librosa itself (same numbers, slower).",
        ),
    )
    text_model: str = ""
    video_stream: int | None = field(
        default=None,
        metadata=option(
            type=click.IntRange(min=0),
            metavar="N",
            show_default="as players choose",
            help="Number of the video stream to read, counted from 0.",
        ),
    )
    audio_stream: int | None = field(
        default=None,
        metadata=option(
            type=click.IntRange(min=0),
            metavar="N",
            show_default="as players choose",
            help="Number of the audio stream to read, counted from 0.",
        ),
    )
    max_duration_s: float = field(
        default=DEFAULT_MAX_DURATION_S,
        metadata=option(
            "--max-duration",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Longer clips are refused by name.",
        ),
    )
    max_pixels: int = field(
        default=DEFAULT_MAX_PIXELS,
        metadata=option(type=click.IntRange(min=1), help="Larger video frames are refused by name."),
    )
    device: str = field(default="cpu", metadata=option(help="Device that runs the networks: cpu or cuda."))

    def __post_init__(self) -> None:
        check_choices(self)

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages of extras whose numbers the features depend on."""
        return (OPENVINO,) if self.face_networks == OPENVINO and "vision" in self.modalities else ()

    def document(self) -> dict[str, Any]:
        """Return what the numbers depend on, as JSON holds it: the settings without the limits and the sets' names."""
        document = asdict(self)
        for name in ("max_duration_s", "max_pixels", *SET_FIELDS.values()):
            del document[name]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}


@dataclass(frozen=True, slots=True)
class PaddingSettings:
    """How sequences are brought to one length; `fmltk pad` changes these without touching the videos.

    Attributes
    ----------
    n_sigmas
        The paper's lambda (eq. 2): L = mean + n_sigmas standard deviations of the lengths.
    lengths_from
        "all" clips or only the "train" split.
    fixed
        L per modality or feature set where it is given outright, such as 39/400/55.
    max_length
        The most that L may be, per modality or feature set; a modality's counts for all of its sets.
    vision_pooling
        How many frames are averaged into one step before L is computed; 5 in the published CH-SIMS features.
    """

    n_sigmas: float = field(
        default=3.0,
        metadata=option(
            "--lambda",
            type=click.FloatRange(min=0),
            show_default=False,
            help="L = mean + LAMBDA standard deviations of the lengths (paper, eq. 2; 3 unless given).",
        ),
    )
    lengths_from: str = field(
        default="all",
        metadata=option(
            type=click.Choice(LENGTH_SOURCES),
            show_default=False,
            help="Take the lengths of all clips (unless given), or of the training split (column mode or split).",
        ),
    )
    fixed: Mapping[str, int] = field(
        default_factory=dict,
        metadata=option(
            "--lengths",
            type=FixedLengths(),
            help="Fixed L per modality instead of the rule: 39/400/55, or some: audio=400,audio.egemaps=300; 'rule' "
            "goes back to it.",
        ),
    )
    max_length: Mapping[str, int] = field(
        default_factory=dict,
        metadata=option(
            type=MaxLengths(),
            multiple=True,
            callback=merged_lengths,
            help="The most that L may be, for all, for one modality or for one set. Repeatable; 'none' takes it away.",
        ),
    )
    vision_pooling: int = field(
        default=1,
        metadata=option(
            type=click.IntRange(min=1),
            show_default=False,
            help="Average every N frames into one step (1 unless given); 5 in the published CH-SIMS features.",
        ),
    )

    def __post_init__(self) -> None:
        if self.lengths_from not in LENGTH_SOURCES:
            raise ConfigError(f"lengths come from 'all' or 'train', not {self.lengths_from!r}")
        if not (math.isfinite(self.n_sigmas) and self.n_sigmas >= 0):
            raise ConfigError(f"lambda is {self.n_sigmas}; it must be a number of 0 or more (the paper's value is 3)")
        if self.vision_pooling < 1:
            raise ConfigError(f"vision pooling is {self.vision_pooling}; it must be 1 frame or more")
        for lengths in (self.fixed, self.max_length):
            for key, length in lengths.items():
                if modality_of(key) not in MODALITIES or length < 1:
                    raise ConfigError(
                        f"length {key}={length}: expected one of {', '.join(MODALITIES)} and 1 or more, or a set such "
                        "as audio.egemaps"
                    )

    def document(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> PaddingSettings:
        """Return the settings that `document` wrote down."""
        return cls(**{one.name: document[one.name] for one in fields(cls) if one.name in document})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How the texts that people wrote are read.

    Attributes
    ----------
    encoding
        Encoding of tables and text files; None: it is recognised, or the file is refused.
    language
        Which of several text files next to a video counts: "en" for talk.en.vtt. It also settles encodings.
    """

    encoding: str | None = field(
        default=None, metadata=option(help="Encoding of transcripts and text files; recognised where it is clear.")
    )
    language: str | None = field(
        default=None,
        metadata=option(
            metavar="LANG", help="Language of the text file to read if a video has several: en for talk.en.vtt."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes about its work; no number depends on it.

    Attributes
    ----------
    n_workers
        Worker processes; None: one per core.
    engine, ray_address
        The place of workers: "local" or "ray", and the address of the Ray cluster.
    clip_timeout_s
        The longest that one clip may take; None: by its duration.
    worker_memory_gb
        The most memory that a worker may take; None: a quarter of the machine's, at least 2.
    usual_duration_s
        Clips outside this range are named in a warning.
    retry_failed
        Whether clips that failed in an earlier run are tried again.
    """

    n_workers: int | None = field(
        default=None,
        metadata=option("--workers", type=click.IntRange(min=1), show_default="one per core", help="Worker processes."),
    )
    engine: str = field(
        default="local",
        metadata=option(
            type=click.Choice(ENGINES),
            help="Run workers on this machine, or on a Ray cluster (docs/scaling.md).",
        ),
    )
    ray_address: str | None = field(
        default=None,
        metadata=option(
            metavar="ADDRESS",
            show_default="RAY_ADDRESS, else this machine",
            help="The Ray cluster, such as auto or 10.0.0.1:6379.",
        ),
    )
    clip_timeout_s: float | None = field(
        default=None,
        metadata=option(
            "--clip-timeout",
            type=click.FloatRange(min=1),
            metavar="SECONDS",
            show_default="180 s + 60 s per second of video",
            help="The longest that one clip may take.",
        ),
    )
    worker_memory_gb: float | None = field(
        default=None,
        metadata=option(
            "--worker-memory",
            type=click.FloatRange(min=1),
            metavar="GB",
            show_default="a quarter of the machine's, at least 2",
            help="The most memory that a worker may take; a clip that needs more is a failed row.",
        ),
    )
    usual_duration_s: tuple[float, float] = field(
        default=(1.0, 10.0),
        metadata=option(
            "--usual-duration",
            nargs=2,
            type=float,
            metavar="MIN MAX",
            help="Clips outside this range, in seconds, are named in a warning.",
        ),
    )
    retry_failed: bool = field(
        default=False, metadata=option(help="Try the clips again that failed in an earlier run.")
    )

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"{self.engine!r} is not an engine; expected 'local' or 'ray'")
        if self.worker_memory_gb is not None and not self.worker_memory_gb >= 1:
            raise ConfigError(f"worker_memory_gb is {self.worker_memory_gb}; expected 1 or more")
        shortest_s, longest_s = self.usual_duration_s
        if not 0 <= shortest_s < longest_s:
            raise ConfigError(
                f"usual durations of {shortest_s:g} to {longest_s:g} s: the first must be the smaller one"
            )


def preset_names() -> list[str]:
    """Return the presets that `--preset` knows."""
    folder = resources.files("fmltk.toolkit").joinpath("presets")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return a preset's options: what the command line would call them, with underscores.

    Raises ConfigError if no preset has that name.
    """
    if name not in preset_names():
        raise ConfigError(f"{name!r} is not a preset; expected one of {', '.join(preset_names())}")
    return read_toml(resources.files("fmltk.toolkit").joinpath("presets", f"{name}.toml"))
