"""How faithful and how fast face tracking is: tracking on against full detection on every frame.

    python tests/benchmarks/faces_tracking.py $FMLTK_TEST_DATA/videos

    python tests/benchmarks/faces_tracking.py $FMLTK_TEST_DATA/videos --every 2

compares `--face-every 2` with every frame instead, over the videos and over clips composed of them: cuts, two and three
people, quick motion.

Per clip: the share of the frames with a face in which the speaker's box overlaps that of the full detection by 0.9 and
0.8 (intersection over union), how many frames have the speaker's face, and CPU-seconds of both, decoding apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.toolkit.media.frames import read_pictures
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from fmltk.toolkit.vision.people import link_people
from fmltk.toolkit.vision.speaker import counted_tracks, find_speaker
from fmltk.toolkit.vision.tracking import track_faces
from fmltk.toolkit.vision.tracks import FaceTrack, FaceTracks, join_tracks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame

VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".mpg", ".webm")


@dataclass(frozen=True)
class Fidelity:
    """One clip, tracking on against off."""

    n_frames: int
    with_face_off: int
    with_face_on: int
    overlaps: NDArray[np.float64]  # of the frames with a face, off; 0 where tracking has none
    n_faces_off: int
    n_faces_on: int
    cpu_off_s: float
    cpu_on_s: float


class TimedFrames:
    """Frames of which the time spent decoding is known, to be taken off."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        self.cpu_s = 0.0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        start = time.process_time()
        try:
            return next(self._frames)
        finally:
            self.cpu_s += time.process_time() - start


def speaker_overlaps(off: FaceTrack | None, on: FaceTrack | None) -> NDArray[np.float64]:
    """Intersection over union in each frame in which `off` has a face."""
    if off is None:
        return np.zeros(0)
    a = off.boxes[off.present].astype(np.float64)
    b = np.full_like(a, np.nan) if on is None else on.boxes[off.present].astype(np.float64)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    return np.nan_to_num(shared / ((a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared))


def compare(path: Path, detector: FaceDetector, *, end_s: float | None = None, every: int = 1) -> Fidelity:
    """Run both over a clip, or its first `end_s` seconds: tracking against none, or every second frame against all."""
    info = probe_media(path)
    tracks, cpu_s = [], []
    for choice in ({"tracking": False}, {}) if every == 1 else ({}, {"every": every}):
        frames = TimedFrames(read_pictures(path, info=info, end_s=end_s))
        start = time.process_time()
        tracks.append(track_faces(frames, detector, **choice))
        cpu_s.append(time.process_time() - start - frames.cpu_s)
    off, on = (_speaker(one) for one in tracks)
    return Fidelity(
        n_frames=tracks[0].n_frames,
        with_face_off=int(off.present.sum()) if off else 0,
        with_face_on=int(on.present.sum()) if on else 0,
        overlaps=speaker_overlaps(off, on),
        n_faces_off=len(counted_tracks(tracks[0])),
        n_faces_on=len(counted_tracks(tracks[1])),
        cpu_off_s=cpu_s[0],
        cpu_on_s=cpu_s[1],
    )


def _speaker(tracks: FaceTracks) -> FaceTrack | None:
    """Return the largest face over the clip."""
    people = link_people(tracks, counted_tracks(tracks), list, None)
    return join_tracks(tracks, find_speaker(tracks, people, "largest")) if tracks.n_tracks else None


def line(name: str, clips: list[Fidelity]) -> str:
    """One line of the table: one clip, or all."""
    overlaps = np.concatenate([clip.overlaps for clip in clips])
    off, on = sum(clip.cpu_off_s for clip in clips), sum(clip.cpu_on_s for clip in clips)
    shares = [(overlaps >= limit).mean() * 100 if len(overlaps) else 100.0 for limit in (0.9, 0.8, 0.999)]
    return (
        f"{name:28} {sum(clip.n_frames for clip in clips):6} "
        f"{sum(clip.with_face_off for clip in clips):6} {sum(clip.with_face_on for clip in clips):6} "
        f"{shares[0]:8.2f} {shares[1]:8.2f} {shares[2]:8.2f} "
        f"{sum(clip.n_faces_off for clip in clips):4} {sum(clip.n_faces_on for clip in clips):4} "
        f"{off:8.2f} {on:8.2f} {off / on:6.1f}"
    )


def composed(data: Path, folder: Path) -> list[Path]:
    """Compose clips with cuts, several people and quick motion from the videos of `data`, where all are there."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests import composed as clips

    if not all((data / "videos" / person.file).is_file() for person in clips.PEOPLE.values()):
        return []

    kinds = (
        clips.same_place,
        clips.two_places,
        clips.listening_neighbour,
        clips.three,
        clips.comes_back,
        clips.hurried,
    )
    return [kind(clips.Composer(data, folder)).path for kind in kinds]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, help="a video or a folder of videos (its own files only)")
    parser.add_argument("--every", type=int, default=1, help="2: compare --face-every 2 with every frame")
    parser.add_argument("--seconds", type=float, help="only the first seconds of each clip")
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = [args.videos] if args.videos.is_file() else sorted(args.videos.iterdir())
    detector = FaceDetector()
    print(
        f"{'clip':28} {'frames':>6} {'face':>6} {'on':>6} {'>=0.9 %':>8} {'>=0.8 %':>8} {'same %':>8} "
        f"{'n':>4} {'on':>4} {'CPU off':>8} {'CPU on':>8} {'ratio':>6}"
    )
    clips = []
    with tempfile.TemporaryDirectory(prefix="fmltk-bench-") as folder:
        if args.every > 1:
            paths += composed(args.videos.parent, Path(folder))
        for path in paths:
            if path.suffix in VIDEO_SUFFIXES:
                clips.append(compare(path, detector, end_s=args.seconds, every=args.every))
                print(line(path.name, clips[-1:]), flush=True)
    print(line("all", clips))


if __name__ == "__main__":
    main()
