"""From shards to the feature folder's tables: the padded length, and every row written in a fixed order.

Two passes over the shards: the first takes lengths, the second writes. Memory holds the ids and lengths of all clips,
and the features of one row group per modality.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import ConfigError, DamagedFileError
from fmltk.toolkit.features.clip_row import OK, TRANSCRIPT_WARNING, ClipRow
from fmltk.toolkit.features.faces import (
    FACE_FILE,
    FACE_ROWS_PER_GROUP,
    SHOT_FILE,
    face_schema,
    face_table,
    shot_schema,
    shot_table,
)
from fmltk.toolkit.features.fingerprints import FINGERPRINT_FILE, fingerprint_schema, fingerprint_table
from fmltk.toolkit.features.layout import MANIFEST_FILE, SCHEMA_VERSION
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.padding import padded_length, pool_sequence
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.io.parquet import ROWS_PER_GROUP, TableWriter
from fmltk.toolkit.run.summary import Summary
from fmltk.toolkit.settings import ACOUSTIC_RATE_HZ, FRAME_RATE_HZ, OPENFACE_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fmltk.toolkit.features.shards import ClipResult, ShardFolder
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.settings import PaddingSettings

LONG_TAIL = 2  # a warning where L exceeds this many times the 99th percentile of the lengths
SIZE_WARNING_BYTES = 50 << 30


@dataclass(frozen=True, slots=True)
class Entry:
    """One clip of the folder.

    row : its row where it has no shard; else its split, language and text, and what is said of how the text was
    recognised, as they are now, whatever the shard was made with
    shard : the name of its shard; None where it has none
    """

    row: ClipRow
    shard: str | None = None


class DamagedShardsError(DamagedFileError):
    """Some shards do not match their checksums; `utterances` are the clips to do again."""

    def __init__(self, utterances: list[str]) -> None:
        names = ", ".join(utterances[:5])
        super().__init__(
            f"damaged shards ({len(utterances)}): {names}; run the same `fmltk extract` again to redo them"
        )
        self.utterances = utterances


@dataclass(slots=True)
class _Survey:
    """What the first pass finds per modality: true lengths by clip, the dimension, and whether there is a mask."""

    lengths: dict[str, int] = field(default_factory=dict)
    training: list[int] = field(default_factory=list)
    dimension: int = 0
    has_mask: bool = False


def assemble(
    folder: AnyPath,
    shards: ShardFolder,
    entries: Mapping[str, Entry],
    *,
    padding: PaddingSettings,
    run: Mapping[str, Any],
    on_row: Callable[[ClipRow], object] = lambda row: None,
    on_step: Callable[[], object] = lambda: None,
) -> Summary:
    """Write manifest, text, audio, vision and faces tables from the shards, in the order of `entries`.

    run
        The document of run.json: settings, versions and the text model; it goes into the tables' metadata.
    on_row
        Called with each row of the manifest.
    on_step
        Called twice for each entry: when its length is known, and when it is written.

    Raises DamagedShardsError if shards are not what their names say, ConfigError if lengths are to come from a training
    split that no clip has, StoreError if the tables cannot be written.
    """
    surveys = _survey(shards, entries, padding, on_step)
    summary = Summary(folder)
    specs = {}
    for modality, survey in surveys.items():
        if survey.lengths:
            length = _choose_length(modality, survey, padding)
            summary.modalities[modality].length = length
            specs[modality] = ModalitySpec(
                modality, survey.dimension, length, survey.has_mask, _document(modality, survey, padding, run)
            )
            _warn_of_length(summary, modality, length, survey, padding)
    _remove_stale(folder, specs)
    document = {**run, "padding": padding.document(), "schema_version": SCHEMA_VERSION}
    with contextlib.ExitStack() as stack:
        manifest = stack.enter_context(ManifestWriter(folder / MANIFEST_FILE, document))  # the last to appear
        faces = stack.enter_context(TableWriter(folder / FACE_FILE, face_schema(run)))
        shots = stack.enter_context(TableWriter(folder / SHOT_FILE, shot_schema(run)))
        fingerprints = stack.enter_context(TableWriter(folder / FINGERPRINT_FILE, fingerprint_schema()))
        writers = {
            modality: stack.enter_context(ModalityWriter(folder / f"{modality}.parquet", spec))
            for modality, spec in specs.items()
        }
        results = shards.read_each(entry.shard for entry in entries.values())
        for (utterance, entry), found in zip(entries.items(), results, strict=True):
            result = _checked(found, entry, utterance)
            row = _final_row(result.row, entry, padding)
            manifest.append(row)
            on_row(row)
            on_step()
            summary.add(row, {modality: spec.length for modality, spec in specs.items()})
            for modality, sequence in result.sequences.items():
                values, valid = sequence.features, sequence.valid
                if modality == "vision":
                    values, valid = pool_sequence(
                        values, window=padding.vision_pooling, valid=valid, shot_starts=result.shot_starts
                    )
                writers[modality].append(utterance, values, valid)
            if result.faces is not None:
                faces.append(face_table(utterance, result.faces, faces.schema), group_rows=FACE_ROWS_PER_GROUP)
            if result.fingerprints:
                words = fingerprint_table(utterance, result.fingerprints, fingerprints.schema)
                fingerprints.append(words, group_rows=ROWS_PER_GROUP)
            if result.shot_starts is not None:
                table = shot_table(utterance, result.shot_starts, result.row.n_frames or 0, shots.schema)
                shots.append(table, group_rows=FACE_ROWS_PER_GROUP)
    return summary


def _checked(result: ClipResult | None, entry: Entry, utterance: str) -> ClipResult:
    from fmltk.toolkit.features.shards import ClipResult

    if entry.shard is None:
        return ClipResult(entry.row)
    if result is None:
        raise DamagedShardsError([utterance])  # since the first pass
    return result


def _survey(
    shards: ShardFolder, entries: Mapping[str, Entry], padding: PaddingSettings, on_step: Callable[[], object]
) -> dict[str, _Survey]:
    surveys = {modality: _Survey() for modality in MODALITIES}
    damaged = []
    results = shards.read_each((entry.shard for entry in entries.values()), sequences=False)
    for (utterance, entry), result in zip(entries.items(), results, strict=True):
        on_step()
        if entry.shard is None:
            continue
        if result is None:
            damaged.append(utterance)
            continue
        present = [modality for modality in MODALITIES if result.row.modalities[modality].status == OK]
        if any(not surveys[modality].dimension for modality in present):
            sequences = shards.read(entry.shard).sequences
            for modality in present:
                surveys[modality].dimension = sequences[modality].features.shape[1]
                surveys[modality].has_mask = sequences[modality].valid is not None
        for modality in present:
            length = _steps(modality, result.row.modalities[modality].length or 0, padding)
            surveys[modality].lengths[utterance] = length
            if entry.row.split == "train":
                surveys[modality].training.append(length)
    if damaged:
        raise DamagedShardsError(damaged)
    return surveys


def _steps(modality: str, length: int, padding: PaddingSettings) -> int:
    """Return how many steps a sequence has after pooling."""
    return -(-length // padding.vision_pooling) if modality == "vision" else length


def _choose_length(modality: str, survey: _Survey, padding: PaddingSettings) -> int:
    if modality in padding.fixed:
        return padding.fixed[modality]
    lengths = list(survey.lengths.values())
    if padding.lengths_from == "train":
        lengths = survey.training
        if not lengths:
            raise ConfigError(
                f"--lengths-from train: no clip with {modality} is in the training split; "
                "give --transcripts with a column mode or split, or use --lengths-from all"
            )
    length = padded_length(lengths, n_sigmas=padding.n_sigmas)
    return min(length, padding.max_length.get(modality, length))


def _warn_of_length(summary: Summary, modality: str, length: int, survey: _Survey, padding: PaddingSettings) -> None:
    lengths = np.array(list(survey.lengths.values()))
    summary.modalities[modality].lengths = {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "p99": float(np.percentile(lengths, 99)),
        "max": int(lengths.max()),
    }
    if modality in padding.fixed:
        return
    longest = ", ".join(sorted(survey.lengths, key=lambda one: (-survey.lengths[one], one))[:3])
    if length > LONG_TAIL * np.percentile(lengths, 99):
        usual = np.percentile(lengths, 99)
        summary.warnings.append(
            f"{modality}: L is {length} steps, more than {LONG_TAIL} times what 99 % of the clips have ({usual:.0f}), "
            f"because of a few long ones ({longest}); --max-length {modality}=N caps it"
        )
    size = len(lengths) * length * survey.dimension * 4
    if size > SIZE_WARNING_BYTES:
        summary.warnings.append(
            f"{modality}: the padded table holds {size / (1 << 30):.0f} GB before compression; the longest clips are "
            f"{longest}; --max-length {modality}=N makes it smaller"
        )


def _remove_stale(folder: AnyPath, specs: Mapping[str, ModalitySpec]) -> None:
    """Remove the table of a modality that no clip has any more, so that no old numbers stay beside new ones."""
    for modality in MODALITIES:
        if modality not in specs:
            (folder / f"{modality}.parquet").unlink(missing_ok=True)


def _document(modality: str, survey: _Survey, padding: PaddingSettings, run: Mapping[str, Any]) -> dict[str, Any]:
    settings = run["settings"]
    document: dict[str, Any] = {
        "n_sigmas": padding.n_sigmas,
        "lengths_from": "fixed" if modality in padding.fixed else padding.lengths_from,
        "n_lengths": len(survey.training if padding.lengths_from == "train" else survey.lengths),
        "settings": settings,
        "versions": run["versions"],
        "feature_names": [],
        "feature_units": [],
        "rate_hz": None,
    }
    if modality == "text":
        document["model"] = run["text_model"]
    elif modality == "audio":
        from fmltk.toolkit.audio.acoustic import ACOUSTIC_FEATURES

        document |= {"rate_hz": ACOUSTIC_RATE_HZ, **_names(ACOUSTIC_FEATURES)}
    else:
        document |= {
            "layout": settings["vision_layout"],
            "pooling": padding.vision_pooling,
            "rate_hz": FRAME_RATE_HZ / padding.vision_pooling,
            **_names(_vision_features(settings)),
        }
    return document


def _vision_features(settings: Mapping[str, Any]) -> Any:
    if settings["vision_layout"] == OPENFACE_LAYOUT:
        from fmltk.toolkit.vision.openface.layout import openface_features

        return openface_features(settings["openface_groups"] or None)
    from fmltk.toolkit.vision.geometry import GEOMETRY_FEATURES

    return GEOMETRY_FEATURES


def _names(features: Any) -> dict[str, list[str]]:
    return {"feature_names": [one[0] for one in features], "feature_units": [one[1] for one in features]}


def _final_row(row: ClipRow, entry: Entry, padding: PaddingSettings) -> ClipRow:
    """Return a clip's row with what the transcripts say now, its visual length in steps after pooling."""
    now = entry.row
    row = replace(row, split=now.split, language=now.language, text=now.text, text_source=now.text_source)
    row = replace(row, warnings=(*_warnings(row, of_transcript=False), *_warnings(now, of_transcript=True)))
    vision = row.modalities["vision"]
    if entry.shard is None or vision.length is None:
        return row
    return row.with_modality("vision", replace(vision, length=_steps("vision", vision.length, padding)))


def _warnings(row: ClipRow, *, of_transcript: bool) -> list[str]:
    return [one for one in row.warnings if one.startswith(TRANSCRIPT_WARNING) == of_transcript]
