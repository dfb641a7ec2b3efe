"""The feature sets of a run: what the user named, under which keys, and what run.json says of each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES, modality_of, ordered_keys
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.acoustic import AcousticSet
from fmltk.toolkit.extractors.catalog import find_extractor, set_names, split_name
from fmltk.toolkit.extractors.geometry import GeometrySet
from fmltk.toolkit.extractors.text_model import TextModelSet
from fmltk.toolkit.run.openface import OpenFaceSet
from fmltk.toolkit.run.tasks import RunSet
from fmltk.toolkit.run.versions import differences
from fmltk.toolkit.settings import OPENFACE_LAYOUT, SET_FIELDS, ExtractSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.extractors.contract import Extractor
    from fmltk.toolkit.hf_folder import ModelFolder

ACOUSTIC, GEOMETRY, OPENFACE = "fmltk33", "geometry", "openface"
_NOT_COMPARED = ("given", "licence")  # of a set's document: where its files lie, and what is said of it


@dataclass(frozen=True, slots=True)
class NamedSets:
    """The sets that a user named.

    sets : by key, those that are not a modality's default
    defaults : the modalities whose first set is the default
    text_model, openface : what the default's name says, as --text-model and --openface do; None: nothing
    """

    sets: Mapping[str, RunSet]
    defaults: tuple[str, ...]
    text_model: str | None = None
    openface: str | None = None


def name_sets(settings: ExtractSettings, *, text_model: str | None = None, held: Mapping[str, str] = {}) -> NamedSets:
    """Return the sets that the settings name, by their keys.

    text_model : what --text-model says: the first text set, before those of --text
    held : of a folder that they are to be added to, the name of the set of each key

    Raises ConfigError if one is unknown, or two have one name.
    """
    sets: dict[str, RunSet] = {}
    defaults: list[str] = []
    meant: dict[str, str | None] = {"text": text_model, "vision": None}
    for modality in MODALITIES:
        names = list(getattr(settings, SET_FIELDS[modality]))
        if names and modality not in settings.modalities:
            raise ConfigError(f"--{modality} {names[0]} needs {modality} among the --modalities")
        taken = {name: key for key, name in held.items() if key.partition(".")[0] == modality}
        has_first = modality in held
        if not has_first and modality in settings.modalities and (not names or (modality == "text" and text_model)):
            defaults.append(modality)
            has_first = True
        for text in names:
            default = _default_meant(modality, text)
            if default is not None and modality in held and held[modality] == split_name(text)[1].partition(":")[0]:
                continue  # it is there
            if not has_first and default is not None:
                meant[modality] = default
                defaults.append(modality)
                taken[split_name(text)[1].partition(":")[0]] = modality
            else:
                chosen = find_extractor(modality, text)
                key = f"{modality}.{chosen.name}" if has_first else modality
                if taken.get(chosen.name, key) != key or key in sets:
                    raise ConfigError(
                        f"there are two {modality} sets {chosen.name!r}; give one another name, "
                        f"--{modality} NAME={chosen.given}"
                    )
                taken[chosen.name] = key
                sets[key] = RunSet(_with_settings(chosen.extractor, settings), chosen.name, chosen.given)
            has_first = True
    return NamedSets(sets, tuple(defaults), meant["text"], meant["vision"])


def _default_meant(modality: str, text: str) -> str | None:
    """Return what a default set's option would be given, if that is what `text` names; else None."""
    given = split_name(text)[1]
    name, _, argument = given.partition(":")
    if modality == "text":
        return None if name in set_names("text") else given
    meant = {("audio", ACOUSTIC): "", ("vision", GEOMETRY): "none", ("vision", OPENFACE): argument or "auto"}
    return None if argument and name != OPENFACE else meant.get((modality, name))


def _with_settings(extractor: Extractor, settings: ExtractSettings) -> Extractor:
    """Return a set of fmltk's own with what the run's settings say of it."""
    if isinstance(extractor, AcousticSet):
        return AcousticSet(settings.mfcc_scale, settings.acoustics)
    return extractor


def default_sets(settings: ExtractSettings, text_model: ModelFolder | None = None) -> dict[str, RunSet]:
    """Return the sets that fmltk chooses for the modalities of the settings, by key."""
    has_openface = settings.vision_layout == OPENFACE_LAYOUT
    sets: dict[str, Extractor] = {
        "text": TextModelSet(text_model),
        "audio": AcousticSet(settings.mfcc_scale, settings.acoustics),
        "vision": OpenFaceSet(tuple(settings.openface_groups)) if has_openface else GeometrySet(),
    }
    return {modality: RunSet(sets[modality]) for modality in settings.modalities}


def with_names(sets: Mapping[str, RunSet], recorded: Mapping[str, Any] | None) -> dict[str, RunSet]:
    """Return a run's sets by key, in order; defaults with the names that a folder's run.json has for them, if any."""
    described = (recorded or {}).get("sets", {})

    def named(key: str) -> RunSet:
        one, made = sets[key], described.get(key)
        return one if one.name or made is None else RunSet(one.extractor, made["name"], made["given"])

    return {key: named(key) for key in ordered_keys(sets)}


def default_name(modality: str, settings: Mapping[str, Any]) -> str:
    """Return what a modality's default set is called; settings: as run.json has them."""
    if modality == "vision":
        return OPENFACE if settings["vision_layout"] == OPENFACE_LAYOUT else GEOMETRY
    return ACOUSTIC if modality == "audio" else str(settings["text_model"])


def held_sets(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each set that a folder has, by key; run: the document of run.json."""
    firsts = {modality: default_name(modality, run["settings"]) for modality in run["settings"]["modalities"]}
    return firsts | {key: one["name"] for key, one in run.get("sets", {}).items()}


def set_keys(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of the sets that tables may be of, each modality's first among them."""
    return ordered_keys([*MODALITIES, *run.get("sets", {})])


def set_description(key: str, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a set's table says of what its numbers are; run: the document of run.json."""
    settings = run["settings"]
    made: dict[str, Any] = run.get("sets", {}).get(key, {})
    if made and (key not in MODALITIES or made["name"] != default_name(key, settings)):
        return {**{name: made[name] for name in ("feature_names", "feature_units", "rate_hz")}, "set": made}
    document: dict[str, Any] = {"feature_names": [], "feature_units": [], "rate_hz": None}
    if key == "text":
        return {**document, "model": run["text_model"]}
    whole = settings_from_document({**settings, "modalities": [key]})
    card = default_sets(whole)[key].extractor.card
    names, units = ([one[place] for one in card.features] for place in (0, 1))
    document |= {"feature_names": names, "feature_units": units, "rate_hz": card.rate_hz}
    return {**document, "layout": settings["vision_layout"]} if key == "vision" else document


def settings_from_document(document: Mapping[str, Any]) -> ExtractSettings:
    """Return the settings that run.json or a table holds."""
    names = {field.name for field in fields(ExtractSettings)}
    values: dict[str, Any] = {name: value for name, value in document.items() if name in names}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return ExtractSettings(**values)


def refuse_other_sets(folder: object, recorded: Mapping[str, Any], wanted: Mapping[str, Any], *, add: bool) -> None:
    """Raise ConfigError where a folder has other sets than a run is to make, or the same ones made otherwise.

    recorded, wanted : what run.json says of the sets, by key
    """
    lacking, others = sorted(set(wanted) - set(recorded)), sorted(set(recorded) - set(wanted))
    if not add and (lacking or others):
        what = f"does not have the set {lacking[0]}" if lacking else f"has the set {others[0]} too"
        raise ConfigError(
            f"{folder} {what}: name the sets that it has ({_as_given(recorded) or 'its defaults'}), add others with "
            "--add, or use another folder with -o"
        )
    for key in set(recorded) & set(wanted):
        changed = differences(_compared(recorded[key]), _compared(wanted[key]))
        if changed:
            raise ConfigError(
                f"{folder} has a set {key} that was made otherwise: {'; '.join(changed)}. Make it as it was, or give "
                f"yours another name: --{modality_of(key)} NAME={wanted[key]['given']}"
            )


def _as_given(sets: Mapping[str, Any]) -> str:
    return " ".join(f"--{modality_of(key)} {one['name']}={one['given']}" for key, one in sets.items())


def _compared(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _NOT_COMPARED}


def licences(sets: Mapping[str, RunSet]) -> list[str]:
    """Return what a user has to know of the sets' licences before use, a sentence per set."""
    cards = {key: one.extractor.card for key, one in sets.items()}
    return [f"licence of {key} ({card.name}): {card.licence}" for key, card in cards.items() if card.licence]
