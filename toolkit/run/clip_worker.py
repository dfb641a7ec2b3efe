"""One clip to its features: what a worker process does, with models that are loaded once."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    ClipRow,
    failed_row,
    failure_of,
    needs_file,
    part_duration_s,
    unforeseen_message,
)
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shards import ClipResult, ShardFolder, encode_shard
from fmltk.toolkit.io.paths import Fetcher, RemotePath
from fmltk.toolkit.machine import GB, default_memory_limit, is_out_of_memory, limit_memory, memory_for_file
from fmltk.toolkit.run.engine import UsedUpWorkerError
from fmltk.toolkit.run.modalities import TEXT_WARNING, ClipSource, ModalityResult, audio_result, text_result
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, RunPaths, file_state, media_fingerprint
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.run.vision import vision_result
from fmltk.toolkit.speech.recognition import Recognition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.hf_folder import ModelFolder
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.settings import ExtractSettings
    from fmltk.toolkit.speech.transcription import Listener
    from fmltk.toolkit.text.bert import TextEncoder
    from fmltk.toolkit.vision.active_speaker.network import ActiveSpeakerNetwork
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector


_OUT_OF_MEMORY = "the clip needs more memory than a worker may take; allow more with --worker-memory and --retry-failed"
END_TOLERANCE_S = 0.1  # transcribers round; an end that lies further beyond the file's is told


def limited_worker(settings: ExtractSettings, paths: RunPaths, memory_gb: float | None) -> ClipWorker:
    """Return a worker for a process of its own, which from now on takes at most this much memory.

    memory_gb : None is what `default_memory_limit` says of this machine; a GPU's driver knows no such limit
    """
    if settings.device == "cpu":
        limit_memory(default_memory_limit() if memory_gb is None else int(memory_gb * GB))
    return ClipWorker(settings, paths)


class ClipWorker:
    """Extracts clips, one after the other. Its methods are what tasks of the engine call."""

    def __init__(self, settings: ExtractSettings, paths: RunPaths) -> None:
        self._settings = settings
        self._paths = paths
        self._shards = ShardFolder(paths.features / SHARD_FOLDER)
        self._fetcher = Fetcher()
        self._n_clips = 0

    def prepare(self, texts: Sequence[str]) -> dict[str, Any]:
        """Load the models that the user named, so that a broken one is reported before any clip is processed.

        texts : a sample of the run's; a model that does not know their language raises TextModelError

        Return what every worker of a run must have alike: the text model's identity, and the versions in use.
        """
        identity = {}
        if self._paths.text_model is not None:
            identity = dict(self._encoder.identity)
            self._encoder.check_language(texts)
        if self._paths.asd is not None:
            self._load_speaker_network()
        return {"text_model": identity, "versions": numeric_versions()}

    def inspect(self, clip: Clip) -> float:
        """Return a clip's duration in seconds. Raises MediaError if its file cannot be read or is over a limit."""
        clip = self._on_this_machine(clip)
        return part_duration_s(clip, self._probe(clip))

    def transcribe(self, clip: Clip) -> Recognition:
        """Return what is said in a clip; that it cannot be listened to is a part of the result."""
        try:
            clip = self._on_this_machine(clip)
            return self._listener.listen(clip, self._probe(clip))
        except StoreError:
            raise
        except Exception as error:  # as of every step: one clip's failure
            return Recognition.without(failure_of(_out_of_memory() if is_out_of_memory(error) else error))

    def listening_cost(self, _nothing: None) -> float:
        """Return how many CPU-seconds a second of speech takes to recognise. Loads the model, which the user named."""
        return self._listener.cost()

    def extract(self, task: ClipTask) -> ClipOutput:
        """Extract a clip and write its shard, or hand it over where the feature folder is on the run's own disk.

        Raises UsedUpWorkerError if memory ran out and clips before this one may have taken it.
        """
        result = self._result(task.clip)
        self._n_clips += 1
        if _ran_out_of_memory(result.row) and self._n_clips > 1:
            raise UsedUpWorkerError
        if media_fingerprint(task.clip, self._paths) != task.input_hash.partition("-")[0]:
            error = MediaError(f"{task.clip.source!r} changed while it was read; run the same command again")
            result = ClipResult(failed_row(task.clip, error, self._settings.modalities))
        return self._write(result, task)

    def encode_again(self, task: ClipTask) -> ClipOutput:
        """Replace the text of a clip that is extracted already; audio and vision stay as they are."""
        try:
            result = self._shards.read(task.older or "")
        except StoreError:
            return self.extract(task)
        new = ClipRow.of(task.clip)
        row = replace(
            result.row,
            text=new.text,
            language=new.language,
            text_source=new.text_source,
            text_tokens_cut=new.text_tokens_cut,
            text_unknown_share=new.text_unknown_share,
            warnings=tuple(one for one in result.row.warnings if not one.startswith(TEXT_WARNING)),
        )
        sequences = {name: one for name, one in result.sequences.items() if name != "text"}
        without_text = replace(result, row=row, sequences=sequences, token_ids=None, tokens=(), token_spans=None)
        return self._write(_settled(_with_step(without_text, "text", lambda: self._text(task.clip))), task)

    def _write(self, result: ClipResult, task: ClipTask) -> ClipOutput:
        name, data = encode_shard(result, task.input_hash)
        status = str(result.row.status)
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
    def _listener(self) -> Listener:
        from fmltk.toolkit.speech.transcription import Listener

        assert self._paths.transcription is not None  # noqa: S101 - asked only with one
        return Listener(self._paths.transcription, device=self._settings.device)

    @functools.cached_property
    def _detector(self) -> FaceDetector:
        from fmltk.toolkit.vision.mtcnn.detector import FaceDetector

        return FaceDetector(device=self._settings.device, min_face_px=self._settings.min_face_px)

    def _load_speaker_network(self) -> ActiveSpeakerNetwork:
        return self._speaker_network

    @functools.cached_property
    def _speaker_network(self) -> ActiveSpeakerNetwork:
        from fmltk.toolkit.vision.active_speaker.weights import find_weights, load_network

        weights = self._paths.asd
        assert weights is not None  # noqa: S101 - asked for only where there is one
        if find_weights(weights.path).sha256 != weights.sha256:
            raise StoreError(f"--asd {weights.path} on the machine of this worker is another file than the run's")
        return load_network(weights, device=self._settings.device)

    def _result(self, clip: Clip) -> ClipResult:
        if clip.path is None and not needs_file(self._settings.modalities):
            return _settled(_with_step(ClipResult(ClipRow.of(clip)), "text", lambda: self._text(clip)))
        try:
            clip = self._on_this_machine(clip)
            info = self._probe(clip)
            digest = _sha256(clip.file, *(file_state(clip.path) or ()))
        except StoreError:
            raise
        except FmltkError as error:
            return ClipResult(failed_row(clip, error, self._settings.modalities))
        except MemoryError:
            return ClipResult(failed_row(clip, _out_of_memory(), self._settings.modalities))
        except Exception as error:  # one clip's failure is a row of the manifest
            return ClipResult(failed_row(clip, RunError(unforeseen_message(error)), self._settings.modalities))
        row = ClipRow.of(clip).with_media(clip, info, sha256=digest)
        if clip.end_s is not None and clip.end_s > info.duration_s + END_TOLERANCE_S:
            row = row.with_warnings(
                f"the clip should end at {clip.end_s:g} s, its file ends at {info.duration_s:.2f} s"
            )
        source = ClipSource(clip, info, self._settings, self._paths)
        load_network = None if self._paths.asd is None else self._load_speaker_network
        steps: dict[str, Callable[[], ModalityResult]] = {
            "text": lambda: self._text(clip),
            "audio": lambda: audio_result(source),
            "vision": lambda: vision_result(source, self._detector, load_network),
        }
        result = ClipResult(row)
        for modality in self._settings.modalities:
            result = _with_step(result, modality, steps[modality])
        return _settled(result)

    def _text(self, clip: Clip) -> ModalityResult:
        if clip.text is None:
            raise MissingModalityError("the clip has no transcript")
        return text_result(clip, self._encoder)

    def _probe(self, clip: Clip) -> MediaInfo:
        if clip.path is None:
            raise UnreadableMediaError(f"{clip.utterance_id}: there is no video file for this transcript")
        settings = self._settings
        streams = (settings.video_stream, settings.audio_stream)
        info = _probe_file(clip.file, settings.max_pixels, streams, *(file_state(clip.path) or ()))
        duration_s = part_duration_s(clip, info)
        if duration_s > self._settings.max_duration_s:
            raise MediaLimitError(
                f"{clip.path.name!r}: the clip lasts {duration_s:.1f} s, "
                f"the limit is {self._settings.max_duration_s:g} s; --max-duration raises it, with --retry-failed"
            )
        return info


def _with_step(result: ClipResult, modality: str, step: Callable[[], ModalityResult]) -> ClipResult:
    """Return the result with what one modality's step gives; its failure is a part of the clip's row."""
    try:
        found = step()
    except StoreError:
        raise
    except Exception as error:
        found = ModalityResult(error=_out_of_memory() if is_out_of_memory(error) else error)
    row = replace(result.row, **found.columns).with_modality(modality, found.status).with_warnings(*found.warnings)
    sequences = dict(result.sequences)
    if found.sequence is not None:
        sequences[modality] = found.sequence
    fingerprints = dict(result.fingerprints)
    if found.fingerprint is not None:
        fingerprints[modality] = found.fingerprint
    return replace(result, row=row, sequences=sequences, fingerprints=fingerprints, **found.parts)


def _out_of_memory() -> MediaLimitError:
    return MediaLimitError(_OUT_OF_MEMORY)


def _ran_out_of_memory(row: ClipRow) -> bool:
    messages = [row.error_message, *(one.error_message for one in row.modalities.values())]
    return any(message is not None and message.endswith(_OUT_OF_MEMORY) for message in messages)


def _settled(result: ClipResult) -> ClipResult:
    return replace(result, row=result.row.settled())


def _model_on_this_machine(model: ModelFolder) -> ModelFolder:
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


@functools.lru_cache(maxsize=4)
def _probe_file(path: Path, max_pixels: int, streams: tuple[int | None, int | None], *_state: int) -> MediaInfo:
    """Probe a file, its header in bounded memory; many clips cut from one long video probe it once."""
    from fmltk.toolkit.media.probe import probe_media
    from fmltk.toolkit.media.refusal import check_readable

    check_readable(path)
    with memory_for_file(path.stat().st_size):
        return probe_media(path, max_pixels=max_pixels, video_stream=streams[0], audio_stream=streams[1])


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
