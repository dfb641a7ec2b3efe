"""Packed lists: what goes in comes out, page by page, and clips are found by their ids."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit import packed as module
from fmltk.toolkit.clip import Clip, Turn
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.io.paths import FileState, RemotePath
from fmltk.toolkit.packed import PackedList, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXT = st.text()  # also halves of surrogate pairs
VALUES = st.one_of(
    TEXT, st.floats(allow_nan=False), st.integers(), st.booleans(), st.none(), st.builds(Path, st.just("a"))
)
REMOTE = [RemotePath("s3", f"bucket/v/{n}.mp4", FileState(n, n * 10**9)) for n in range(7)]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 4)


@given(st.one_of(st.lists(TEXT), st.lists(st.floats(allow_nan=False)), st.lists(VALUES)))
def test_values_come_out_as_they_went_in(values: list[Any]) -> None:
    held = PackedList(values)
    assert list(held) == values == held[:]
    assert [held[number] for number in range(-len(values), len(values))] == values * 2
    assert list(map(type, held)) == list(map(type, values)), "0 is not 0.0"
    assert len(held) == len(values)
    with pytest.raises(IndexError):
        held[len(values)]


CLIPS: dict[str, Callable[[int], Clip]] = {
    "files of folders": lambda n: Clip(
        f"v{n // 3}", f"{n % 3:04d}", Path(f"/data/v{n // 3}/{n % 3:04d}.mp4"), text="hi"
    ),
    "cuts of one file": lambda n: Clip(
        "film", str(n), Path("film.mkv"), n / 2, (n + 1) / 2, "字" * n, "zh", "film.mkv"
    ),
    "an end that is not known": lambda n: Clip("film", str(n), Path("film.mkv"), n / 2, None if n % 2 else n + 1.0),
    "rows without a file": lambda n: Clip(
        "a", str(n), None, text=None if n == 2 else f"text {n}", fault=("E", "is odd")
    ),
    "names that are not Unicode": lambda n: Clip("\udcff", str(n), Path(f"\udcff{n}.mp4"), source=f"\\xff{n}.mp4"),
    "a bucket": lambda n: Clip("v", str(n), REMOTE[n], exclude_reason="dull" if n % 2 else None),
    "turns": lambda n: Clip("v", str(n), Path("v.mp4"), turns=(Turn(0.0, n + 1.0, "A"),), text_notes=("odd",) * n),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_clips_come_out_as_they_went_in(kind: str) -> None:
    clips = [CLIPS[kind](number) for number in range(7)]
    held = ClipList(clips)
    assert list(held) == clips
    assert [held[number] for number in range(7)] == clips
    assert (
        [held.value(number, "text") for number in range(7)]
        == [clip.text for clip in clips]
        == list(held.values("text"))
    )
    assert list(held.utterance_ids()) == [clip.utterance_id for clip in clips]
    assert [held.find(clip.utterance_id) for clip in clips] == list(range(7))


def test_a_listed_file_of_a_bucket_is_not_asked_for_again() -> None:
    clips = ClipList(Clip("v", str(number), path) for number, path in enumerate(REMOTE))
    states = [clip.path.stat() for clip in clips if clip.path is not None]
    assert states == [FileState(number, number * 10**9) for number in range(7)]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("0123"))))
def test_the_first_clip_of_an_id_is_found_while_clips_are_added(ids: Sequence[tuple[str, str]]) -> None:
    clips, first = ClipList(), dict[str, int]()
    for number, (video_id, clip_id) in enumerate(ids):
        clip = Clip(video_id, clip_id, None)
        assert clips.find(clip.utterance_id) == first.get(clip.utterance_id)
        first.setdefault(clip.utterance_id, number)
        clips.append(clip)
    assert {key: clips.find(key) for key in first} == first
    assert list(clips.in_order().utterance_ids()) == sorted(clips.utterance_ids())


def test_what_repeats_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 1024)
    clip = Clip("v", "0001", Path("/data/v/0001.mp4"), text="the same", source="v/0001.mp4")
    page = packed([replace(clip, clip_id=f"{number:04d}") for number in range(1024)])
    columns = page.columns.values()  # type: ignore[attr-defined]
    assert sum(sys.getsizeof(column) for column in columns) < 1024 * 10
