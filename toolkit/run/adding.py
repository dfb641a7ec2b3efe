"""Feature sets that come to a folder that has others: what is held stays, and is not done again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.layout import MANIFEST_FILE, RUN_FILE
from fmltk.toolkit.features.shards import shard_key
from fmltk.toolkit.packed import PackedList
from fmltk.toolkit.run.folder import read_run
from fmltk.toolkit.run.sets import settings_from_document
from fmltk.toolkit.run.work import COMPLETE, ManifestEntries, Pending, replaced_sets
from fmltk.toolkit.settings import SET_FIELDS, ExtractSettings, PaddingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.work import Work

_LIMITS = ("max_duration_s", "max_pixels")
_NAMED = 3


def recorded_for_adding(folder: AnyPath) -> dict[str, Any]:
    """Return the document of run.json of a folder that is finished.

    Raises ConfigError if it is not.
    """
    if not (folder / RUN_FILE).is_file() and (folder / MANIFEST_FILE).is_file():
        raise ConfigError(
            f"--add: {folder} was not extracted here; `fmltk dataset encode-text --add` adds text to an imported "
            "folder, audio and video need a folder of their own (-o)"
        )
    if not (folder / RUN_FILE).is_file():
        raise ConfigError(f"--add: {folder} has no {RUN_FILE}; run the same command without --add first")
    if not (folder / MANIFEST_FILE).is_file():
        raise ConfigError(f"--add: {folder} is not finished; finish it with the command that began it, then add to it")
    return read_run(folder)


def settings_for_adding(
    given: ExtractSettings, recorded: Mapping[str, Any], text_model: str | None = None
) -> ExtractSettings:
    """Return the settings of a folder with the sets that are to be added, on the device that is given for them.

    Raises ConfigError if none is named, or a setting is given that the folder was not made with.
    """
    held = settings_from_document(recorded["settings"])
    names = {name: getattr(given, name) for name in SET_FIELDS.values()}
    if text_model is not None:
        names[SET_FIELDS["text"]] = (text_model, *given.text_sets)
    if not any(names.values()):
        raise ConfigError("--add needs the sets to add: --text, --audio or --vision")
    plain = ExtractSettings()
    for one in fields(ExtractSettings):
        value = getattr(given, one.name)
        is_held = value in (getattr(plain, one.name), getattr(held, one.name))
        if is_held or one.name in ("modalities", "device", *_LIMITS, *names):
            continue
        raise ConfigError(
            f"--add: {one.name} is {value!r}, and the folder was made with {getattr(held, one.name)!r}; leave it out, "
            "or extract into another folder with -o"
        )
    modalities = tuple(one for one in MODALITIES if one in held.modalities or names[SET_FIELDS[one]])
    limits = {name: getattr(given, name) for name in _LIMITS}
    return replace(held, modalities=modalities, device=given.device, **names, **limits)


def padding_for_adding(given: PaddingSettings | None, recorded: PaddingSettings) -> PaddingSettings:
    """Return the padding of a folder, with what is given of it now."""
    plain, given = PaddingSettings(), given or PaddingSettings()
    changes = {
        one.name: getattr(given, one.name)
        for one in fields(PaddingSettings)
        if getattr(given, one.name) != getattr(plain, one.name)
    }
    for name in ("fixed", "max_length"):
        changes[name] = {**getattr(recorded, name), **getattr(given, name)}
    return replace(recorded, **changes)


def clips_for_adding(catalog: Catalog, folder: AnyPath, names: Mapping[str, str], reporter: Reporter) -> Catalog:
    """Return the clips that the folder has, with the texts that it has of them; others are counted and named.

    names : of the shards, by their keys
    """
    entries = {entry.row.utterance_id: entry for entry in ManifestEntries(folder / MANIFEST_FILE, names)}
    clips, retold = [], []
    for clip in catalog.clips:
        entry = entries.get(clip.utterance_id)
        if entry is not None and entry.shard is not None:
            row = entry.row
            if clip.text and clip.text != row.text:
                retold.append(clip.utterance_id)
            clips.append(
                replace(
                    clip,
                    text=row.text,
                    text_source=row.text_source or clip.text_source,
                    language=row.language,
                    split=row.split,
                    fault=None,
                    exclude_reason=None,
                )
            )
    found = {clip.utterance_id for clip in clips}
    strangers = [clip.utterance_id for clip in catalog.clips if clip.utterance_id not in entries]
    absent = [utterance for utterance, entry in entries.items() if entry.shard is not None and utterance not in found]
    _warn(reporter, "clips that the folder does not have yet, left out", strangers)
    _warn(reporter, "clips of the folder that are not among these videos, so without the new sets", absent)
    _warn(reporter, "clips whose transcript is now another one; --add reads the one that the folder has", retold)
    if not clips:
        raise ConfigError(f"--add: none of these clips is in {folder}; give the videos that it was made of")
    return replace(catalog, clips=ClipList(clips), problems=())


def plan_adding(work: Work, held: Mapping[str, str], *, retry_failed: bool) -> Pending:
    """Return what is to be done: COMPLETE where a clip's shard lacks a set; the shards' names keep what they say.

    held : the names of the sets that the folder had, by key
    """
    pending = Pending(work.clips)
    hashes: PackedList[str] = PackedList()
    for position, (utterance, wanted) in enumerate(work.inputs()):
        if not wanted:
            hashes.append("")
            continue
        name = work.names[shard_key(utterance)]
        made_of = name.split(".")[1]
        hashes.append(replaced_sets(made_of, wanted, new_text="text" not in held))
        if hashes[position] != made_of or (retry_failed and work.has_failed(name)):
            pending.add(position, COMPLETE)
    work.input_hashes = hashes
    return pending


def _warn(reporter: Reporter, title: str, utterances: list[str]) -> None:
    if utterances:
        more = f" and {len(utterances) - _NAMED} more" if len(utterances) > _NAMED else ""
        reporter.warn(f"{title} ({len(utterances)}): {', '.join(utterances[:_NAMED])}{more}")
