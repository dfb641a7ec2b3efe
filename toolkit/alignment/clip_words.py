"""Which words are whose: recordings and the clips that their names mean, on the clips' own clocks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord, in_order, n_overlapping
from fmltk.toolkit.clip import WHOLE
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.matching import match_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmltk.toolkit.alignment.sources import Recording
    from fmltk.toolkit.features.clip_row import ClipRow
    from fmltk.toolkit.matching import Name

_SLACK_S = 0.5  # aligners round, and sound may outlast the picture by this
_MOST_OUTSIDE = 0.5  # of a clip's words; more are another clip's, or in another unit
_EXAMPLES = 3


@dataclass
class ClipWords:
    """A source's words of the clips.

    Attributes
    ----------
    words
        By utterance_id, a clip's words in order, on its own clock: 0 s is where the clip begins.
    faults
        By utterance_id, why a clip has no words.
    warnings
        By utterance_id, what is odd about a clip's words.
    notes
        Remarks on the source as a whole.
    """

    words: dict[str, list[TimedWord]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)


def words_of_clips(recordings: Sequence[Recording], rows: Mapping[str, ClipRow], *, clock: str) -> ClipWords:
    """Return each clip's words.

    Parameters
    ----------
    rows
        The clips of the feature folder, by utterance_id.
    clock
        The zero of times of a clip that is cut from a video: "clip", "video", or "auto" where that is to be found
        out. Words of a recording that is named as the whole video count from the video's beginning.

    Raises ConfigError if no recording names a clip or video, or it is not clear what times count from.
    """
    found = ClipWords()
    of_clip, of_video = _targets(recordings, rows, found)
    cut = [(rows[one], given[0]) for one, given in of_clip.items() if rows[one].start_s]
    if of_video and clock == "clip":
        name = next(iter(of_video.values()))[0].name
        raise ConfigError(
            f"{name!r} names a video that clips are cut from, so its times cannot count from a clip's beginning; "
            "use --clock video"
        )
    from_video = clock == "video" or (clock == "auto" and bool(cut) and _is_video_clock(cut, found))
    for utterance, given in of_clip.items():
        row = rows[utterance]
        shift_s = -(row.start_s or 0.0) if from_video else 0.0
        _add(found, row, given, [_shifted(word, shift_s) for word in given[0].words])
    rows_of: defaultdict[str, list[ClipRow]] = defaultdict(list)
    for row in rows.values():
        rows_of[str(row.video_id)].append(row)
    for video_id, given in of_video.items():
        _share_out(found, rows_of[video_id], given, of_clip)
    for utterance in rows:
        if utterance not in found.words and utterance not in found.faults:
            found.faults[utterance] = "no word times were given for this clip"
    return found


def _targets(
    recordings: Sequence[Recording], rows: Mapping[str, ClipRow], found: ClipWords
) -> tuple[dict[str, list[Recording]], dict[str, list[Recording]]]:
    """Return the recordings of each clip, by utterance_id, and of each video that clips are cut from, by video_id."""
    clips: dict[Name, str] = {}
    for utterance, row in rows.items():
        video, clip = str(row.video_id), str(row.clip_id)
        clips[(video,) if clip == WHOLE else (video, clip)] = utterance
    for utterance, row in rows.items():  # other ways in which files name clips, where no clip has them as its own
        clips.setdefault((f"{row.video_id}_{row.clip_id}",), utterance)
        clips.setdefault((utterance,), utterance)
    cut = {str(row.video_id) for row in rows.values() if row.clip_id != WHOLE and (row.start_s or row.end_s)}
    videos: dict[Name, str] = {(video,): video for video in sorted(cut) if (video,) not in clips}
    matches = match_names({(one.name,): one.forms for one in recordings}, (*clips, *videos), by_file_name=True)
    of_clip: defaultdict[str, list[Recording]] = defaultdict(list)
    of_video: defaultdict[str, list[Recording]] = defaultdict(list)
    lost = []
    for one in recordings:
        meant = _meant(one, clips, videos) or matches.found.get((one.name,))
        if meant is None:
            lost.append(one.name)
        elif meant in clips:
            of_clip[clips[meant]].append(one)
        else:
            of_video[videos[meant]].append(one)
    found.notes += matches.notes
    named = ", ".join(map(repr, lost[:_EXAMPLES])) + (", ..." if len(lost) > _EXAMPLES else "")
    if len(lost) == len(recordings):
        known = ", ".join(repr("/".join(name)) for name in list(clips)[:_EXAMPLES])
        raise ConfigError(
            f"none of the {len(lost)} recordings of words names a clip: they are {named or 'none'}, the clips are "
            f"{known}; name them as the clips or their videos, such as video_id/clip_id.TextGrid"
        )
    if lost:
        found.notes.append(f"{len(lost)} recordings of words name no clip and are left out: {named}")
    for (name,), several in list(matches.several.items())[:_EXAMPLES]:
        found.notes.append(f"{name!r} may be {' or '.join('/'.join(one) for one in several[:_EXAMPLES])}: name it so")
    return dict(of_clip), dict(of_video)


def _meant(one: Recording, clips: Mapping[Name, str], videos: Mapping[Name, str]) -> Name | None:
    """Return the clip or video that a recording names as it is written."""
    return next((form for form, _ in one.forms if form in clips or form in videos), None)


def _is_video_clock(cut: Iterable[tuple[ClipRow, Recording]], found: ClipWords) -> bool:
    """Whether times of clips that are cut from videos count from the videos' beginnings, by which they fit."""
    n_clip = n_video = 0
    timed = [(row, one) for row, one in cut if row.duration_s and any(word.is_timed for word in one.words)]
    if not timed:
        return False
    for row, recording in timed:
        times = [(word.start_s, word.end_s) for word in recording.words if word.start_s is not None]
        first_s, last_s = min(start for start, _ in times), max(end or 0.0 for _, end in times)
        start_s, duration_s = row.start_s or 0.0, row.duration_s or 0.0
        fits_clip = last_s <= duration_s + _SLACK_S
        fits_video = start_s - _SLACK_S <= first_s and last_s <= start_s + duration_s + _SLACK_S
        n_clip += fits_clip and not fits_video
        n_video += fits_video and not fits_clip
    if bool(n_clip) == bool(n_video):
        raise ConfigError(
            "clips are cut from videos, and it is not clear whether the words' times count from the clip's or the "
            f"video's beginning ({n_clip} clips fit the one alone, {n_video} the other); give --clock clip or video"
        )
    whose, n = ("video", n_video) if n_video else ("clip", n_clip)
    found.notes.append(f"times count from the {whose}'s beginning, which alone fits {n} clips (--clock {whose})")
    return bool(n_video)


def _shifted(word: TimedWord, shift_s: float) -> TimedWord:
    if not shift_s or word.start_s is None or word.end_s is None:
        return word
    return TimedWord(word.text, round(word.start_s + shift_s, 6), round(word.end_s + shift_s, 6))


def _add(found: ClipWords, row: ClipRow, given: Sequence[Recording], words: Sequence[TimedWord]) -> None:
    """Add a clip's words, which are on its own clock, or why it has none."""
    utterance = row.utterance_id
    fault = _fault(row, given, words)
    if fault:
        found.faults[utterance] = fault
        return
    found.words[utterance] = in_order(words)
    outside = _outside(row, words)
    if outside:
        found.warnings[utterance].append(f"words: {len(outside)} lie outside the clip: {_named(outside)}")
    n = n_overlapping(found.words[utterance])
    if n:
        found.warnings[utterance].append(f"words: {n} begin before the one before them has ended")


def _fault(row: ClipRow, given: Sequence[Recording], words: Sequence[TimedWord]) -> str:
    if len(given) > 1:
        named = " and ".join(dict.fromkeys(f"{one.file} ({one.name})" for one in given[:_EXAMPLES]))
        return f"words are given for this clip {len(given)} times, in {named}; keep one"
    if given[0].fault is not None:
        return given[0].fault
    if not words:
        return f"{given[0].file} gives no word for this clip"
    timed = [word for word in words if word.is_timed]
    outside = _outside(row, words)
    if len(outside) <= _MOST_OUTSIDE * len(timed):
        return ""
    last_s = max(word.end_s or 0.0 for word in timed)
    return (
        f"{given[0].file}: {len(outside)} of {len(timed)} words lie outside the clip of {row.duration_s:.2f} s (the "
        f"last ends at {last_s:g} s); are the times of this clip, in seconds, and on the clock that --clock says?"
    )


def _outside(row: ClipRow, words: Iterable[TimedWord]) -> list[TimedWord]:
    """Return the words that begin at or after the clip's end, or end before its beginning."""
    return [
        word
        for word in words
        if word.start_s is not None
        and word.end_s is not None
        and row.duration_s is not None
        and (word.start_s >= row.duration_s or word.end_s < 0)
    ]


def _named(words: Sequence[TimedWord]) -> str:
    return ", ".join(repr(word.text) for word in words[:_EXAMPLES]) + (", ..." if len(words) > _EXAMPLES else "")


def _share_out(
    found: ClipWords, rows: Sequence[ClipRow], given: Sequence[Recording], of_clip: Mapping[str, Sequence[Recording]]
) -> None:
    """Give each clip of a video the words whose middle lies in it; one without a time goes with the word before it."""
    n_placed: set[int] = set()
    words = in_order(given[0].words)
    middles: list[float] = []
    for word in words:
        before_s = middles[-1] if middles else 0.0
        middles.append(before_s if word.start_s is None or word.end_s is None else (word.start_s + word.end_s) / 2)
    for row in rows:
        start_s, duration_s = row.start_s or 0.0, row.duration_s or 0.0
        own = [place for place, middle_s in enumerate(middles) if start_s <= middle_s < start_s + duration_s]
        n_placed.update(own)
        if row.utterance_id in of_clip:
            given_here = [*of_clip[row.utterance_id], *given]
            found.words.pop(row.utterance_id, None)
        else:
            given_here = list(given)
        _add(found, row, given_here, [_shifted(words[place], -start_s) for place in own])
    if len(words) > len(n_placed):
        found.notes.append(
            f"{given[0].file}: {len(words) - len(n_placed)} of {len(words)} words are outside every clip"
        )
