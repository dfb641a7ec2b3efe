"""What a run may choose: settings that the numbers depend on, and how sequences are padded."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAME_RATE_HZ = 30  # paper, section 4.1.2
AUDIO_RATE_HZ = 22_050  # paper, section 4.1.2
HOP_SAMPLES = 512  # from one acoustic frame to the next: librosa's default
ACOUSTIC_RATE_HZ = AUDIO_RATE_HZ / HOP_SAMPLES  # acoustic frames per second: 43.07
MEL_SCALES = ("htk", "slaney")
DEFAULT_MAX_DURATION_S = 3600.0
DEFAULT_MAX_PIXELS = 8192 * 4320  # the largest common picture size, "8K"
DEFAULT_MIN_FACE_PX = 20
OPENFACE_LAYOUT = "openface"
GEOMETRY_LAYOUT = "mtcnn-geometry"
FACE_SELECTIONS = ("largest", "longest", "center", "first")
CROP_SIZES = (112, 224)
MIN_FACE_PX = 12  # what MTCNN's first network judges at a time


@dataclass(frozen=True, slots=True)
class ExtractSettings:
    """Settings that the features depend on. A folder holds features of one setting: another is refused.

    `extract` fills in vision_layout, openface_source and text_model, from its own arguments and what it finds.

    Attributes
    ----------
    modalities
        Which of text, audio, vision are extracted; the others are recorded as skipped.
    vision_layout
        "openface" (709 features, or those of `openface_groups`) or "mtcnn-geometry" (built in).
    openface_source
        "folder" (CSVs that exist) or the version of the OpenFace that is run; "" for mtcnn-geometry.
    openface_groups
        The groups of OpenFace features in use; empty: all seven.
    openface_input
        What a run of OpenFace sees: "face" (an upright crop that follows the speaker) or "clip" (the whole picture).
    face_tracking, face_select, min_face_px
        See docs/features.md, "Faces".
    face_crops
        Side of the aligned face crops in pixels, 112 or 224; 0: none are written.
    mfcc_scale
        "htk" (as in the published CH-SIMS features) or "slaney" (librosa's default).
    acoustics
        "built-in" or "librosa": who computes the acoustic features; the numbers are the same.
    text_model
        The name or folder that the text model is loaded from; "" where text is not extracted.
    max_duration_s, max_pixels
        Longer clips and larger frames are refused by name.
    device
        "cpu" or "cuda".
    """

    modalities: tuple[str, ...] = MODALITIES
    vision_layout: str = GEOMETRY_LAYOUT
    openface_source: str = ""
    openface_groups: tuple[str, ...] = ()
    openface_input: str = "face"
    face_tracking: bool = True
    face_select: str = "largest"
    min_face_px: int = 20
    face_crops: int = 0
    mfcc_scale: str = "htk"
    acoustics: str = "built-in"
    text_model: str = ""
    max_duration_s: float = DEFAULT_MAX_DURATION_S
    max_pixels: int = DEFAULT_MAX_PIXELS
    device: str = "cpu"

    def __post_init__(self) -> None:
        choices = {
            "openface_input": ("face", "clip"),
            "face_select": FACE_SELECTIONS,
            "face_crops": (0, *CROP_SIZES),
            "mfcc_scale": ("htk", "slaney"),
            "acoustics": ("built-in", "librosa"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                expected = ", ".join(map(repr, allowed))
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {expected}")
        for name, least in (("min_face_px", MIN_FACE_PX), ("max_duration_s", 0), ("max_pixels", 1)):
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {least} or more")

    def document(self) -> dict[str, Any]:
        """Return what the numbers depend on, as JSON holds it: the settings without the limits."""
        document = asdict(self)
        for limit in ("max_duration_s", "max_pixels"):
            del document[limit]
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
        L per modality where it is given outright, such as 39/400/55.
    max_length
        The most that L may be, per modality.
    vision_pooling
        How many frames are averaged into one step before L is computed; 5 in the published CH-SIMS features.
    """

    n_sigmas: float = 3.0
    lengths_from: str = "all"
    fixed: Mapping[str, int] = field(default_factory=dict)
    max_length: Mapping[str, int] = field(default_factory=dict)
    vision_pooling: int = 1

    def __post_init__(self) -> None:
        if self.lengths_from not in ("all", "train"):
            raise ConfigError(f"lengths come from 'all' or 'train', not {self.lengths_from!r}")
        if not (math.isfinite(self.n_sigmas) and self.n_sigmas >= 0):
            raise ConfigError(f"lambda is {self.n_sigmas}; it must be a number of 0 or more (the paper's value is 3)")
        if self.vision_pooling < 1:
            raise ConfigError(f"vision pooling is {self.vision_pooling}; it must be 1 frame or more")
        for lengths in (self.fixed, self.max_length):
            for modality, length in lengths.items():
                if modality not in MODALITIES or length < 1:
                    raise ConfigError(
                        f"length {modality}={length}: expected one of {', '.join(MODALITIES)} and 1 or more"
                    )

    def document(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> PaddingSettings:
        """Return the settings that `document` wrote down."""
        return cls(**{one.name: document[one.name] for one in fields(cls) if one.name in document})


def preset_names() -> list[str]:
    """Return the presets that `--preset` knows."""
    folder = resources.files("fmltk.toolkit").joinpath("presets")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """Return a preset's options: what the command line would call them, with underscores.

    Raises ConfigError if there is no preset of that name.
    """
    if name not in preset_names():
        raise ConfigError(f"there is no preset {name!r}; expected one of {', '.join(preset_names())}")
    text = resources.files("fmltk.toolkit").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
