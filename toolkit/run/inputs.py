"""The parts of a clip that feature sets read: each thing once per clip, whoever asks for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fmltk.toolkit.errors import MissingModalityError, UnreadableMediaError
from fmltk.toolkit.extractors.contract import Card, ClipFile, Crops, Reads, Samples, Transcript
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.media.frames import count_frames
from fmltk.toolkit.run.modalities import ModalityResult, hear, read_clip_audio
from fmltk.toolkit.run.vision import clip_frames, look, seen_before, write_crops
from fmltk.toolkit.text.language import detect_language

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.features.shards import ClipResult
    from fmltk.toolkit.run.modalities import ClipSource
    from fmltk.toolkit.run.speaking import LoadNetwork
    from fmltk.toolkit.run.vision import SeenClip
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.tracks import FaceTrack

BATCH_PIXELS = 32 * 224 * 224  # of the pictures that a set is given at a time: 5 MB


class ClipInputs:
    """The inputs of one clip's feature sets; a context manager, whose end removes its temporary files.

    source : the clip's file and what it holds; None where the clip is a transcript alone
    load_detector, load_network : give what finds faces and who speaks
    """

    def __init__(
        self,
        clip: Clip,
        source: ClipSource | None,
        *,
        load_detector: Callable[[], FaceDetector],
        load_network: LoadNetwork | None,
    ) -> None:
        self._clip, self._maybe_source = clip, source
        self._load_detector, self._load_network = load_detector, load_network
        self._sounds: dict[int, Samples] = {}
        self._seen: SeenClip | None = None
        self._crops: dict[int, Path] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, card: Card) -> Any:
        """Return what a set reads. Raises MissingModalityError or MediaError if the clip does not have it."""
        readers: Mapping[Reads, Callable[[Card], Any]] = {
            Reads.TEXT: self._transcript,
            Reads.SAMPLES: self._samples,
            Reads.FACE: self._face,
            Reads.CROPS: self._face_crops,
            Reads.FRAMES: self._frames,
            Reads.CLIP: self._file,
            Reads.RUN: lambda card: self._picture,
        }
        return readers[card.reads](card)

    def hear(self) -> ModalityResult:
        """Return what the clip's sound tells of it."""
        found, sound = hear(self._source)
        self._sounds[sound.rate_hz] = sound
        return found

    def look(self) -> ModalityResult:
        """Return what the clip's picture tells of it, after a search for faces."""
        found, self._seen = look(self._source, self._load_detector(), self._load_network)
        return found

    def remember(self, result: ClipResult) -> None:
        """Take the faces from what was made of the clip before."""
        if result.faces is not None and result.shot_starts is not None and result.row.n_frames is not None:
            self._seen = seen_before(self._source, result.faces, result.shot_starts, result.row.n_frames)

    def cut_crops(self, sizes: set[int]) -> ModalityResult:
        """Cut out the speaker's face for sets that read crops of these sides in pixels, and for --face-crops.

        They lie in temporary files, so that a long clip takes no memory. Raises MissingModalityError without a face.
        """
        folder = self._stack.enter_context(ScratchFolder())
        paths = {size: folder / f"{size}.rgb" for size in sizes}
        with contextlib.ExitStack() as files:
            write_crops(self._picture, {size: files.enter_context(path.open("wb")) for size, path in paths.items()})
        self._crops = paths
        return ModalityResult()

    @property
    def _source(self) -> ClipSource:
        if self._maybe_source is None:
            raise UnreadableMediaError("this transcript has no video file")
        return self._maybe_source

    @property
    def _picture(self) -> SeenClip:
        if self._seen is None:
            raise MissingModalityError("the clip's video frames were not read")
        return self._seen

    def _transcript(self, card: Card) -> Transcript:
        if self._clip.text is None:
            raise MissingModalityError("the clip has no transcript")
        return Transcript(self._clip.text, self._clip.language or detect_language(self._clip.text))

    def _samples(self, card: Card) -> Samples:
        rate_hz = card.sample_rate_hz or 0
        if rate_hz not in self._sounds:
            self._sounds[rate_hz] = Samples(read_clip_audio(self._source, rate_hz).samples, rate_hz)
        return self._sounds[rate_hz]

    def _face(self, card: Card) -> FaceTrack:
        return self._picture.face

    def _face_crops(self, card: Card) -> Crops:
        size = card.crop_px or 0
        present = np.flatnonzero(self._picture.face.present)
        n = max(1, BATCH_PIXELS // (size * size))

        def batches() -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
            with self._crops[size].open("rb") as file:
                for start in range(0, len(present), n):
                    frames = present[start : start + n]
                    pictures = np.frombuffer(file.read(len(frames) * size * size * 3), np.uint8)
                    yield frames, pictures.reshape(len(frames), size, size, 3)

        return Crops(batches(), self._picture.n_frames)

    def _frames(self, card: Card) -> Crops:
        def batches() -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
            held: list[NDArray[np.uint8]] = []
            first = 0
            for frame in clip_frames(self._source):
                held.append(frame)
                if len(held) * frame.shape[0] * frame.shape[1] >= BATCH_PIXELS:
                    yield np.arange(first, first + len(held)), np.stack(held)
                    first, held = first + len(held), []
            if held:
                yield np.arange(first, first + len(held)), np.stack(held)

        return Crops(batches(), self._picture.n_frames)

    def _file(self, card: Card) -> ClipFile:
        clip, info = self._clip, self._source.info
        n_frames = count_frames(info, start_s=clip.start_s, end_s=clip.end_s) if info.has_video else 0
        if self._seen is not None:
            n_frames = self._seen.n_frames
        file = self._source.clip.file
        return ClipFile(
            clip.utterance_id,
            clip.video_id,
            clip.clip_id,
            file,
            clip.start_s,
            clip.end_s,
            n_frames,
            has_own_stem=file.stem not in self._source.paths.shared_stems,
        )
