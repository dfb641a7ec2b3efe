"""The feature folder of a run: held by one run at a time, bound to one set of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import ConfigError, StoreError, advised
from fmltk.toolkit.features.layout import RUN_FILE, SCHEMA_VERSION
from fmltk.toolkit.io.documents import read_json, write_json
from fmltk.toolkit.io.outputs import hold_folder
from fmltk.toolkit.run.sets import refuse_other_sets
from fmltk.toolkit.run.versions import differences
from fmltk.toolkit.settings import ExtractSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from fmltk.toolkit.io.paths import AnyPath

_WRITTEN = ("", "faces/", "faces/crops/*/", "shards/??/")  # where a run writes


def bind(
    folder: AnyPath,
    settings: ExtractSettings,
    prepared: Mapping[str, Any],
    *,
    transcription: Mapping[str, Any] | None = None,
    add: bool = False,
) -> dict[str, Any]:
    """Return run.json's document, written by the first run and compared by every later one.

    prepared: what identifies the text model, as its encoder says, the feature sets that are described, and the versions
    in use, as the workers say. transcription: what recognised text depends on; None where none is recognised. It may be
    added to a folder. add: whether the sets come to those that the folder has.

    Raises ConfigError if the folder was made with other settings or versions, or holds tables that no run made.
    """
    path = folder / RUN_FILE
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.document(),
        "versions": dict(prepared["versions"]),
        "text_model": dict(prepared["text_model"]),
    }
    if transcription is not None:
        document["transcription"] = transcription
    if prepared.get("sets"):
        document["sets"] = dict(prepared["sets"])
    if path.is_file():
        recorded = read_run(folder)
        refuse_other_sets(folder, recorded.get("sets", {}), document.get("sets", {}), add=add)
        if add:
            return _with_added(path, recorded, document)
        first_texts = bool(prepared["text_model"]) and not recorded.get(
            "text_model"
        )  # no clip had a transcript until now
        if first_texts:
            recorded["text_model"] = document["text_model"]
            recorded["settings"]["text_model"] = settings.text_model
        first_transcription = transcription is not None and "transcription" not in recorded
        if first_transcription:
            recorded["transcription"] = document["transcription"]
        _check_same(folder, recorded, document)
        if recorded.get("devices"):
            key, device = next(iter(recorded["devices"].items()))
            raise ConfigError(
                f"{key} of {folder} was added on {device}, the first sets are from {settings.device}: continue what "
                f"was added with --add --device {device}, and extract further clips into another folder with -o"
            )
        if first_texts or first_transcription:
            write_json(path, document, sort_keys=True, indent=2)
        return document
    foreign = [f"{name}.parquet" for name in ("manifest", *MODALITIES) if (folder / f"{name}.parquet").exists()]
    if foreign:
        raise ConfigError(f"{folder} holds {foreign[0]} that no run of extract made; choose another folder with -o")
    write_json(path, document, sort_keys=True, indent=2)
    return document


def check_transcription(folder: AnyPath, transcription: Mapping[str, Any]) -> None:
    """Raise ConfigError if the folder holds text that was recognised with other settings, before it is done again."""
    recorded = read_run(folder).get("transcription") if (folder / RUN_FILE).is_file() else None
    if recorded is not None:
        _check_same(folder, {"transcription": recorded}, {"transcription": transcription})


def _check_same(folder: AnyPath, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = differences(_comparable(recorded), _comparable(now))
    if changed:
        raise ConfigError(
            f"{folder} was made with other settings: {'; '.join(changed)}. Use the same ones to continue, or another "
            "folder with -o"
        )


def _comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the text model, and what recognises text, as one line each, for messages.

    A setting that the fmltk of an older folder did not have counts as its default.
    """
    model = document.get("text_model") or {}
    settings = {**ExtractSettings().document(), **document.get("settings", {})}
    del settings["text_model"]
    short = f"{model.get('name')} {str(model.get('revision') or model.get('sha256'))[:12]}" if model else "none"
    heard = document.get("transcription") or {}
    parts = (f"{name}={str(value)[:12]}" for name, value in sorted(heard.items()) if value not in (None, ""))
    said = ", ".join(parts) or "none"
    return {**document, "settings": settings, "text_model": short, "transcription": said, "sets": {}, "devices": {}}


def _with_added(path: AnyPath, recorded: dict[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Write and return run.json's document with what a run adds to the folder.

    "devices" names where sets were computed that came from another device than the folder's first ones.

    Raises ConfigError if libraries changed since, as the tables say one set of versions, or a set of these was begun on
    another device.
    """
    changed = differences(recorded["versions"], added["versions"])
    if changed:
        raise ConfigError(
            f"{path.parent} was made with other versions: {'; '.join(changed)}. Add to it with the same ones, or "
            "extract into another folder with -o"
        )
    sets, devices = recorded.get("sets", {}), dict(recorded.get("devices", {}))
    plain = ExtractSettings().device
    first_device, device = (one["settings"].get("device", plain) for one in (recorded, added))
    new = [one for one in added["settings"]["modalities"] if one not in recorded["settings"]["modalities"]]
    for key in (*added.get("sets", {}), *new):
        begun = devices.get(key, first_device) if key in sets or key in devices else device
        if begun != device:
            raise ConfigError(
                f"{key} of {path.parent} was computed on {begun}, and this run would use {device}; "
                f"give --device {begun}"
            )
        if device != first_device:
            devices[key] = device
    document = {
        **recorded,
        "settings": {**added["settings"], "device": first_device},
        "text_model": added["text_model"] or recorded["text_model"],
        "sets": {**sets, **added.get("sets", {})},
    }
    if devices:
        document["devices"] = devices
    if document != recorded:
        write_json(path, document, sort_keys=True, indent=2)
    return document


def read_run(folder: AnyPath) -> dict[str, Any]:
    """Return run.json's document. Raises StoreError if it cannot be read."""
    return read_json(folder / RUN_FILE, error=advised(StoreError, "choose another folder with -o"))


def held(folder: AnyPath) -> AbstractContextManager[None]:
    """Hold the feature folder for this run alone, without what a killed one left half written.

    A folder in a store cannot be held: two runs of the same command do each other's work twice and end with the same
    bytes (docs/scaling.md).

    Raises StoreError if another run holds it, or the folder cannot be written.
    """
    return hold_folder(folder, places=_WRITTEN)
