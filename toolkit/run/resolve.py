"""What a run is to do on this machine: which text model, which visual layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.audio.speech_activity import resolve_speech
from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.machine import check_device
from fmltk.toolkit.run.tasks import RunPaths
from fmltk.toolkit.settings import GEOMETRY_LAYOUT, OPENFACE_LAYOUT, ExtractSettings
from fmltk.toolkit.vision.looks import resolve_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

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
) -> tuple[ExtractSettings, RunPaths]:
    """Turn "auto" and "by the language" into what they mean for these clips on this machine.

    elsewhere: whether workers may run on other machines than this.
    """
    paths = RunPaths(features=folder.absolute(), elsewhere=elsewhere)
    if not elsewhere:  # a machine without a GPU may hand out clips to others that have one
        check_device(settings.device)
    if elsewhere and settings.face_crops and isinstance(folder, Path):
        raise ConfigError(
            "--face-crops with --engine ray needs a feature folder that every machine reaches; give -o a URL"
        )
    if "text" in settings.modalities:
        source = _choose_text_model(catalog, text_model, reporter)
        settings = replace(settings, text_model=source.name if source else "")
        paths = replace(paths, text_model=source)
    if "vision" in settings.modalities:
        settings = replace(settings, identity=resolve_identity(settings.identity))
        settings, paths = _choose_layout(settings, paths, catalog, openface, reporter)
        settings, paths = _choose_weights(settings, paths, asd, reporter)
        settings = replace(settings, speech=resolve_speech(settings.speech))
    if not settings.modalities:
        raise ConfigError("nothing is left to extract; choose --modalities from text, audio, vision")
    return settings, paths


def _choose_text_model(catalog: Catalog, text_model: str | None, reporter: Reporter) -> ModelFolder | None:
    from fmltk.toolkit.text.folder import find_text_model
    from fmltk.toolkit.text.language import default_text_model, majority_language

    texts = [clip.text for clip in catalog.clips]
    count = majority_language(texts)
    if count.mixed and text_model is None:
        kinds = ", ".join(f"{language or 'unknown'} {n}" for language, n in count.counts.items())
        reporter.warn(f"the transcripts are in several languages ({kinds}); one text model serves all")
    if text_model is None and not any(texts):
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
        return settings, replace(paths, openface_folder=csvs.absolute(), shared_stems=_shared_stems(catalog))
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
    stems = Counter(path.stem for path in {clip.path for clip in catalog.clips if clip.path is not None})
    return frozenset(stem for stem, n in stems.items() if n > 1)


def ordered_modalities(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities in the order every table has them. Raises ConfigError if one is unknown."""
    names = modalities.split(",") if isinstance(modalities, str) else modalities
    unknown = sorted(set(names) - set(MODALITIES))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no modality; expected some of {', '.join(MODALITIES)}")
    return tuple(one for one in MODALITIES if one in names)
