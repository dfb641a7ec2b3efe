"""One clip to its features: what a worker process does, with models that are loaded once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import modality_of
from fmltk.toolkit.errors import (
    FmltkError,
    MediaError,
    MediaLimitError,
    RunError,
    StoreError,
    UnreadableMediaError,
)
from fmltk.toolkit.extractors.contract import ReadsFiles
from fmltk.toolkit.extractors.text_model import TokenVectors
from fmltk.toolkit.features.clip_row import (
    ClipRow,
    failed_row,
    failure_of,
    needs_file,
    part_duration_s,
    unforeseen_message,
)
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shards import ClipResult, ShardFolder, encode_shard, with_failure
from fmltk.toolkit.io.paths import Fetcher, RemotePath
from fmltk.toolkit.machine import (
    GB,
    check_device,
    default_memory_limit,
    is_out_of_memory,
    limit_memory,
    memory_for_file,
)
from fmltk.toolkit.run.apply import SetRunner, out_of_memory, ran_out_of_memory
from fmltk.toolkit.run.engine import UsedUpWorkerError
from fmltk.toolkit.run.inputs import ClipInputs
from fmltk.toolkit.run.modalities import ClipSource
from fmltk.toolkit.run.sets import default_sets
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, RunPaths, file_state, media_fingerprint
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.speech.recognition import Recognition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.settings import ExtractSettings
    from fmltk.toolkit.speech.transcription import Listener
    from fmltk.toolkit.vision.active_speaker.network import ActiveSpeakerNetwork
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector


# Imported when the first clip needs them, unless workers are forks: then once for all of them.
_LATE_IMPORTS = ("av", "pyarrow.parquet", "scipy.fft", "scipy.ndimage", "scipy.sparse", "soxr")
END_TOLERANCE_S = 0.1  # transcribers round; an end that lies further beyond the file's is reported


def limited_worker(settings: ExtractSettings, paths: RunPaths, memory_gb: float | None) -> ClipWorker:
    """Return a worker for a process of its own, which from now on takes at most this much memory.

    memory_gb : None is what `default_memory_limit` says of this machine; a GPU's driver knows no such limit
    """
    check_device(settings.device)
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
        self._sets = paths.sets or default_sets(settings, paths.text_model)
        self._runner = SetRunner(
            {key: one.extractor for key, one in self._sets.items()},
            device=settings.device,
            face_crops=bool(settings.face_crops),
        )

    def load(self) -> None:
        """Load what the clips need, for the workers that are forks of this one; the task that needs it says what fails.

        Nothing here may start a thread.
        """
        for module in _LATE_IMPORTS:
            importlib.import_module(module)
        encode_shard(ClipResult(ClipRow(utterance_id="")), "")
        for key in self._sets:
            with contextlib.suppress(FmltkError, MemoryError):
                self._runner.function(key)
        with contextlib.suppress(FmltkError, MemoryError):
            if needs_file(self._sets) and any(modality_of(key) == "vision" for key in self._sets):
                _ = self._detector
            if self._paths.asd is not None:
                self._load_speaker_network()

    def prepare(self, texts: Sequence[str]) -> dict[str, Any]:
        """Load the models that the user named, so that a broken one is reported before any clip is processed.

        texts : a sample of the run's; a model that does not know their language raises TextModelError

        Return what every worker of a run must have alike: the text model's identity, the feature sets that run.json
        describes, and the versions in use.
        """
        identity = {}
        for key, one in self._sets.items():
            if one.name or (self._paths.text_model is not None and key == "text"):
                function = self._runner.function(key)
                if isinstance(function, TokenVectors):
                    identity = dict(function.encoder.identity)
                    function.encoder.check_language(texts)
        if self._paths.asd is not None:
            self._load_speaker_network()
        described = {key: one.document() for key, one in self._sets.items() if one.name}
        return {"text_model": identity, "sets": described, "versions": numeric_versions(self._settings.packages)}

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
            return Recognition.without(failure_of(out_of_memory() if is_out_of_memory(error) else error))

    def listening_cost(self, _nothing: None) -> float:
        """Return how many CPU-seconds a second of speech takes to recognise. Loads the model, which the user named."""
        return self._listener.cost()

    def set_cost(self, key: str) -> float | None:
        """Return how many CPU-seconds a set takes per second, or per transcript; None where that cannot be measured."""
        from fmltk.toolkit.extractors.cost import cpu_seconds

        return cpu_seconds(self._sets[key].extractor, measure=self._runner.function(key))

    def extract(self, task: ClipTask) -> ClipOutput:
        """Extract a clip and write its shard, or hand it over where the feature folder is on the run's own disk.

        Raises UsedUpWorkerError if memory ran out and clips before this one may have taken it.
        """
        result = self._result(task.clip)
        self._n_clips += 1
        if ran_out_of_memory(result.row) and self._n_clips > 1:
            raise UsedUpWorkerError
        if media_fingerprint(task.clip, self._paths) != task.input_hash.partition("-")[0]:
            error = MediaError(f"{task.clip.source!r} changed while it was read; run the same command again")
            result = ClipResult(failed_row(task.clip, error, self._sets))
        return self._write(result, task)

    def complete(self, task: ClipTask) -> ClipOutput:
        """Do the feature sets that the clip's shard lacks, and those of its text where that is new; the others stay."""
        try:
            result = self._shards.read(task.older or "")
        except StoreError:
            if self._paths.adds:
                raise
            return self.extract(task)
        if task.new_text:
            result = _without_text(result, task.clip)
        result = _without_sets(
            result, [key for key, one in self._sets.items() if isinstance(one.extractor, ReadsFiles)]
        )
        return self._write(self._with_sets(task.clip, result), task)

    def _write(self, result: ClipResult, task: ClipTask) -> ClipOutput:
        name, data = encode_shard(result, task.input_hash)
        status = str(result.row.status)
        if self._paths.elsewhere and isinstance(self._paths.features, Path):
            return ClipOutput(name, status, data)
        self._shards.put(name, data, older=task.older)
        return ClipOutput(name, status)

    def _on_this_machine(self, clip: Clip) -> Clip:
        """Return the clip with its file on this machine, fetched where it lies in a store.

        Raises UnreadableMediaError if the file is missing or may not be read, StoreError if the store fails or the
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
    def _listener(self) -> Listener:
        from fmltk.toolkit.speech.transcription import Listener

        assert self._paths.transcription is not None  # noqa: S101 - asked only with one
        return Listener(self._paths.transcription, device=self._settings.device)

    @functools.cached_property
    def _detector(self) -> FaceDetector:
        from fmltk.toolkit.vision.mtcnn.detector import FaceDetector

        settings = self._settings
        return FaceDetector(device=settings.device, min_face_px=settings.min_face_px, networks=settings.face_networks)

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
        if clip.path is None and not needs_file(self._sets):
            return self._with_sets(clip, ClipResult(ClipRow.of(clip)))
        return self._with_sets(clip, None)

    def _with_sets(self, clip: Clip, result: ClipResult | None) -> ClipResult:
        """Return a clip's result with the feature sets that it lacks; None: there is none yet."""
        lacking = tuple(self._sets) if result is None else result.row.lacking(self._sets)
        source = None
        if result is None or needs_file(lacking):
            try:
                source, row = self._open(clip)
            except StoreError:
                raise
            except Exception as error:  # one clip's failure is a row of the manifest
                return self._failed(clip, result, lacking, error)
            if result is not None and result.row.sha256 not in (None, row.sha256):
                changed = MediaError(f"{clip.source!r} changed since its other features were made; extract it again")
                return with_failure(result, lacking, changed)
            result = result or ClipResult(row)
        load_network = None if self._paths.asd is None else self._load_speaker_network
        with ClipInputs(
            clip if source is None else source.clip,
            source,
            load_detector=lambda: self._detector,
            load_network=load_network,
        ) as inputs:
            return self._runner.apply(result, inputs)

    def _open(self, clip: Clip) -> tuple[ClipSource, ClipRow]:
        """Return a clip whose file is on this machine, and its row with what the file says.

        Raises MediaError if the file cannot be read.
        """
        clip = self._on_this_machine(clip)
        info = self._probe(clip)
        row = ClipRow.of(clip).with_media(clip, info, sha256=_sha256(clip.file, *(file_state(clip.path) or ())))
        if clip.end_s is not None and clip.end_s > info.duration_s + END_TOLERANCE_S:
            row = row.with_warnings(
                f"the clip should end at {clip.end_s:g} s, its file ends at {info.duration_s:.2f} s"
            )
        return ClipSource(clip, info, self._settings, self._paths), row

    def _failed(self, clip: Clip, result: ClipResult | None, lacking: Sequence[str], error: Exception) -> ClipResult:
        """Return the result of a clip whose file fails; what was made of it before stays."""
        if isinstance(error, MemoryError):
            error = out_of_memory()
        elif not isinstance(error, FmltkError):
            error = RunError(unforeseen_message(error))
        if result is None:
            return ClipResult(failed_row(clip, error, self._sets))
        return with_failure(result, lacking, error)

    def _probe(self, clip: Clip) -> MediaInfo:
        if clip.path is None:
            raise UnreadableMediaError(f"{clip.utterance_id}: this transcript has no video file")
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


def _without_sets(result: ClipResult, keys: Sequence[str]) -> ClipResult:
    """Return the result without some sets, whose files may have changed; they cost little to read again."""
    held = [key for key in keys if key in result.row.modalities]
    if not held:
        return result
    row = replace(
        result.row,
        modalities={key: one for key, one in result.row.modalities.items() if key not in held},
        warnings=tuple(one for one in result.row.warnings if one.partition(":")[0] not in held),
    )
    sequences = {key: one for key, one in result.sequences.items() if key not in held}
    return replace(result, row=row, sequences=sequences)


def _without_text(result: ClipResult, clip: Clip) -> ClipResult:
    """Return the result without what was made of the transcript, with the text that the clip has now."""
    new = ClipRow.of(clip)
    keys = [key for key in result.row.modalities if modality_of(key) == "text"]
    others = {key: one for key, one in result.row.modalities.items() if key not in keys}
    row = replace(
        result.row,
        modalities={**new.modalities, **others},
        text=new.text,
        language=new.language,
        text_source=new.text_source,
        text_tokens_cut=new.text_tokens_cut,
        text_unknown_share=new.text_unknown_share,
        warnings=tuple(one for one in result.row.warnings if one.partition(":")[0] not in keys),
    )
    sequences = {key: one for key, one in result.sequences.items() if key not in keys}
    return replace(result, row=row, sequences=sequences, further_tokens={}).with_tokens("text", None)


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
