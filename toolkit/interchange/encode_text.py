"""The text of a data set that was imported, encoded by another model: only its transcripts are needed."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.catalog import Catalog
from fmltk.toolkit.catalog.table_join import join_transcripts
from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.catalog.video_files import VideoFiles
from fmltk.toolkit.clip import MODALITIES, Clip, ordered_keys
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.catalog import find_extractor, split_name
from fmltk.toolkit.features.clip_row import OK, ClipRow, further_sets
from fmltk.toolkit.features.layout import MANIFEST_FILE, RUN_FILE, table_file
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.shards import fingerprint
from fmltk.toolkit.interchange.mmsa_extras import EXTRAS_FILE, forget_text
from fmltk.toolkit.io.files import replace_file
from fmltk.toolkit.io.parquet import decode_metadata, open_parquet, reading
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.run.extract import Run, extract_clips
from fmltk.toolkit.run.folder import held
from fmltk.toolkit.run.resolve import resolve
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings, RunOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.summary import Summary

WORK_PREFIX = "encoding-"  # a feature folder in the feature folder: what a killed run leaves there is used again
_NAMED = 3


def encode_text(
    features: str | Path,
    *,
    text_model: str | None = None,
    text_set: str | None = None,
    add: bool = False,
    transcripts: str | AnyPath | None = None,
    encoding: str | None = None,
    ignore_columns: Collection[str] | None = None,
    device: str = "cpu",
    padding: PaddingSettings | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> Summary:
    """Replace the text of an imported feature folder by a set of its transcripts, or add such a set.

    Audio, vision, labels and splits stay. A run that is stopped leaves the folder as it was, and is continued by the
    same call.

    Parameters
    ----------
    features
        A folder that `fmltk dataset import` wrote.
    text_model
        A hub name, a local folder or "minilm"; None: by the transcripts' language.
    text_set
        A text set by name (docs/extractors.md), instead of a text model.
    add
        Whether the text stays that is there, and the new set comes to it: "text.minilm".
    transcripts
        A table of transcripts, such as MMSA's label.csv; None: the texts that were imported. A clip that has no row
        keeps the text that was imported.
    encoding, ignore_columns
        Options of the table; see `fmltk.toolkit.catalog.catalog.build_catalog`.
    device
        Device that runs the model.
    padding, options
        How L is chosen, and the number of workers.
    reporter
        Receives progress and warnings; by default nowhere.

    Returns the summary of the text: how many clips have it, their lengths and L.

    Raises ConfigError if `features` was not imported or has the set that is to be added, no clip has a transcript, or
    none of the table's rows names a clip; StoreError or TextModelError if the run cannot start or continue.
    """
    folder, reporter = Path(features), reporter or Reporter(quiet=True)
    n_earlier = len(reporter.warnings)
    if (folder / RUN_FILE).exists():
        raise ConfigError(
            f"{folder} was made by `fmltk extract`: add a text to it with fmltk extract VIDEOS -o {folder} --add "
            "--text SET, or run that with this --text-model and another folder (-o)"
        )
    if not (folder / MANIFEST_FILE).is_file():
        raise ConfigError(f"{folder} has no {MANIFEST_FILE}; expected a folder that `fmltk dataset import` wrote")
    with held(folder):
        clips = _clips(folder / MANIFEST_FILE)
        if transcripts is not None:
            clips = _with_transcripts(clips, locate(transcripts), encoding, ignore_columns, reporter)
        if not any(clip.text for clip in clips):
            raise ConfigError(f"no clip of {folder} has a transcript; give --transcripts TABLE")
        catalog = Catalog(clips)
        key = _key(folder, text_set or text_model) if add else "text"
        settings, paths = resolve(
            ExtractSettings(modalities=("text",), device=device, text_sets=() if text_set is None else (text_set,)),
            catalog,
            folder,
            text_model=text_model,
            openface="none",
            elsewhere=False,
            reporter=reporter,
        )
        sets = {name: one.document() for name, one in paths.sets.items() if one.name}
        inputs = {"model": paths.text_model and paths.text_model.sha256, "device": device}
        work = _work_folder(folder, {**inputs, "sets": sets} if sets else inputs)
        paths = replace(paths, features=work.absolute())
        run = Run(catalog, work, settings, paths, padding or PaddingSettings(), options or RunOptions(), reporter)
        with held(work):
            summary = extract_clips(run)
        if not summary.modalities["text"].counts[OK]:
            raise ConfigError(f"no transcript of {folder} could be encoded; see {work / MANIFEST_FILE}")
        replace_file(work / table_file("text"), folder / table_file(key))
        if not add:
            forget_text(folder / EXTRAS_FILE)
        _merge(folder / MANIFEST_FILE, work / MANIFEST_FILE, key)
        shutil.rmtree(work)
    summary.folder, summary.modalities = folder, {key: summary.modalities["text"]}
    summary.warnings = reporter.warnings[n_earlier:]
    return summary


def _key(folder: Path, name: str | None) -> str:
    """Return the key of a text set that is to be added. Raises ConfigError if it has no name, or the folder has it."""
    if name is None:
        raise ConfigError("--add needs the text set to add: --text-model NAME or --text SET")
    own = find_extractor("text", name).name
    key = f"text.{own}"
    with open_parquet(folder / MANIFEST_FILE) as file:
        held = further_sets(file.schema_arrow.names)
    if key in held:
        raise ConfigError(f"{folder} has a set {key}; give yours another name: --text NAME={split_name(name)[1]}")
    return key


def _clips(manifest: Path) -> ClipList:
    """Return the clips of a feature folder, without files."""
    return ClipList(
        Clip(
            str(row.video_id),
            str(row.clip_id),
            None,
            text=row.text,
            language=row.language,
            source=row.utterance_id,
            split=row.split,
        )
        for row in _rows(manifest)
    )


def _rows(manifest: Path) -> list[ClipRow]:
    with open_parquet(manifest) as file, reading(manifest):
        return [ClipRow.from_columns(row) for batch in file.iter_batches() for row in batch.to_pylist()]


def _with_transcripts(
    clips: ClipList,
    table: AnyPath,
    encoding: str | None,
    ignored: Collection[str] | None,
    reporter: Reporter,
) -> ClipList:
    """Return the clips with the table's texts; rows and clips that do not meet are counted and named."""
    found = VideoFiles()
    rows = list(read_transcripts(table, encoding=encoding, ignored=ignored, note=found.notes.append))
    ids = {clip.utterance_id for clip in clips}
    joined = {clip.utterance_id: clip for clip in join_transcripts(clips, rows, found, name=table.name)}
    for note in found.notes:
        reporter.say(note)
    for clip in joined.values():
        if clip.fault is not None and clip.utterance_id in ids:
            raise ConfigError(clip.fault[1])
    strangers = [utterance for utterance in joined if utterance not in ids]
    _warn(reporter, f"rows of {table.name} that name no clip", strangers)
    kinds = Counter(problem.kind for problem in found.problems if problem.where in ids)
    if kinds:
        names = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))
        reporter.warn(f"{table.name}: {names}; the first: {found.problems[0].message}")
    return ClipList(joined[utterance] for utterance in sorted(ids))


def _warn(reporter: Reporter, title: str, utterances: Sequence[str]) -> None:
    if utterances:
        more = f" and {len(utterances) - _NAMED} more" if len(utterances) > _NAMED else ""
        reporter.warn(f"{title} ({len(utterances)}): {', '.join(utterances[:_NAMED])}{more}")


def _work_folder(folder: Path, inputs: Mapping[str, object]) -> Path:
    """Return where this model's run works; what another one left is removed."""
    work = folder / f"{WORK_PREFIX}{fingerprint({**inputs, 'versions': numeric_versions()})}"
    for other in folder.glob(f"{WORK_PREFIX}*"):
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    return work


def _merge(manifest: Path, encoded: Path, key: str) -> None:
    """Write what became of each clip's text, as the set of this key, into the manifest."""
    texts = {row.utterance_id: row for row in _rows(encoded)}
    rows = _rows(manifest)
    with open_parquet(manifest) as file, reading(manifest):
        document = decode_metadata(file.schema_arrow, name=str(manifest))
    with open_parquet(encoded) as file, reading(encoded):
        model = decode_metadata(file.schema_arrow, name=str(encoded))["text_model"]
    keys = {*rows[0].modalities, key}
    further = ordered_keys(keys - set(MODALITIES))
    if key == "text":
        document["text_model"] = model
    with ManifestWriter(manifest, document, further) as writer:
        for row in rows:
            writer.append(_with_text(row, texts[row.utterance_id], key))


def _with_text(row: ClipRow, text: ClipRow, key: str) -> ClipRow:
    if key != "text":
        added = [one.replace("text:", f"{key}:", 1) for one in text.warnings if one.startswith("text:")]
        return row.with_modality(key, text.modalities["text"]).with_warnings(*added).settled()
    warnings = [one for one in row.warnings if not one.startswith("text:")]
    merged = replace(
        row,
        text=text.text,
        language=text.language,
        text_tokens_cut=text.text_tokens_cut,
        text_unknown_share=text.text_unknown_share,
        warnings=(*warnings, *text.warnings),
    )
    return merged.with_modality("text", text.modalities["text"]).settled()
