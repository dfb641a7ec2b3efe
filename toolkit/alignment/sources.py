"""The sources of word times: a file or a folder of files, each of a kind that its name or its beginning tells."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.textgrid import MARK, textgrid_words
from fmltk.toolkit.alignment.word_captions import caption_words
from fmltk.toolkit.alignment.word_json import json_words
from fmltk.toolkit.alignment.word_lines import ctm_words, grid_words
from fmltk.toolkit.alignment.word_table import table_words
from fmltk.toolkit.catalog.language_tags import language_tag
from fmltk.toolkit.catalog.subtitles import SUBTITLE_SUFFIXES
from fmltk.toolkit.catalog.video_files import SYSTEM_FOLDERS, readable
from fmltk.toolkit.clip import ID_SEPARATOR, composed, split_utterance_id
from fmltk.toolkit.errors import ConfigError, FmltkError
from fmltk.toolkit.io.documents import parse_json_value
from fmltk.toolkit.io.encodings import encoding_remark, read_text
from fmltk.toolkit.io.files import read_start
from fmltk.toolkit.io.tables import TABLE_SUFFIXES
from fmltk.toolkit.matching import id_form, path_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from fmltk.toolkit.alignment.words import TimedWord
    from fmltk.toolkit.matching import Form

# By a name's ending; of several files of one name, as Whisper writes them, the first of these kinds counts.
_KINDS = {
    ".textgrid": "Praat TextGrid",
    ".align": "GRID .align",
    ".json": "Whisper JSON",
    ".ctm": "CTM",
    **dict.fromkeys(SUBTITLE_SUFFIXES, "subtitles with word times"),
    **dict.fromkeys(TABLE_SUFFIXES, "table of words"),
}
_HEAD_BYTES = 200


@dataclass(frozen=True)
class Recording:
    """The words of one clip or video, as a file gives them.

    Attributes
    ----------
    name
        The file's name for it, for messages; `forms` is what that may stand for (see `toolkit.matching`).
    words
        In the order of the file.
    file
        Its path, as it is shown.
    fault
        Why the file cannot be read; it then has no words.
    """

    name: str
    forms: tuple[Form, ...]
    words: Sequence[TimedWord]
    file: str
    fault: str | None = None


@dataclass
class WordSource:
    """All that a file or folder says of words in time, and what is to be said of it."""

    recordings: list[Recording] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How word times are read.

    tier : of TextGrids, the tier of words; None where it is clear; encoding : of the files; None where it is clear;
    ignored : columns of tables that are left out
    """

    tier: str | None = None
    encoding: str | None = None
    ignored: Collection[str] = ()


def read_words(source: Path, options: SourceOptions) -> WordSource:
    """Return the words of a file, or of every file of a folder and the folders in it.

    Raises ConfigError if nothing of a known kind is there, or a file that is named itself cannot be read: a file of a
    folder that cannot be is a recording with a fault.
    """
    if source.is_dir():
        return _read_folder(source, options)
    found = WordSource()
    kind = _kind_of(source)
    if kind is None and source.exists():
        raise ConfigError(f"{source} is not a file of words by its name; expected one of {_endings()}, or a folder")
    found.recordings += _read_file(source, Path(source.name), options, found.notes)
    found.notes.insert(0, f"{source.name}: read as {kind}")
    return found


def _endings() -> str:
    return ", ".join(_KINDS)


def _kind_of(path: Path) -> str | None:
    """Return the kind of a file; a .txt is a TextGrid where it begins as one, for so Praat may save it."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None and path.suffix.lower() == ".txt" and path.is_file():
        head = read_start(path, _HEAD_BYTES, error=ConfigError).replace(b"\0", b"")
        return _KINDS[".textgrid"] if MARK.encode() in head else None
    return kind


def _read_folder(folder: Path, options: SourceOptions) -> WordSource:
    found = WordSource()
    chosen, passed = _choose(folder)
    if not chosen:
        raise ConfigError(f"{folder} holds no file of words; expected files that end in one of {_endings()}")
    for path in chosen:
        inner = path.relative_to(folder)
        try:
            found.recordings += _read_file(path, inner, options, found.notes)
        except FmltkError as error:
            name = readable(str(inner.with_suffix("")))
            found.recordings.append(Recording(name, _path_forms(inner), (), readable(str(inner)), str(error)))
    kinds = Counter(_kind_of(path) for path in chosen)
    found.notes.insert(0, f"{folder}: files read as {', '.join(f'{kind} ({n})' for kind, n in kinds.items())}")
    if passed:
        named = ", ".join(readable(path.name) for path in passed[:3]) + (", ..." if len(passed) > 3 else "")
        found.notes.append(
            f"{folder}: {len(passed)} files were not read, since others of better kinds are there ({named})"
        )
    return found


def _choose(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a folder's files of words, one of each name, and those that another of its name is read for.

    Tables are read only where nothing else is there: Whisper writes one of whole sentences next to its other files.
    """
    try:
        listed = sorted(_files_below(folder), key=os.fsencode)
    except OSError as error:
        raise ConfigError(f"cannot list {folder}: {error.strerror or error}") from error
    known = [path for path in listed if _kind_of(path)]
    tables = [path for path in known if path.suffix.lower() in TABLE_SUFFIXES]
    if len(tables) == len(known):
        return tables, []
    ranks = list(_KINDS)
    best: dict[Path, Path] = {}
    for path in known:
        name, rank = path.with_suffix(""), path.suffix.lower()
        held = best.get(name)
        order = ranks.index(rank) if rank in ranks else 0  # a TextGrid that ends in .txt
        if path not in tables and (held is None or order < ranks.index(held.suffix.lower())):
            best[name] = path
    chosen = sorted(best.values(), key=os.fsencode)
    return chosen, [path for path in known if path not in set(chosen)]


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those in it; hidden ones and those of the system are not looked at."""
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one.lower() not in SYSTEM_FOLDERS)
        yield from (Path(base) / name for name in names if not name.startswith("."))


def _read_file(path: Path, inner: Path, options: SourceOptions, notes: list[str]) -> Iterator[Recording]:
    """Yield the recordings of a file; `inner` is its path below the folder that was named."""
    suffix, shown, own_name = path.suffix.lower(), readable(str(inner)), readable(str(inner.with_suffix("")))
    if suffix in TABLE_SUFFIXES:
        rows, said = table_words(path, encoding=options.encoding, ignored=options.ignored)
        notes += [note for note in said if note not in notes]
        for key, words in rows.items():
            if key is None:
                yield Recording(own_name, _path_forms(inner), words, shown)
            else:
                yield Recording(key if isinstance(key, str) else "/".join(key), _forms(key), words, shown)
        return
    content = read_text(path, encoding=options.encoding)
    if options.encoding is None and not content.isascii():
        remark = encoding_remark(path) or ""
        if remark and not any(note.endswith(remark.removeprefix(path.name)) for note in notes):  # once per encoding
            notes.append(remark)
    if suffix == ".ctm":
        for name, words in ctm_words(content.splitlines(), name=shown).items():
            yield Recording(name, _forms(name), words, shown)
        return
    if suffix == ".json":
        words = json_words(parse_json_value(content, name=shown, error=ConfigError), name=shown)
    elif suffix == ".align":
        words = grid_words(content.splitlines(), name=shown)
    elif suffix in SUBTITLE_SUFFIXES:
        words = caption_words(content, name=shown)
    else:
        words = textgrid_words(content, name=shown, tier=options.tier)
    yield Recording(own_name, _path_forms(inner), words, shown)


def _path_forms(inner: Path) -> tuple[Form, ...]:
    """Return what a file's path may stand for; talk.en.vtt is talk too."""
    *folders, stem = (composed(readable(part)) for part in inner.with_suffix("").parts)
    head, _, tag = stem.rpartition(".")
    stems = [stem, head] if head and language_tag(tag) else [stem]
    return tuple(((*folders, one), 1) for one in stems)


def _forms(key: tuple[str, str] | str) -> tuple[Form, ...]:
    """Return what an id or name of a table or CTM may stand for: a clip by its ids, or joined, or a file's name."""
    if isinstance(key, str) and ID_SEPARATOR in key:
        key = split_utterance_id(key)
    if isinstance(key, str):
        return (path_form(composed(key)),)
    return (id_form(*key), ((f"{key[0]}_{key[1]}",), 1))
