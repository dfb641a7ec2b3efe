"""The feature folder of a run: held by one run at a time, bound to one set of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import ConfigError, StoreError, advised
from fmltk.toolkit.features.layout import RUN_FILE, SCHEMA_VERSION
from fmltk.toolkit.io.documents import read_json, write_json
from fmltk.toolkit.io.outputs import hold_folder
from fmltk.toolkit.run.versions import differences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.settings import ExtractSettings

_WRITTEN = ("", "faces/", "faces/crops/*/", "shards/??/")  # where a run writes


def bind(folder: AnyPath, settings: ExtractSettings, prepared: Mapping[str, Any]) -> dict[str, Any]:
    """Return run.json's document, written by the first run and compared by every later one.

    prepared: what identifies the text model, as its encoder says, and the versions in use, as the workers say.

    Raises ConfigError if the folder was made with other settings or versions, or holds tables that no run made.
    """
    path = folder / RUN_FILE
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings.document(),
        "versions": dict(prepared["versions"]),
        "text_model": dict(prepared["text_model"]),
    }
    if path.is_file():
        recorded = read_run(folder)
        first_texts = bool(prepared["text_model"]) and not recorded.get(
            "text_model"
        )  # no clip had a transcript until now
        if first_texts:
            recorded["text_model"] = document["text_model"]
            recorded["settings"]["text_model"] = settings.text_model
        changed = differences(_comparable(recorded), _comparable(document))
        if changed:
            raise ConfigError(
                f"{folder} was made with other settings: {'; '.join(changed)}. Use the same ones to go on, "
                "or another folder with -o"
            )
        if first_texts:
            write_json(path, document, sort_keys=True, indent=2)
        return document
    foreign = [f"{name}.parquet" for name in ("manifest", *MODALITIES) if (folder / f"{name}.parquet").exists()]
    if foreign:
        raise ConfigError(f"{folder} holds {foreign[0]} that no run of extract made; choose another folder with -o")
    write_json(path, document, sort_keys=True, indent=2)
    return document


def _comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the text model as one line, for a message that names it once."""
    model = document.get("text_model") or {}
    settings = {name: value for name, value in document.get("settings", {}).items() if name != "text_model"}
    short = f"{model.get('name')} {str(model.get('revision') or model.get('sha256'))[:12]}" if model else "none"
    return {**document, "settings": settings, "text_model": short}


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
