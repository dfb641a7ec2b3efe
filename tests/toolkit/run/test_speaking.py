"""Who of the people of a composed clip is the speaker, by each source."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.clip import Turn
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.run.speaking import find_clip_speaker
from fmltk.toolkit.vision.active_speaker.weights import find_weights, load_network
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from tests.composed import PANEL, Composer, View, still
from tests.ffmpeg import run_ffmpeg
from tests.speaker_cases import Case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def case_of(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    composer = Composer(test_data, tmp_path_factory.mktemp("composed"))
    fay = View("fay", "talking", 0, PANEL)
    people = {
        "frozen": [fay, View("anna", "frozen", PANEL, PANEL, face_height=130)],
        "together": [fay, View("emil", "talking", PANEL, PANEL)],
    }
    detector, known = FaceDetector(), {}

    def make(name: str) -> Case:
        if name not in known:
            clip = composer.clip(name, [still(45, *people[name])], voices=["fay"])
            known[name] = Case.of(clip, detector)
        return known[name]

    return make


def test_the_largest_face_is_not_the_speaker(case_of: Callable[[str], Case]) -> None:
    case = case_of("frozen")
    found = case.find(face_select="largest")
    assert (case.right(found), found.source, found.share) == (0.0, "largest", None)
    assert "taken to be the largest one" in found.warning


def test_the_mouth_that_moves_is_the_speaker(case_of: Callable[[str], Case]) -> None:
    case = case_of("frozen")
    found = case.find()
    assert (case.right(found), found.source) == (1.0, "mouth")
    assert found.share is not None
    assert found.share > 0.9


def test_lr_asd_finds_the_speaker(case_of: Callable[[str], Case], test_data: Path) -> None:
    case, weights = case_of("frozen"), find_weights(test_data / "asd/finetuning_TalkSet.model")
    found = case.find(lambda: load_network(weights))
    assert (case.right(found), found.source, found.share, found.margin) == (1.0, "asd", 1.0, 1.0)


@pytest.mark.parametrize("scope", ["person", "active"])
def test_two_who_talk_at_once_are_unsure(case_of: Callable[[str], Case], scope: str) -> None:
    found = case_of("together").find(speaker_scope=scope)
    assert found.source == "unsure"
    assert "two people speak at once" in found.warning
    assert found.tracks.any()  # a face for the features, said to be a likely one


def test_turns_count_before_lips(case_of: Callable[[str], Case]) -> None:
    case = case_of("frozen")
    own = case.find(None, Turn(0.0, 9.0, "Fay"))
    assert (case.right(own), own.source, own.share) == (1.0, "turns", 1.0)
    anna = 1 - int(case.people[own.tracks][0])
    other = case.find(None, Turn(0.0, 0.3, "Fay"), Turn(0.3, 9.0, "Anna", anna))
    assert (case.right(other), other.source, other.share) == (0.0, "turns", 0.8)


def test_a_name_that_is_nobodys_is_unsure(case_of: Callable[[str], Case]) -> None:
    found = case_of("frozen").find(None, Turn(0.0, 0.2, "Fay"), Turn(0.2, 9.0, "a voice", 7))
    assert found.source == "unsure"
    assert "'a voice' has the most turns, and whose face it is cannot be said" in found.warning


def test_a_clip_without_sound_is_chosen_by_size_and_says_so(case_of: Callable[[str], Case], tmp_path: Path) -> None:
    case = case_of("frozen")
    run_ffmpeg("-i", case.clip.path, "-c", "copy", "-an", tmp_path / "mute.mp4")
    clip = replace(case.source.clip, path=tmp_path / "mute.mp4")
    mute = replace(case, source=replace(case.source, clip=clip, info=probe_media(tmp_path / "mute.mp4")))
    found = mute.find()
    assert (found.source, found.margin) == ("largest", None)
    assert "nobody is heard" in found.warning


def test_one_person_costs_no_second_look(case_of: Callable[[str], Case]) -> None:
    case = case_of("frozen")
    alone = replace(case, source=replace(case.source, clip=replace(case.source.clip, path=None)))  # nothing to read
    people = np.where(np.arange(case.tracks.n_tracks) == 0, 0, -1).astype(np.int32)
    found = find_clip_speaker(alone.source, case.tracks, people, None)
    assert (found.source, found.warning) == ("only", "")


def test_turns_of_two_who_speak_equally_long_are_unsure(case_of: Callable[[str], Case]) -> None:
    turns = Turn(0.0, 0.75, "Fay", 0), Turn(0.75, 1.5, "Anna", 1)
    found = case_of("frozen").find(None, *turns)
    assert (found.source, found.share) == ("unsure", pytest.approx(0.5, abs=0.02))
