"""The choice of the speaker's face in a clip: from turns, LR-ASD or mouth motion where several people are in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import MediaError, MissingModalityError
from fmltk.toolkit.media.frames import read_pictures
from fmltk.toolkit.settings import ACTIVE, BY_SPEECH, FRAME_RATE_HZ, SPEECH_RATE_HZ
from fmltk.toolkit.vision.speaker import find_speaker
from fmltk.toolkit.vision.speaking import (
    ASD,
    MOUTH,
    TURNS,
    UNSURE,
    choose_active,
    choose_speaker,
    moving_mouths,
    people_in_view,
    scored_people,
    tie_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fmltk.toolkit.run.modalities import ClipSource
    from fmltk.toolkit.vision.active_speaker.network import ActiveSpeakerNetwork
    from fmltk.toolkit.vision.speaking import Speaker
    from fmltk.toolkit.vision.tracks import FaceTracks

    LoadNetwork = Callable[[], ActiveSpeakerNetwork]

ONLY = "only"  # the source where one person is in view: nobody else can be meant
BY_LOOKS = "largest"  # what counts where nothing is heard


@dataclass(frozen=True)
class FoundSpeaker:
    """The face that counts.

    Attributes
    ----------
    tracks
        bool (n_tracks,): the tracks of the speaker.
    source
        "turns", "asd", "mouth" or "unsure"; "only"; or "largest", "longest", "center", "first"; None without a face.
    share, margin
        See `speaking.Speaker`; None where nobody had to be chosen by speech.
    warning
        Remarks on the choice.
    """

    tracks: NDArray[np.bool_]
    source: str | None = None
    share: float | None = None
    margin: float | None = None
    warning: str = ""


def find_clip_speaker(
    source: ClipSource, tracks: FaceTracks, person_of_track: NDArray[np.int32], load_network: LoadNetwork | None
) -> FoundSpeaker:
    """Return whose face counts. Only where several people are in view and heard are the frames read once more.

    person_of_track : int32 (n_tracks,); -1: the track does not count
    load_network : gives LR-ASD's network; None: mouths are looked at instead
    """
    n_people = int(person_of_track.max(initial=-1)) + 1
    select = source.settings.face_select
    if n_people < 2:
        return _by_looks(tracks, person_of_track, BY_LOOKS if select == BY_SPEECH else select, alone=True)
    if select != BY_SPEECH:
        warning = f"{n_people} people; the speaker is taken to be the {select} one"
        return _by_looks(tracks, person_of_track, select, warning=warning)
    try:
        if not source.info.has_audio:
            raise MissingModalityError(source.info.audio_note or "the file has no audio")
        samples = _sound(source)
    except (MediaError, MissingModalityError) as error:
        warning = f"{n_people} people; the speaker is taken to be the largest one, for nobody is heard ({error})"
        return _by_looks(tracks, person_of_track, BY_LOOKS, warning=warning)
    return _by_speech(source, tracks, person_of_track, samples, load_network)


def _by_looks(
    tracks: FaceTracks, person_of_track: NDArray[np.int32], select: str, *, alone: bool = False, warning: str = ""
) -> FoundSpeaker:
    chosen = find_speaker(tracks, person_of_track, select)
    if not chosen.any():
        return FoundSpeaker(chosen)
    return FoundSpeaker(chosen, ONLY if alone else select, warning=warning)


def _by_speech(
    source: ClipSource,
    tracks: FaceTracks,
    person_of_track: NDArray[np.int32],
    samples: NDArray[np.float32],
    load_network: LoadNetwork | None,
) -> FoundSpeaker:
    from fmltk.toolkit.audio.speech_activity import speech_activity
    from fmltk.toolkit.vision.active_speaker.mouth import TALKING_MOTION

    speech = speech_activity(samples, steps_hz=FRAME_RATE_HZ, n_steps=tracks.n_frames, method=source.settings.speech)
    scores = scored_people(
        tracks, person_of_track, _face_scores(source, tracks, person_of_track, samples, load_network)
    )
    if load_network is None:
        kind, speaks = MOUTH, moving_mouths(scores, threshold=TALKING_MOTION, speech=speech)
    else:
        kind, speaks = ASD, scores > 0
    names: list[str] = []
    if source.clip.turns:
        kind = TURNS
        speaks, names = _of_turns(source, speaks, people_in_view(tracks, person_of_track))
        speech = np.asarray(speaks.any(axis=0))
    if source.settings.speaker_scope == ACTIVE:
        speaker = choose_active(speaks, tracks.shots.starts.tolist(), n_speech=int(speech.sum()))
    else:
        speaker = choose_speaker(speaks, n_speech=int(speech.sum()))
    return _found(speaker, kind, tracks, person_of_track, names)


def _sound(source: ClipSource) -> NDArray[np.float32]:
    from fmltk.toolkit.run.modalities import read_clip_audio

    return read_clip_audio(source, SPEECH_RATE_HZ).samples


def _face_scores(
    source: ClipSource,
    tracks: FaceTracks,
    person_of_track: NDArray[np.int32],
    samples: NDArray[np.float32],
    load_network: LoadNetwork | None,
) -> NDArray[np.float32]:
    """Return each face's score of talking or its mouth's motion, float32 (m,); NaN where the track does not count."""
    from fmltk.toolkit.vision.active_speaker.faces import cut_faces, face_stretches, rows_of_stretch
    from fmltk.toolkit.vision.active_speaker.mouth import mouth_motion
    from fmltk.toolkit.vision.active_speaker.network import STEPS_PER_FRAME, VIDEO_RATE_HZ
    from fmltk.toolkit.vision.active_speaker.scoring import talking_scores
    from fmltk.toolkit.vision.active_speaker.speech import speech_coefficients

    clip, scores = source.clip, np.full(len(tracks.frame), np.nan, np.float32)
    frames = read_pictures(clip.file, info=source.info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=VIDEO_RATE_HZ)
    network = None if load_network is None else load_network()
    n_steps = (tracks.n_frames * VIDEO_RATE_HZ // FRAME_RATE_HZ + 1) * STEPS_PER_FRAME
    heard = speech_coefficients(samples, n_steps) if network is not None else None
    for stretch in cut_faces(frames, face_stretches(tracks, np.flatnonzero(person_of_track >= 0))):
        if network is None or heard is None:
            found = mouth_motion(stretch.faces)
        else:
            steps = slice(stretch.first * STEPS_PER_FRAME, (stretch.last + 1) * STEPS_PER_FRAME)
            found = talking_scores(network, stretch.faces, heard[steps])
        rows, steps_of_rows = rows_of_stretch(tracks, stretch)
        scores[rows] = found[steps_of_rows]
    return scores


def _of_turns(
    source: ClipSource, speaks: NDArray[np.bool_], in_view: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return who speaks by the clip's turns, bool (n_people + n_names, n_frames), and the names tied to nobody.

    Those names are rows of their own, after the people.
    """
    n_frames, n_people = speaks.shape[1], len(in_view)
    turns: dict[str, NDArray[np.bool_]] = {}
    for turn in source.clip.turns:
        first, last = (
            round(min(max((time_s - source.clip.start_s) * FRAME_RATE_HZ, 0.0), n_frames))
            for time_s in (turn.start_s, turn.end_s)
        )
        turns.setdefault(turn.name, np.zeros(n_frames, np.bool_))[first:last] = True
    named = {turn.name: turn.person for turn in source.clip.turns if turn.person is not None}
    unnamed = {name: spoken for name, spoken in turns.items() if name not in named}
    tied = {**tie_names(unnamed, speaks, in_view, taken=set(named.values())), **named}
    others = [name for name in turns if tied.get(name, n_people) >= n_people]
    whole = np.zeros((n_people + len(others), n_frames), np.bool_)
    for name, spoken in turns.items():
        whole[n_people + others.index(name) if name in others else tied[name]] |= spoken
    return whole, others


def _found(
    speaker: Speaker, kind: str, tracks: FaceTracks, person_of_track: NDArray[np.int32], names: list[str]
) -> FoundSpeaker:
    """Return the tracks of the speaker, and what is said of the choice."""
    n_people = int(person_of_track.max()) + 1
    first_frames = np.zeros(tracks.n_tracks, np.int32)
    first_frames[tracks.track[::-1]] = tracks.frame[::-1]  # the rows are sorted by frame: the earliest stays
    chosen = (person_of_track >= 0) & (person_of_track == speaker.person[first_frames])
    doubt = speaker.doubt
    nameless = int(speaker.person.max(initial=-1)) - n_people
    if nameless >= 0:
        doubt = f"{names[nameless]!r} has the most turns, and whose face it is cannot be said"
    if not chosen.any():
        chosen = _by_looks(tracks, person_of_track, BY_LOOKS).tracks
    how = {TURNS: "who has the turn", ASD: "whom LR-ASD sees talk", MOUTH: "whose mouth moves"}
    warning = f"{n_people} people; the speaker is the one {how[kind]}, in {speaker.share:.0%} of the frames with speech"
    if doubt:
        warning = (
            f"{n_people} people, and who speaks is unsure: {doubt}; the features follow the likeliest. "
            "Give speaker turns (--turns) or LR-ASD (--asd), or leave the clip out (--exclude)"
        )
    return FoundSpeaker(chosen, UNSURE if doubt else kind, speaker.share, speaker.margin, warning)
