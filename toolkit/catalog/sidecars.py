"""The text files next to videos: which file belongs to which video, which of several counts, and what it says."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.language_tags import is_within, language_of_tag, language_tag
from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.catalog.rolling import HOLD_S
from fmltk.toolkit.catalog.sidecar_texts import read_sidecars
from fmltk.toolkit.catalog.subtitles import SIDECAR_SUFFIXES, SUBTITLE_SUFFIXES, cues_of
from fmltk.toolkit.catalog.video_files import files_next_to, readable
from fmltk.toolkit.clip import WHOLE, composed
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fmltk.toolkit.catalog.subtitles import Cue
    from fmltk.toolkit.catalog.video_files import VideoFiles
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.settings import ReadingOptions


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A text file next to a video, and the language in its name (see `language_tag`); "" where there is none."""

    path: AnyPath
    tag: str = ""


def match_sidecars(
    videos: Iterable[AnyPath], texts: Iterable[AnyPath]
) -> tuple[dict[AnyPath, list[Sidecar]], list[AnyPath]]:
    """Return the text files of each video, and those that belong to none.

    talk.mp4 has talk.txt, talk.mp4.vtt and talk.en.srt; where no name fits as it is written, one fits that differs in
    case or in how accents are composed.
    """
    exact: defaultdict[tuple[AnyPath, str], list[AnyPath]] = defaultdict(list)
    folded: defaultdict[tuple[AnyPath, str], list[AnyPath]] = defaultdict(list)
    for video in videos:
        for name in {video.stem, video.name}:
            exact[video.parent, composed(name)].append(video)
            folded[video.parent, composed(name).casefold()].append(video)
    owned: dict[AnyPath, list[Sidecar]] = {}
    strays = []
    for text in texts:
        name = composed(text.stem)
        owners, tag = exact.get((text.parent, name)) or folded.get((text.parent, name.casefold())), ""
        parts = name.split(".")
        for n in range(len(parts) - 1, 0, -1) if not owners else ():
            head, tag = ".".join(parts[:n]), language_tag(".".join(parts[n:])) or ""
            owners = exact.get((text.parent, head)) or folded.get((text.parent, head.casefold())) if tag else None
            if owners:
                break
        for owner in owners or ():
            owned.setdefault(owner, []).append(Sidecar(text, tag))
        if not owners:
            strays.append(text)
    return owned, strays


def join_sidecars(
    clips: Sequence[Clip], files: VideoFiles, reading: ReadingOptions, *, cut_subtitles: bool
) -> Iterator[Clip]:
    """Yield the clips with the text next to their videos, or, with `cut_subtitles`, a clip for each of their cues.

    Oddities of the text files are added to the problems of `files`, choices to its notes.

    Raises ConfigError where clips have text in several languages and nothing says which counts.
    """
    if files.root is not None and not files.texts:
        _language({}, reading.language)
        yield from clips
        return
    videos, texts = files_next_to(files)
    owned, strays = match_sidecars(videos, texts)
    if files.root is not None:
        files.problems += [_stray(text, files.root, videos) for text in strays]
    owned = {clip.path: owned[clip.path] for clip in clips if clip.path in owned and _needs_text(clip)}
    wanted = _language(owned, reading.language)
    suffixes = (*SUBTITLE_SUFFIXES, *SIDECAR_SUFFIXES) if cut_subtitles else SIDECAR_SUFFIXES
    ranked = {video: _ranked(video, sidecars, wanted, suffixes) for video, sidecars in owned.items()}
    files.notes += _choice_notes(ranked)
    contents = read_sidecars(list(itertools.chain.from_iterable(ranked.values())), reading, files.notes)
    for clip in clips:
        found = ranked.get(clip.path) if clip.path is not None and _needs_text(clip) else None
        if found:
            yield from _with_text(clip, found, contents, files.problems, cut_subtitles=cut_subtitles)
            continue
        if found is not None and clip.path is not None:
            there = ", ".join(sorted({sidecar.tag for sidecar in owned[clip.path]}))
            message = f"its text files are in {there}, not in {reading.language}"
            files.problems.append(Problem("other-language", clip.utterance_id, message))
        yield clip


def _needs_text(clip: Clip) -> bool:
    """Whether a clip is a whole file without a text: a part's words are not those of its whole file."""
    return clip.text is None and clip.path is not None and clip.start_s == 0 and clip.end_s is None


def _stray(text: AnyPath, root: AnyPath, videos: Iterable[AnyPath]) -> Problem:
    """Return the problem of a text file without a video, with the name that would make it fit."""
    name = composed(text.stem).casefold()
    stems = sorted({video.stem for video in videos if video.parent == text.parent}, key=lambda stem: (-len(stem), stem))
    near = next((stem for stem in stems if name.startswith(composed(stem).casefold())), None)
    where = readable(text.relative_to(str(root)).as_posix())
    message = "no video of this name lies next to it"
    if near is not None:
        tag = text.stem[len(near) :].strip("_-. ")
        ending = f".{tag}{text.suffix.lower()}" if language_tag(tag) else text.suffix.lower()
        message += f"; if it is the text of {readable(near)}, name it {readable(near)}{ending}"
    return Problem("unmatched-sidecar", where, message)


def _language(owned: Mapping[AnyPath, Sequence[Sidecar]], given: str | None) -> str | None:
    """Return the language that counts: the one given, else the one that all clips have where some have several."""
    if given is not None:
        tag = language_tag(given)
        if tag is None:
            raise ConfigError(f"--language {given} is not a language; expected one such as en, zh or zh-Hans")
        return tag
    tags = [{sidecar.tag for sidecar in sidecars} for sidecars in owned.values()]
    tagged = [found for found in tags if "" not in found]
    if all(len(found) == 1 for found in tagged):
        return None
    common = set.intersection(*tagged)
    if len(common) == 1:
        return common.pop()
    counts = Counter(tag for found in tagged for tag in found)
    named = ", ".join(f"{tag} {n}" for tag, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    first = counts.most_common(1)[0][0]
    raise ConfigError(f"the videos have text files in several languages ({named}); choose one: --language {first}")


def _ranked(video: AnyPath, sidecars: Sequence[Sidecar], wanted: str | None, suffixes: Sequence[str]) -> list[Sidecar]:
    """Return the text files that could count for a video, the one that does first: all of one language."""
    tags = {sidecar.tag for sidecar in sidecars}
    fitting = sorted(tag for tag in tags if wanted is not None and is_within(tag, wanted))
    if wanted not in fitting and len(fitting) > 1:
        raise ConfigError(
            f"{readable(video.name)} has text files in {' and '.join(fitting)}; choose one: --language {fitting[0]}"
        )
    if wanted in tags or fitting:
        tag = wanted if wanted in tags else fitting[0]
    elif "" in tags:
        tag = ""
    elif wanted is None and len(tags) == 1:
        (tag,) = tags
    else:
        return []
    names = (video.stem, video.name)
    return sorted(
        (sidecar for sidecar in sidecars if sidecar.tag == tag),
        key=lambda one: (suffixes.index(one.path.suffix.lower()), one.path.stem not in names, one.path.name),
    )


def _choice_notes(ranked: Mapping[AnyPath, Sequence[Sidecar]]) -> list[str]:
    counts = Counter(found[0].tag or "none" for found in ranked.values() if found)
    if set(counts) <= {"none"}:
        return []
    named = ", ".join(f"{tag} {n}" for tag, n in counts.most_common())
    return [f"text files taken, by the language that they name: {named}"]


def _with_text(
    clip: Clip,
    found: Sequence[Sidecar],
    contents: Mapping[AnyPath, str | ConfigError],
    problems: list[Problem],
    *,
    cut_subtitles: bool,
) -> Iterator[Clip]:
    """Yield a clip with its text, or its parts with theirs; a file that cannot be read is the clip's fault."""
    sidecar, *others = found
    clip = replace(clip, language=clip.language or language_of_tag(sidecar.tag))
    try:
        text = _text(sidecar.path, contents)
        if cut_subtitles and sidecar.path.suffix.lower() in SUBTITLE_SUFFIXES:
            yield from _cut(clip, cues_of(_content(sidecar.path, contents), sidecar.path.name), problems)
        else:
            yield replace(clip, text=text)
    except ConfigError as error:
        message = str(error).replace(str(sidecar.path), sidecar.path.name)  # a row does not depend on the folder
        yield replace(clip, fault=clip.fault or (ConfigError.__name__, message))
        return
    for other in others:
        if _words(other.path, contents) != (text or "").split():
            message = f"{sidecar.path.name} counts; the words of {other.path.name} differ"
            problems.append(Problem("other-words", clip.utterance_id, message))


def _content(path: AnyPath, contents: Mapping[AnyPath, str | ConfigError]) -> str:
    content = contents[path]
    if isinstance(content, ConfigError):
        raise content
    return content


def _text(path: AnyPath, contents: Mapping[AnyPath, str | ConfigError]) -> str | None:
    """Return what a text file says, subtitle cues joined by a space; None if nothing. Raises ConfigError."""
    content = _content(path, contents)
    if path.suffix.lower() in SUBTITLE_SUFFIXES:
        return " ".join(cue.text for cue in cues_of(content, path.name)) or None
    return content.strip() or None


def _words(path: AnyPath, contents: Mapping[AnyPath, str | ConfigError]) -> list[str]:
    """Return the words of a text file that does not count; none where it cannot be read."""
    try:
        return (_text(path, contents) or "").split()
    except ConfigError:
        return []


def _cut(clip: Clip, cues: Sequence[Cue], problems: list[Problem]) -> Iterator[Clip]:
    """Yield one clip per cue, or the whole clip without cues. A cue too short to be read makes no clip."""
    video_id = clip.video_id if clip.clip_id == WHOLE else f"{clip.video_id}_{clip.clip_id}"
    for number, cue in enumerate(cues, start=1):
        part = replace(clip, video_id=video_id, clip_id=f"{number:04d}", text=cue.text, start_s=cue.start_s)
        duration_s = cue.end_s - cue.start_s
        if duration_s > HOLD_S:
            yield replace(part, end_s=cue.end_s)
        elif duration_s > 0:
            message = f"cue {number} at {cue.start_s:g} s lasts {duration_s * 1000:.0f} ms: no clip of it"
            problems.append(Problem("short-cue", part.utterance_id, message))
        else:
            message = f"cue {number} at {cue.start_s:g} s ends before it begins; fix the subtitles"
            yield replace(part, fault=(ConfigError.__name__, message))
    if not cues:
        yield clip
