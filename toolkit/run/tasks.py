"""The messages between a run and its workers, and the hash that identifies a clip's input."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import OpenFaceError
from fmltk.toolkit.extractors.contract import ClipFile, ReadsFiles
from fmltk.toolkit.features.shards import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.extractors.contract import Extractor
    from fmltk.toolkit.hf_folder import ModelFolder
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.settings import ExtractSettings
    from fmltk.toolkit.speech.transcription import Transcription
    from fmltk.toolkit.vision.active_speaker.weights import SpeakerWeights


@dataclass(frozen=True, slots=True)
class RunSet:
    """A feature set of a run.

    name, given : what it is called, and as the user named it; both "" of the set that fmltk chooses, of which run.json
    says nothing more than its settings
    """

    extractor: Extractor
    name: str = ""
    given: str = ""

    def document(self) -> dict[str, Any]:
        """Return what run.json says of the set."""
        card = self.extractor.card
        return {
            "name": self.name,
            "given": self.given,
            "reads": str(card.reads),
            "feature_names": [name for name, _ in card.features],
            "feature_units": [unit for _, unit in card.features],
            "dimension": len(card.features) or card.dimension,
            "rate_hz": card.rate_hz,
            "sample_rate_hz": card.sample_rate_hz,
            "crop_px": card.crop_px,
            "settings": dict(card.settings),
            "versions": dict(card.versions),
            "weights": dict(card.weights),
            "licence": card.licence,
        }


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Paths that a run reads and writes besides the videos; no number depends on them.

    features: the feature folder. elsewhere: whether workers may run on other machines than the run. text_model: the
    files of the text model. openface_folder: the CSVs that --openface DIR names. openface_program: the OpenFace that is
    run. asd: LR-ASD's weights. transcription: the Whisper that listens to clips. shared_stems: file stems that several
    videos have, for which `<stem>.csv` would be a guess. clip_timeout_s: what --clip-timeout says. sets: the feature
    sets to extract, by key; empty: the defaults of the settings' modalities. keys: of all sets that the folder then
    has. described: of those that run.json says more of than the settings. adds: whether the sets come to shards that
    have others.
    """

    features: AnyPath
    elsewhere: bool = False
    text_model: ModelFolder | None = None
    openface_folder: Path | None = None
    openface_program: Path | None = None
    asd: SpeakerWeights | None = None
    transcription: Transcription | None = None
    clip_timeout_s: float | None = None
    shared_stems: frozenset[str] = frozenset()
    sets: Mapping[str, RunSet] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    adds: bool = False


@dataclass(frozen=True, slots=True)
class ClipTask:
    """A clip to extract, what stands for its input, and the shard that the new one takes the place of.

    new_text : whether what the older shard has of the text counts no more
    """

    clip: Clip
    input_hash: str
    older: str | None = None
    new_text: bool = False


@dataclass(frozen=True, slots=True)
class ClipOutput:
    """A clip that is done: its shard's name and its status; the shard itself where the run is to write it."""

    name: str
    status: str
    data: bytes | None = None


def hash_input(clip: Clip, settings: ExtractSettings, paths: RunPaths) -> str:
    """Return what stands for a clip's input: `<media>-<text>`, so that a new text redoes the text alone.

    If run.json describes sets, `<media>-<text>-<sets>`, so that a new set is added to what is there, and one whose
    files changed is done again.
    """
    text = text_fingerprint(clip.text if "text" in settings.modalities else None)
    if not paths.described:
        return f"{media_fingerprint(clip, paths)}-{text}"
    sets: dict[str, object] = {"sets": sorted(paths.described)}
    files = _files_of_sets(clip, paths)
    return f"{media_fingerprint(clip, paths)}-{text}-{fingerprint(sets | ({'files': files} if files else {}))}"


def _files_of_sets(clip: Clip, paths: RunPaths) -> dict[str, list[int] | None]:
    """Return the states of the files that sets read for a clip, by key."""
    if not isinstance(clip.path, Path):
        return {}
    file = ClipFile(
        clip.utterance_id,
        clip.video_id,
        clip.clip_id,
        clip.path,
        clip.start_s,
        clip.end_s,
        n_frames=0,
        has_own_stem=clip.path.stem not in paths.shared_stems,
    )
    found = {key: one.extractor for key, one in paths.sets.items() if isinstance(one.extractor, ReadsFiles)}
    return {key: file_state(one.file_of(file)) for key, one in sorted(found.items())}


@functools.lru_cache(maxsize=1)  # clips without a text are asked for one after the other
def text_fingerprint(text: str | None) -> str:
    """Return what stands for a transcript."""
    return fingerprint({"text": text})


def media_fingerprint(clip: Clip, paths: RunPaths) -> str:
    """Return what stands for a clip's files: size and time of change of video and CSV, and the part of the video."""
    inputs: dict[str, object] = {
        "source": clip.source,
        "file": file_state(clip.path),
        "start_s": clip.start_s,
        "end_s": clip.end_s,
    }
    if clip.turns:
        inputs["turns"] = clip.turns
    if paths.openface_folder is not None:
        inputs["csv"] = file_state(find_csv(clip, paths))
    return fingerprint(inputs)


def find_csv(clip: Clip, paths: RunPaths) -> Path | None:
    """Return the CSV that --openface DIR has for a clip, None if it has none."""
    from fmltk.toolkit.vision.openface.files import find_openface_csv

    assert paths.openface_folder is not None  # noqa: S101 - asked only with a folder
    try:
        return find_openface_csv(paths.openface_folder, clip, shared_stems=paths.shared_stems).path
    except OpenFaceError:
        return None


def file_state(path: AnyPath | None) -> list[int] | None:
    """Return a file's size in bytes and its time of change in ns; None where the file is missing."""
    try:
        state = None if path is None else path.stat()
    except OSError:
        return None
    return None if state is None else [state.st_size, state.st_mtime_ns]
