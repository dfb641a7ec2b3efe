"""Composed clips with their faces, and how far the speaker that is found is the one who speaks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import Clip
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.run.modalities import ClipSource
from fmltk.toolkit.run.speaking import find_clip_speaker
from fmltk.toolkit.run.tasks import RunPaths
from fmltk.toolkit.run.vision import clip_frames
from fmltk.toolkit.settings import ExtractSettings
from fmltk.toolkit.vision.looks import Colours
from fmltk.toolkit.vision.people import link_people
from fmltk.toolkit.vision.speaker import counted_tracks
from fmltk.toolkit.vision.tracking import track_faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Turn
    from fmltk.toolkit.run.speaking import FoundSpeaker, LoadNetwork
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.tracks import FaceTracks
    from tests.composed import Composed


@dataclass(frozen=True)
class Case:
    """A composed clip with its faces, and each track's person, int32 (n_tracks,)."""

    clip: Composed
    source: ClipSource
    tracks: FaceTracks
    people: NDArray[np.int32]

    @classmethod
    def of(cls, clip: Composed, detector: FaceDetector) -> Case:
        """Return the case of a clip, its faces found."""
        source = ClipSource(
            Clip(clip.path.stem, "0", clip.path, source=clip.path.name),
            probe_media(clip.path),
            ExtractSettings(modalities=("vision",)),
            RunPaths(features=clip.path.parent),
        )
        tracks = track_faces(clip_frames(source), detector)
        people = link_people(tracks, counted_tracks(tracks), lambda: clip_frames(source), Colours())
        return cls(clip, source, tracks, people)

    def find(self, load_network: LoadNetwork | None = None, *turns: Turn, **settings: str) -> FoundSpeaker:
        """Return the speaker that is found with these turns and settings."""
        source = replace(
            self.source,
            clip=replace(self.source.clip, turns=turns),
            settings=replace(self.source.settings, **settings),
        )
        return find_clip_speaker(source, self.tracks, self.people, load_network)

    def right(self, found: FoundSpeaker) -> float:
        """Return in which share of the frames that show who speaks their face was chosen, 0 to 1."""
        speaker = max(self.clip.speaking, key=lambda name: int(self.clip.speaking[name].sum()))
        return float(np.mean([self.chosen(found, k) == speaker for k in np.flatnonzero(self.clip.speaking[speaker])]))

    def chosen(self, found: FoundSpeaker, k: int) -> str | None:
        """Return whose face was chosen in a frame; None: nobody's."""
        rows = np.flatnonzero((self.tracks.frame == k) & found.tracks[self.tracks.track])
        for name, boxes in self.clip.people.items():
            if len(rows) and boxes[k, 0] < self.tracks.boxes[rows[0], [0, 2]].mean() < boxes[k, 2]:
                return name
        return None
