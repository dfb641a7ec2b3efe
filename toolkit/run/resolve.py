"""The choices of a run on this machine: which text model, which visual layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.audio.speech_activity import resolve_speech
from fmltk.toolkit.clip import MODALITIES, ordered_keys
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.machine import check_device
from fmltk.toolkit.run.sets import default_name, default_sets, held_sets, licences, name_sets, with_names
from fmltk.toolkit.run.tasks import RunPaths, RunSet
from fmltk.toolkit.run.versions import installed_version
from fmltk.toolkit.settings import GEOMETRY_LAYOUT, OPENFACE_LAYOUT, OPENVINO, ExtractSettings
from fmltk.toolkit.vision.looks import resolve_identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.hf_folder import ModelFolder
    from fmltk.toolkit.io.paths import AnyPath


def resolve(
    settings: ExtractSettings,
    catalog: Catalog,
    folder: AnyPath,
    *,
    text_model: str | None,
    openface: str | Path,
    elsewhere: bool,
    reporter: Reporter,
    asd: str | Path | None = None,
    recorded: Mapping[str, Any] | None = None,
    add: bool = False,
) -> tuple[ExtractSettings, RunPaths]:
    """Turn "auto", "by the language" and the names of feature sets into what they mean for these clips here.

    elsewhere: whether workers may run on other machines than this. recorded: of a folder that has features already, the
    document of its run.json. add: whether the sets come to those that it has.
    """
    held = held_sets(recorded) if add and recorded else {}
    named = name_sets(settings, text_model=text_model, held=held)
    text_model = named.text_model
    if named.openface is not None and "vision" in named.defaults:
        openface = _only_openface(openface, named.openface)
    stems = _shared_stems(catalog)
    paths = RunPaths(features=folder.absolute(), elsewhere=elsewhere, adds=add, shared_stems=stems)
    if not elsewhere:  # a machine without a GPU may hand out clips to others that have one
        check_device(settings.device)
    if elsewhere and settings.face_crops and isinstance(folder, Path):
        raise ConfigError(
            "--face-crops with --engine ray needs a feature folder that every machine reaches; give -o a URL"
        )
    if "text" in named.defaults:
        source = _choose_text_model(catalog, text_model, reporter)
        settings = replace(settings, text_model=source.name if source else "")
        paths = replace(paths, text_model=source)
    for package in () if elsewhere else settings.packages:
        installed_version(package)
    if OPENVINO in settings.packages and settings.device != "cpu":
        raise ConfigError(
            f"--face-networks openvino, given or what the folder was made with, runs on the processor, not on "
            f"{settings.device}; leave one out"
        )
    if settings.face_every > 1 and not settings.face_tracking:
        raise ConfigError("--face-every 2 follows faces from frame to frame: leave out --face-tracking off")
    if "vision" in settings.modalities:
        settings = replace(settings, identity=resolve_identity(settings.identity))
        if "vision" in named.defaults:
            settings, paths = _choose_layout(settings, paths, catalog, openface, reporter)
        settings, paths = _choose_weights(settings, paths, asd, reporter)
        settings = replace(settings, speech=resolve_speech(settings.speech))
    if not settings.modalities:
        raise ConfigError("nothing is left to extract; choose --modalities from text, audio, vision")
    defaults = default_sets(replace(settings, modalities=named.defaults), paths.text_model)
    if add:
        defaults = {key: RunSet(one.extractor, default_name(key, settings.document())) for key, one in defaults.items()}
    sets = with_names({**defaults, **named.sets}, recorded)
    for sentence in licences(sets):
        reporter.say(sentence)
    described = {key for key, one in sets.items() if one.name}
    if add and recorded:
        described |= set(recorded.get("sets", {}))
    keys = ordered_keys([*held, *sets])
    return settings, replace(paths, sets=sets, keys=keys, described=ordered_keys(described))


def _only_openface(option: str | Path, named: str) -> str | Path:
    """Return what --openface and the first visual set say together. Raises ConfigError if they say two things."""
    from fmltk.toolkit.vision.openface.program import find_openface

    if str(option) not in ("auto", named):
        raise ConfigError(f"--openface {option} and --vision name two layouts; give one of them")
    if named == "auto" and find_openface() is None:
        raise ConfigError(
            "--vision openface: OpenFace was not found; set FMLTK_OPENFACE, or give its CSVs: --vision openface:DIR"
        )
    return named


def _choose_text_model(catalog: Catalog, text_model: str | None, reporter: Reporter) -> ModelFolder | None:
    from fmltk.toolkit.text.folder import find_text_model
    from fmltk.toolkit.text.language import default_text_model, majority_language

    count = majority_language(catalog.clips.values("text"))
    if count.mixed and text_model is None:
        kinds = ", ".join(f"{language or 'unknown'} {n}" for language, n in count.counts.items())
        reporter.warn(f"the transcripts are in several languages ({kinds}); one text model serves all")
    if text_model is None and not any(catalog.clips.values("text")):
        return None
    return find_text_model(text_model or default_text_model(count.language))


def _choose_weights(
    settings: ExtractSettings, paths: RunPaths, asd: str | Path | None, reporter: Reporter
) -> tuple[ExtractSettings, RunPaths]:
    """Return settings and paths with the weights of --asd; those that the settings name are needed already."""
    wanted = settings.asd_weights
    weights = None
    if asd is not None:  # torch takes a second to load
        from fmltk.toolkit.vision.active_speaker.weights import find_weights

        weights = find_weights(asd)
    if wanted and (weights is None or weights.sha256 != wanted):
        given = "no file" if weights is None else f"{asd}, which has SHA-256 {weights.sha256[:12]}..."
        raise ConfigError(
            f"these features are made with the LR-ASD weights of SHA-256 {wanted[:12]}..., and --asd gives {given}; "
            "give the file that they were made with"
        )
    if weights is None:
        return settings, paths
    if not weights.known:
        reporter.warn(
            f"--asd {asd}: these are not the weights that fmltk was measured with (SHA-256 {weights.sha256[:12]}...); "
            "docs/features.md says which"
        )
    return replace(settings, asd_weights=weights.sha256), replace(paths, asd=weights)


def _choose_layout(
    settings: ExtractSettings, paths: RunPaths, catalog: Catalog, openface: str | Path, reporter: Reporter
) -> tuple[ExtractSettings, RunPaths]:
    from fmltk.toolkit.vision.openface.layout import openface_features
    from fmltk.toolkit.vision.openface.program import find_openface, openface_version

    openface_features(settings.openface_groups or None)  # refuses an unknown group

    if openface == "none":
        return replace(settings, vision_layout=GEOMETRY_LAYOUT, openface_groups=()), paths
    if openface != "auto":
        csvs = Path(openface)
        if not csvs.is_dir():
            raise ConfigError(f"--openface {openface}: expected a folder of OpenFace CSVs, 'auto' or 'none'")
        settings = replace(settings, vision_layout=OPENFACE_LAYOUT, openface_source="folder")
        return settings, replace(paths, openface_folder=csvs.absolute())
    program = find_openface()
    if program is not None:
        settings = replace(settings, vision_layout=OPENFACE_LAYOUT, openface_source=openface_version(program))
        return settings, replace(paths, openface_program=program)
    reporter.warn(
        "OpenFace was not found, so the visual features are the built-in face geometry (mtcnn-geometry), not the "
        "paper's 709; install OpenFace and set FMLTK_OPENFACE, or give its CSVs with --openface DIR (docs/openface.md)"
    )
    return replace(settings, vision_layout=GEOMETRY_LAYOUT, openface_groups=()), paths


def _shared_stems(catalog: Catalog) -> frozenset[str]:
    first: dict[str, str] = {}
    paths = (path for path in catalog.clips.values("path") if path is not None)
    return frozenset(path.stem for path in paths if first.setdefault(path.stem, str(path)) != str(path))


def ordered_modalities(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities in the order every table has them. Raises ConfigError if one is unknown."""
    names = modalities.split(",") if isinstance(modalities, str) else modalities
    unknown = sorted(set(names) - set(MODALITIES))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is not a modality; expected some of {', '.join(MODALITIES)}")
    return tuple(one for one in MODALITIES if one in names)
