"""One clip to its features: what a worker process does, with models that are loaded once."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import (
    FmltkError,
    MediaError,
    MediaLimitError,
    MissingModalityError,
    RunError,
    StoreError,
    TextModelError,
    UnreadableMediaError,
)
from fmltk.toolkit.features.clip_row import (
    add_warning,
    base_row,
    describe_media,
    failed_result,
    failure_of,
    overall_status,
    part_duration_s,
    unforeseen_message,
    warnings_of,
)
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, FaceRows, ShardFolder, encode_shard
from fmltk.toolkit.io.paths import Fetcher, RemotePath
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, RunPaths, file_state, media_fingerprint
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.run.vision import ClipFaces
    from fmltk.toolkit.settings import ExtractSettings
    from fmltk.toolkit.text.bert import TextEncoder
    from fmltk.toolkit.text.folder import TextModel
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector


TEXT_WARNING = "text:"  # how warnings about the text begin
END_TOLERANCE_S = 0.1  # transcribers round; an end that lies further beyond the file's is told


class ClipWorker:
    """Extracts clips, one after the other. Its methods are what tasks of the engine call."""

    def __init__(self, settings: ExtractSettings, paths: RunPaths) -> None:
        self._settings = settings
        self._paths = paths
        self._shards = ShardFolder(paths.features / SHARD_FOLDER)
        self._fetcher = Fetcher()

    def prepare(self, _: None) -> dict[str, Any]:
        """Load the text model, so that a broken one is said before any clip is processed.

        Return what every worker of a run must have alike: the text model's identity, and the versions in use.
        """
        identity = dict(self._encoder.identity) if self._paths.text_model is not None else {}
        return {"text_model": identity, "versions": numeric_versions()}

    def inspect(self, clip: Clip) -> float:
        """Return a clip's duration in seconds. Raises MediaError if its file cannot be read or is over a limit."""
        clip = self._on_this_machine(clip)
        return part_duration_s(clip, self._probe(clip))

    def extract(self, task: ClipTask) -> ClipOutput:
        """Extract a clip and write its shard, or hand it over where the feature folder is on the run's own disk."""
        result = self._result(task.clip)
        if media_fingerprint(task.clip, self._paths) != task.input_hash.partition("-")[0]:
            error = MediaError(f"{task.clip.source!r} changed while it was read; run the same command again")
            result = failed_result(task.clip, error, self._settings.modalities)
        return self._write(result, task)

    def encode_again(self, task: ClipTask) -> ClipOutput:
        """Replace the text of a clip that is extracted already; sound and picture stay as they are."""
        try:
            result = self._shards.read(task.older or "")
        except StoreError:
            return self.extract(task)
        row = dict(result.row) | {name: base_row(task.clip)[name] for name in ("text", "language", "text_tokens_cut")}
        row |= {f"text_{name}": None for name in ("length", "error_class", "error_message")}
        row["warnings"] = [warning for warning in warnings_of(row) if not warning.startswith(TEXT_WARNING)]
        sequences = {name: one for name, one in result.sequences.items() if name != "text"}
        extras: dict[str, Any] = {"faces": result.faces}
        self._take("text", lambda: self._text(task.clip, row, extras), row, sequences)
        return self._write(ClipResult(row | overall_status(row), sequences, **extras), task)

    def _write(self, result: ClipResult, task: ClipTask) -> ClipOutput:
        name, data = encode_shard(result, task.input_hash)
        status = str(result.row["status"])
        if self._paths.elsewhere and isinstance(self._paths.features, Path):
            return ClipOutput(name, status, data)
        self._shards.put(name, data, older=task.older)
        return ClipOutput(name, status)

    def _on_this_machine(self, clip: Clip) -> Clip:
        """Return the clip with its file on this machine, fetched where it lies in a store.

        Raises UnreadableMediaError if there is no such file or it may not be read, StoreError if the store fails or the
        file is on another machine: neither is the clip's fault.
        """
        path = clip.path
        if isinstance(path, Path) and self._paths.elsewhere and not path.exists():
            raise StoreError(
                f"{path} is not on the machine of this worker; give videos on a disk that all of them share, or by URL"
            )
        if not isinstance(path, RemotePath):
            return clip
        try:
            return replace(clip, path=self._fetcher.fetch(path))
        except (FileNotFoundError, PermissionError) as error:
            raise UnreadableMediaError(f"{path.name!r} cannot be read: {error.strerror}") from error
        except OSError as error:
            raise StoreError(f"cannot fetch {path}: {error.strerror or error}") from error

    @functools.cached_property
    def _encoder(self) -> TextEncoder:
        from fmltk.toolkit.text.bert import TextEncoder

        assert self._paths.text_model is not None  # noqa: S101 - the run has found it
        return TextEncoder(_model_on_this_machine(self._paths.text_model), device=self._settings.device)

    @functools.cached_property
    def _detector(self) -> FaceDetector:
        from fmltk.toolkit.vision.mtcnn.detector import FaceDetector

        return FaceDetector(device=self._settings.device, min_face_px=self._settings.min_face_px)

    def _result(self, clip: Clip) -> ClipResult:
        row = base_row(clip)
        try:
            clip = self._on_this_machine(clip)
            info = self._probe(clip)
            row |= {"sha256": _sha256(clip.file, *(file_state(clip.path) or ()))}
        except StoreError:
            raise
        except FmltkError as error:
            return failed_result(clip, error, self._settings.modalities)
        except Exception as error:  # one clip's failure is a row of the manifest
            return failed_result(clip, RunError(unforeseen_message(error)), self._settings.modalities)
        row |= describe_media(clip, info)
        if clip.end_s is not None and clip.end_s > info.duration_s + END_TOLERANCE_S:
            add_warning(row, f"the clip should end at {clip.end_s:g} s, its file ends at {info.duration_s:.2f} s")
        sequences: dict[str, ClipSequence] = {}
        extras: dict[str, Any] = {}
        steps: dict[str, Callable[[], ClipSequence]] = {
            "text": lambda: self._text(clip, row, extras),
            "audio": lambda: self._audio(clip, info),
            "vision": lambda: self._vision(clip, info, row, extras),
        }
        for modality, step in steps.items():
            if modality in self._settings.modalities:
                self._take(modality, step, row, sequences)
            else:
                row[f"{modality}_status"] = "skipped"
        return ClipResult(row | overall_status(row), sequences, **extras)

    @staticmethod
    def _take(
        modality: str, step: Callable[[], ClipSequence], row: dict[str, object], sequences: dict[str, ClipSequence]
    ) -> None:
        """Take one modality's step; its failure is a part of the clip's row."""
        try:
            sequences[modality] = step()
        except StoreError:
            raise
        except Exception as error:
            row |= failure_of(modality, error)
        else:
            row[f"{modality}_status"] = "ok"
            row[f"{modality}_length"] = len(sequences[modality].features)

    def _probe(self, clip: Clip) -> MediaInfo:
        if clip.path is None:
            raise UnreadableMediaError(f"{clip.utterance_id}: there is no video file for this transcript")
        info = _probe_file(clip.file, self._settings.max_pixels, *(file_state(clip.path) or ()))
        duration_s = part_duration_s(clip, info)
        if duration_s > self._settings.max_duration_s:
            raise MediaLimitError(
                f"{clip.path.name!r}: the clip lasts {duration_s:.1f} s, "
                f"the limit is {self._settings.max_duration_s:g} s; --max-duration raises it, with --retry-failed"
            )
        return info

    def _text(self, clip: Clip, row: dict[str, object], extras: dict[str, Any]) -> ClipSequence:
        if clip.text is None:
            raise MissingModalityError("the clip has no transcript")
        encoded = self._encoder.encode(clip.text)
        row["text_tokens_cut"] = encoded.n_truncated
        if encoded.n_truncated:
            add_warning(
                row, f"{TEXT_WARNING} {encoded.n_truncated} tokens beyond the model's longest input were cut off"
            )
        extras |= {"token_ids": encoded.ids, "tokens": encoded.tokens}
        return ClipSequence(encoded.features)

    def _audio(self, clip: Clip, info: MediaInfo) -> ClipSequence:
        from fmltk.toolkit.audio.acoustic import acoustic_sequence
        from fmltk.toolkit.audio.reference import librosa_sequence
        from fmltk.toolkit.media.audio import read_audio

        samples = read_audio(clip.file, info=info, start_s=clip.start_s, end_s=clip.end_s)
        compute = librosa_sequence if self._settings.acoustics == "librosa" else acoustic_sequence
        return ClipSequence(compute(samples, mfcc_scale=self._settings.mfcc_scale))

    def _vision(self, clip: Clip, info: MediaInfo, row: dict[str, object], extras: dict[str, Any]) -> ClipSequence:
        from fmltk.toolkit.media.frames import count_frames
        from fmltk.toolkit.run import vision as pipeline

        faces = pipeline.find_faces(clip, info, self._detector, self._settings)
        expected = count_frames(info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=FRAME_RATE_HZ)
        if faces.n_frames < expected:
            add_warning(
                row, f"vision: {faces.n_frames} of {expected} frames could be decoded; the file is damaged at its end"
            )
        row |= {"n_frames": faces.n_frames, "n_faces": faces.n_faces, "face_coverage": faces.coverage}
        extras["faces"] = _face_rows(faces)
        if faces.n_faces > 1:
            add_warning(
                row, f"vision: {faces.n_faces} faces; the speaker is taken to be the {self._settings.face_select} one"
            )
        if self._settings.face_crops:
            pipeline.write_crops(clip, info, faces, self._settings, self._paths)
        values, valid = pipeline.vision_features(clip, info, faces, self._settings, self._paths)
        return ClipSequence(values, valid)


def _model_on_this_machine(model: TextModel) -> TextModel:
    """Return the text model's files; on another machine than the run's they may lie elsewhere.

    Raises TextModelError if this machine has no such model, or another one of that name.
    """
    from fmltk.toolkit.text.folder import find_text_model

    if model.folder.is_dir():
        return model
    found = find_text_model(model.name)
    if found.sha256 != model.sha256:
        raise TextModelError(
            f"text model {model.name!r} on the machine of this worker is another one than the run's; install the same "
            "version on both"
        )
    return found


def _face_rows(faces: ClipFaces) -> FaceRows:
    tracks = faces.tracks
    return FaceRows(
        frame=tracks.frame.astype(np.int32),
        track=tracks.track.astype(np.int32),
        speaker=tracks.track == (-1 if faces.speaker_id is None else faces.speaker_id),
        boxes=tracks.boxes.astype(np.float32).reshape(-1, 4),
        probabilities=tracks.probabilities.astype(np.float32),
        landmarks=tracks.landmarks.astype(np.float32).reshape(-1, 10),
    )


@functools.lru_cache(maxsize=4)
def _probe_file(path: Path, max_pixels: int, *_state: int) -> MediaInfo:
    """Probe a file; many clips cut from one long video probe it once."""
    from fmltk.toolkit.media.probe import probe_media

    return probe_media(path, max_pixels=max_pixels)


@functools.lru_cache(maxsize=4)
def _sha256(path: Path, *_state: int) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UnreadableMediaError(f"{path.name!r} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
