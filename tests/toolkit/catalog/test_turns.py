"""Speaker turns as people write them: RTTM and tables; what is not a turn is refused with its line."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from fmltk.toolkit.catalog.turns import name_people, read_turns, with_turns
from fmltk.toolkit.clip import Clip, Turn
from fmltk.toolkit.errors import ConfigError

TALK = Clip("talk", "0", Path("talk.mp4"), source="talk.mp4")
PARTS = [Clip("film", f"{k}", Path("film.mkv"), 10.0 * k, 10.0 * (k + 1), source="film.mkv") for k in range(3)]
FILES = [Clip("show", f"000{k}", Path(f"show/000{k}.mp4"), source=f"Raw/show/000{k}.mp4") for k in (1, 2)]


def _turns(tmp_path: Path, name: str, content: str, clips: list[Clip]) -> dict[str, tuple[Turn, ...]]:
    (tmp_path / name).write_text(content, encoding="utf-8")
    return {clip.utterance_id: clip.turns for clip in with_turns(clips, read_turns(tmp_path / name))}


RTTM = "SPEAKER talk 1 0.50 1.25 <NA> <NA> ann <NA> <NA>\nSPEAKER talk 1 1.75 2 <NA> <NA> bob <NA> <NA>\n"
EXPECTED = (Turn(0.5, 1.75, "ann"), Turn(1.75, 3.75, "bob"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("talk.rttm", RTTM),
        ("talk.RTTM", ";; made by hand\nSPKR-INFO talk 1 <NA> <NA> <NA> adult ann <NA>\n\n" + RTTM.replace(" ", "\t")),
        ("turns.csv", "video_id,start_s,end_s,speaker\ntalk,0.5,1.75,ann\ntalk,1.75,3.75,bob\n"),
        ("turns.csv", "Filename;Start;Duration;Speaker\ntalk.mp4;0,5;1,25;ann\ntalk.mp4;1,75;2;bob\n"),
        ("turns.tsv", "utterance_id\tstart_ms\tend_ms\tspeaker\ttext\ntalk$_$0\t1750\t3750\tbob\tno\n"
                      "talk$_$0\t500\t1750\tann\tyes\n"),
    ],
)  # fmt: skip
def test_turns_are_read_as_people_write_them(tmp_path: Path, name: str, content: str) -> None:
    assert _turns(tmp_path, name, content, [TALK]) == {"talk$_$0": EXPECTED}


def test_a_folder_of_rttm_is_read(tmp_path: Path) -> None:
    for clip in ("a", "b"):
        (tmp_path / f"{clip}.rttm").write_text(RTTM.replace("talk", clip))
    clips = [Clip(name, "0", Path(f"{name}.mp4"), source=f"{name}.mp4") for name in ("a", "b", "c")]
    turns = {clip.video_id: clip.turns for clip in with_turns(clips, read_turns(tmp_path))}
    assert turns == {"a": EXPECTED, "b": EXPECTED, "c": ()}


def test_a_clip_cut_from_a_video_has_the_turns_that_fall_in_it(tmp_path: Path) -> None:
    rttm = "SPEAKER film 1 8 4 <NA> <NA> ann <NA> <NA>\nSPEAKER film 1 12 3 <NA> <NA> bob <NA> <NA>\n"
    turns = _turns(tmp_path, "film.rttm", rttm, PARTS)
    assert [[turn.name for turn in turns[f"film$_${k}"]] for k in range(3)] == [["ann"], ["ann", "bob"], []]


def test_the_transcripts_with_a_column_speaker_are_turns(tmp_path: Path) -> None:
    table = "video_id,clip_id,text,label,speaker\nshow,0001,hello,1,ann\nshow,0002,yes,0,bob\n"
    turns = _turns(tmp_path, "label.csv", table, FILES)
    assert turns == {"show$_$0001": (Turn(0.0, inf, "ann"),), "show$_$0002": (Turn(0.0, inf, "bob"),)}
    cut = "video_id,clip_id,text,start_s,end_s,speaker\nfilm,0,hi,0,10,ann\nfilm,1,no,10,20,bob\n"
    assert [[turn.name for turn in one] for one in _turns(tmp_path, "cut.csv", cut, PARTS).values()] == [
        ["ann"],
        ["bob"],
        [],
    ]


def test_the_person_of_a_name_can_be_given(tmp_path: Path) -> None:
    table = "video_id,start_s,end_s,speaker,person\ntalk,0.5,1.75,ann,1\n"
    assert _turns(tmp_path, "turns.csv", table, [TALK]) == {"talk$_$0": (Turn(0.5, 1.75, "ann", 1),)}


@pytest.mark.parametrize(
    ("table", "people"),
    [
        ("name,person\nbob,0\n", [None, 0]),
        ("Person;Speaker Name\n1;ann\n0;bob\n", [1, 0]),
        ("video_id,name,person\ntalk,ann,3\n", [3, None]),
    ],
)
def test_a_table_says_whose_name_is_whose(tmp_path: Path, table: str, people: list[int | None]) -> None:
    (tmp_path / "talk.rttm").write_text(RTTM)
    (tmp_path / "people.csv").write_text(table)
    named = name_people(read_turns(tmp_path / "talk.rttm"), tmp_path / "people.csv")
    assert [one.turn.person for one in named] == people


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,person\nann,first\n", r"people.csv line 2: person is 'first'; expected a number"),
        ("name,person\nann,0\neve,1\n", r"people.csv line 3: 'eve' has no turn"),
        ("video_id,name,person\nother,ann,1\n", r"line 2: 'ann' has no turn in 'other'"),
        ("name\nann\n", r"has no columns name and person"),
    ],
)
def test_a_table_of_names_that_is_not_understood_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "talk.rttm").write_text(RTTM)
    (tmp_path / "people.csv").write_text(table)
    with pytest.raises(ConfigError, match=message):
        name_people(read_turns(tmp_path / "talk.rttm"), tmp_path / "people.csv")


LINE = "SPEAKER talk 1 {} <NA> <NA> {} <NA> <NA>\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.rttm", LINE.format("1 x", "ann"), r"a.rttm line 1: 'x' is not a time; expected SPEAKER file"),
        ("a.rttm", LINE.format("nan 1", "ann"), r"a.rttm line 1: 'nan' is not a time"),
        ("a.rttm", LINE.format("-1 2", "ann"), r"a.rttm line 1: '-1' is not a time"),
        ("a.rttm", RTTM + LINE.format("4 0", "ann"), r"a.rttm line 3: the turn of 'ann' ends at 4 s, not after 4 s"),
        ("a.rttm", RTTM + "SPEAKER talk 1 4\n", r"a.rttm line 3 is not a turn: 'SPEAKER talk 1 4'; expected SPEAKER"),
        ("a.rttm", "speaker talk ann\n", r"a.rttm line 1 is not a turn"),
        ("a.rttm", "\n;; nothing\n", r"holds no turn"),
        ("a.rttm", RTTM.replace("talk", "tolk"), r"a.rttm line 1: the turn of 'tolk' is of no clip .* 'talk\$_\$0'"),
        ("a.rttm", LINE.format("0 2", "ann") + LINE.format("1.5 2", "bob"),
         r"line 2: the turn of 'bob' from 1.5 s overlaps that of 'ann' until 2 s \(a.rttm line 1\)"),
        ("a.rttm", LINE.format("0 2", "ann") + LINE.format("1.9 2", "ann"), r"line 2: .* overlaps"),
        ("a.csv", "video_id,start_s,end_s,speaker\ntalk,2,1,ann\n", r"line 2: the turn of 'ann' ends at 1 s"),
        ("a.csv", "video_id,start_s,end_s,speaker\ntalk,one,2,ann\n", r"line 2: 'one' is not a time; expected seconds"),
        ("a.csv", "video_id,start_s,end_s,speaker\ntalk,1,2,\n", r"line 2: the turn has no speaker"),
        ("a.csv", "video_id,start_s,end_s,speaker,person\ntalk,1,2,ann,first\n", r"line 2: .*'first'"),
        ("a.csv", "video_id,start_s,end_s\ntalk,1,2\n", r"has no column speaker"),
        ("a.csv", "video_id,speaker\ntalk,ann\ntalk,bob\n", r"line 3: talk\$_\$0 is one turn of 'bob', and of 'ann'"),
    ],
)  # fmt: skip
def test_what_is_not_a_turn_is_refused_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        _turns(tmp_path, name, content, [TALK])
    assert "\n" not in str(refusal.value)


def test_a_video_of_several_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 1: the turn of 'show' is of 2 files"):
        _turns(tmp_path, "a.rttm", RTTM.replace("talk", "show"), FILES)


def test_times_that_are_rounded_do_not_overlap(tmp_path: Path) -> None:
    rttm = LINE.format("0 1.001", "ann") + LINE.format("1 1", "bob")
    assert len(_turns(tmp_path, "a.rttm", rttm, [TALK])["talk$_$0"]) == 2
