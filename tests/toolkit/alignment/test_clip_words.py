"""Which recording is of which clip, and what its times count from."""

from __future__ import annotations

from typing import Any

import pytest

from fmltk.toolkit.alignment.clip_words import ClipWords, words_of_clips
from fmltk.toolkit.alignment.sources import Recording
from fmltk.toolkit.alignment.words import TimedWord
from fmltk.toolkit.clip import utterance_id
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.matching import path_form


def row(video: str, clip: str = "0", *, start_s: float | None = None, duration_s: float = 10.0) -> ClipRow:
    own, end_s = utterance_id(video, clip), None if start_s is None else start_s + duration_s
    times = {"start_s": start_s or 0.0, "end_s": end_s, "duration_s": duration_s}
    return ClipRow(utterance_id=own, video_id=video, clip_id=clip, **times)


def recording(name: str, *times: tuple[float, float], words: str = "abcdefgh", **more: Any) -> Recording:
    timed = [TimedWord(text, *time) for text, time in zip(words, times, strict=False)]
    return Recording(name, (path_form(name),), timed, f"{name}.ctm", **more)


def assigned(recordings: list[Recording], rows: list[ClipRow], clock: str = "auto") -> ClipWords:
    return words_of_clips(recordings, {one.utterance_id: one for one in rows}, clock=clock)


def times(found: ClipWords, utterance: str) -> list[float | None]:
    return [word.start_s for word in found.words[utterance]]


@pytest.mark.parametrize(
    "name", ["talk/0001", "talk_0001", "Raw/talk/0001", "TALK/1", "talk$_$0001", "talk_0001.wav", "talk/0001.mp4"]
)
def test_a_recording_is_named_as_files_name_clips(name: str) -> None:
    found = assigned([recording(name, (1.0, 2.0))], [row("talk", "0001"), row("talk", "0002")])
    assert times(found, "talk$_$0001") == [1.0]
    assert found.faults == {"talk$_$0002": "no word times were given for this clip"}


def test_recordings_of_no_clip_are_counted_and_named_and_none_at_all_is_refused() -> None:
    found = assigned([recording("talk", (1, 2)), recording("walk", (1, 2))], [row("talk")])
    assert "1 recordings of words name no clip and are left out: 'walk'" in found.notes
    with pytest.raises(ConfigError, match=r"none of the 2 recordings of words names a clip: they are 'a', 'b'.*'talk'"):
        assigned([recording("a"), recording("b")], [row("talk")])


def test_words_of_a_whole_video_go_to_the_clips_that_are_cut_from_it() -> None:
    rows = [row("talk", "1", start_s=0, duration_s=5), row("talk", "2", start_s=5, duration_s=4)]
    found = assigned([recording("talk", (1.0, 2.0), (4.6, 5.2), (4.9, 5.3), (8.0, 9.0), (9.5, 9.9))], rows)
    assert times(found, "talk$_$1") == [1.0, 4.6]
    assert times(found, "talk$_$2") == [-0.1, 3.0]
    assert found.notes == ["talk.ctm: 1 of 5 words are outside every clip"]


def test_words_of_a_video_whose_clips_are_files_of_their_own_are_not_shared_out() -> None:
    with pytest.raises(ConfigError, match="names a clip: they are 'talk'"):
        assigned([recording("talk", (1.0, 2.0))], [row("talk", "1"), row("talk", "2")])


def test_a_name_that_several_clips_may_have_is_left_out_and_said() -> None:
    found = assigned(
        [recording("1", (1, 2)), recording("talk/2", (1, 2))], [row("talk", "1"), row("walk", "1"), row("talk", "2")]
    )
    assert "'1' may be talk/1 or walk/1: name it so" in found.notes
    assert set(found.words) == {"talk$_$2"}


def test_the_clock_is_found_where_only_one_fits_and_asked_for_where_both_may() -> None:
    rows = [row("talk", "1", start_s=20.0, duration_s=5.0), row("talk", "2", start_s=40.0, duration_s=5.0)]
    of_clip = [recording("talk/1", (1.0, 2.0)), recording("talk/2", (0.5, 4.0))]
    of_video = [recording("talk/1", (21.0, 22.0)), recording("talk/2", (40.5, 44.0))]
    found = assigned(of_clip, rows)
    assert (times(found, "talk$_$1"), times(found, "talk$_$2")) == ([1.0], [0.5])
    assert "count from the clip's beginning" in found.notes[0]
    found = assigned(of_video, rows)
    assert (times(found, "talk$_$1"), times(found, "talk$_$2")) == ([1.0], [0.5])
    assert "count from the video's beginning" in found.notes[0]
    with pytest.raises(ConfigError, match="give --clock clip or video"):
        assigned([of_clip[0], of_video[1]], rows)
    both = [row("talk", "1", start_s=1.0, duration_s=5.0)]
    with pytest.raises(ConfigError, match="not clear"):
        assigned([recording("talk/1", (1.0, 2.0))], both)
    assert times(assigned([recording("talk/1", (1.0, 2.0))], both, "video"), "talk$_$1") == [0.0]
    assert times(assigned([recording("talk/1", (1.0, 2.0))], both, "clip"), "talk$_$1") == [1.0]


def test_a_cut_clip_whose_words_cannot_be_read_leaves_the_clock_open() -> None:
    found = assigned([recording("talk/1", fault="talk.ctm is cut off")], [row("talk", "1", start_s=2.0)])
    assert found.faults == {"talk$_$1": "talk.ctm is cut off"}


def test_the_clips_clock_is_refused_for_words_of_a_whole_video() -> None:
    with pytest.raises(ConfigError, match="'talk' names a video that clips are cut from"):
        assigned([recording("talk", (1, 2))], [row("talk", "1", start_s=2.0)], "clip")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([recording("talk", (100, 200), (2000, 2500))], "2 of 2 words lie outside the clip of 10.00 s"),
        ([recording("talk"), recording("talk.wav", (1, 2))], "words are given for this clip 2 times"),
        ([recording("talk")], "gives no word for this clip"),
        ([recording("talk", fault="talk.ctm line 3: 'x' is not a number")], "talk.ctm line 3: 'x' is not a number"),
    ],
)
def test_a_clip_without_usable_words_has_the_reason(given: list[Recording], said: str) -> None:
    found = assigned(given, [row("talk")])
    assert said in found.faults["talk$_$0"]
    assert not found.words


def test_words_out_of_order_overlapping_and_beyond_the_end_are_counted() -> None:
    found = assigned([recording("talk", (2.0, 3.0), (1.0, 2.4), (9.0, 9.5), (10.2, 10.4))], [row("talk")])
    assert [word.text for word in found.words["talk$_$0"]] == ["b", "a", "c", "d"]
    assert found.warnings["talk$_$0"] == [
        "words: 1 lie outside the clip: 'd'",
        "words: 1 begin before the one before them has ended",
    ]
