"""From shards to the feature folder's tables: the padded length, and every row written in a fixed order.

Two passes over the shards: the first takes lengths, the second writes. Memory holds the ids and lengths of all clips,
and the features of one row group per modality.
"""

from __future__ import annotations

import contextlib
import itertools
from abc import ABC, abstractmethod
from array import array
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fmltk.toolkit.clip import MODALITIES, modality_of
from fmltk.toolkit.errors import ConfigError, DamagedFileError, FeatureError
from fmltk.toolkit.features.clip_row import OK, TRANSCRIPT_WARNING, ClipRow, ModalityStatus
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
from fmltk.toolkit.features.layout import MANIFEST_FILE, SCHEMA_VERSION, table_file
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.padding import padded_length, pool_sequence
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.features.shards import with_failure
from fmltk.toolkit.io.parquet import ROWS_PER_GROUP, TableWriter
from fmltk.toolkit.run.sets import set_description, set_keys
from fmltk.toolkit.run.summary import ModalitySummary, Summary
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fmltk.toolkit.features.shards import ClipResult, SequenceLength, ShardFolder
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.settings import PaddingSettings

LONG_TAIL = 2  # a warning where L exceeds this many times the 99th percentile of the lengths
_NAMED = 3  # of the longest clips
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


class Place(NamedTuple):
    """The place of a clip's sequences: the name of its shard, None where it has none; and its split."""

    utterance_id: str
    split: str | None
    shard: str | None


class Entries(ABC):
    """The clips of a folder in the order of its tables. They are gone through twice, so that nobody need hold all."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many clips there are."""

    @abstractmethod
    def __iter__(self) -> Iterator[Entry]:
        """Yield every clip."""

    def places(self) -> Iterator[Place]:
        """Yield which shard each clip has."""
        for entry in self:
            yield Place(entry.row.utterance_id, entry.row.split, entry.shard)


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
    """The first pass's findings of a feature set.

    lengths : true lengths in the order of the clips; training: of those in the training split; first: the first clip;
    longest : negative length and clip of the longest few, the longest first
    dimension : of the first clip; has_mask: whether a clip has one
    others : why clips are left out that have another dimension, by clip
    """

    lengths: array[int] = field(default_factory=lambda: array("i"))
    training: array[int] = field(default_factory=lambda: array("i"))
    first: str = ""
    longest: list[tuple[int, str]] = field(default_factory=list)
    dimension: int = 0
    has_mask: bool = False
    others: dict[str, FeatureError] = field(default_factory=dict)

    def add(self, place: Place, length: int, sequence: SequenceLength) -> None:
        """Take note of a clip's sequence; every clip has as many features per step as the first."""
        self.dimension, self.first = self.dimension or sequence.dimension, self.first or place.utterance_id
        if sequence.dimension != self.dimension:
            self.others[place.utterance_id] = FeatureError(
                f"the set gave {sequence.dimension} features per step, and {self.dimension} of {self.first}"
            )
            return
        self.has_mask |= sequence.has_mask
        self.lengths.append(length)
        if place.split == "train":
            self.training.append(length)
        if len(self.longest) < _NAMED or length >= -self.longest[-1][0]:
            self.longest = sorted([*self.longest, (-length, place.utterance_id)])[:_NAMED]


def assemble(
    folder: AnyPath,
    shards: ShardFolder,
    entries: Entries,
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
    pooling = {key: _pooling(key, padding, run) for key in set_keys(run)}
    surveys = _survey(shards, entries, pooling, on_step)
    summary = Summary(folder)
    specs = {}
    for key, survey in surveys.items():
        if survey.lengths:
            length = _choose_length(key, survey, padding)
            specs[key] = ModalitySpec(
                key, survey.dimension, length, survey.has_mask, _document(key, survey, padding, run)
            )
            summary.modalities.setdefault(key, ModalitySummary()).length = length
            _warn_of_length(summary, key, length, survey, padding)
    strangers = sorted({*padding.fixed, *padding.max_length} - {*surveys, *MODALITIES})
    if strangers:
        summary.warnings.append(
            f"a length was given of {', '.join(strangers)}, which the folder does not have; it has {', '.join(surveys)}"
        )
    _remove_stale(folder, surveys, specs)
    further = [key for key in surveys if key not in MODALITIES]
    document = {**run, "padding": padding.document(), "schema_version": SCHEMA_VERSION}
    with contextlib.ExitStack() as stack:
        manifest = stack.enter_context(ManifestWriter(folder / MANIFEST_FILE, document, further))  # the last to appear
        faces = stack.enter_context(TableWriter(folder / FACE_FILE, face_schema(run)))
        shots = stack.enter_context(TableWriter(folder / SHOT_FILE, shot_schema(run)))
        fingerprints = stack.enter_context(TableWriter(folder / FINGERPRINT_FILE, fingerprint_schema()))
        writers = {
            key: stack.enter_context(ModalityWriter(folder / table_file(key), spec)) for key, spec in specs.items()
        }
        lengths = {key: spec.length for key, spec in specs.items()}
        entered, named = itertools.tee(entries)
        results = shards.read_each(entry.shard for entry in named)
        for entry, found in zip(entered, results, strict=True):
            utterance = entry.row.utterance_id
            result = _checked(found, entry, utterance)
            for key, survey in surveys.items():
                if utterance in survey.others:
                    result = with_failure(result, [key], survey.others[utterance])
            row = _final_row(result.row, entry, pooling)
            manifest.append(row)
            on_row(row)
            on_step()
            summary.add(row, lengths)
            for key in specs:
                if row.modalities[key].status == OK:
                    one = result.sequences[key]
                    values, valid = pool_sequence(
                        one.features, window=pooling[key], valid=one.valid, shot_starts=result.shot_starts
                    )
                    writers[key].append(utterance, values, valid)
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
    shards: ShardFolder, entries: Entries, pooling: Mapping[str, int], on_step: Callable[[], object]
) -> dict[str, _Survey]:
    surveys = {key: _Survey() for key in pooling}
    damaged = []
    places, named = itertools.tee(entries.places())
    for place, found in zip(places, shards.read_lengths(one.shard for one in named), strict=True):
        on_step()
        if found is None and place.shard is not None:
            damaged.append(place.utterance_id)
        for key, sequence in (found or {}).items():
            if key in surveys:
                surveys[key].add(place, -(-sequence.n_steps // pooling[key]), sequence)
    if damaged:
        raise DamagedShardsError(damaged)
    return surveys


def _pooling(key: str, padding: PaddingSettings, run: Mapping[str, Any]) -> int:
    """Return how many steps of a set become one: of visual sets of 30 Hz, as many as --vision-pooling says."""
    rate_hz = run.get("sets", {}).get(key, {}).get("rate_hz", FRAME_RATE_HZ)  # a default set's is that
    return padding.vision_pooling if modality_of(key) == "vision" and rate_hz == FRAME_RATE_HZ else 1


def _choose_length(key: str, survey: _Survey, padding: PaddingSettings) -> int:
    if key in padding.fixed:
        return padding.fixed[key]
    lengths = survey.lengths
    if padding.lengths_from == "train":
        lengths = survey.training
        if not lengths:
            raise ConfigError(
                f"--lengths-from train: no clip with {key} is in the training split; "
                "give --transcripts with a column mode or split, or use --lengths-from all"
            )
    length = padded_length(np.array(lengths), n_sigmas=padding.n_sigmas)
    return min(length, padding.max_length.get(key, padding.max_length.get(modality_of(key), length)))


def _warn_of_length(summary: Summary, modality: str, length: int, survey: _Survey, padding: PaddingSettings) -> None:
    lengths = np.array(survey.lengths)
    summary.modalities[modality].lengths = {
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "p99": float(np.percentile(lengths, 99)),
        "max": int(lengths.max()),
    }
    if modality in padding.fixed:
        return
    longest = ", ".join(utterance for _, utterance in survey.longest)
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


def _remove_stale(folder: AnyPath, keys: Iterable[str], specs: Mapping[str, ModalitySpec]) -> None:
    """Remove the table of a set that no clip has any more, so that no old numbers stay next to new ones."""
    for key in {*MODALITIES, *keys} - set(specs):
        (folder / table_file(key)).unlink(missing_ok=True)


def _document(key: str, survey: _Survey, padding: PaddingSettings, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a set's table says of it besides its shape."""
    settings = run["settings"]
    document: dict[str, Any] = {
        "n_sigmas": padding.n_sigmas,
        "lengths_from": "fixed" if key in padding.fixed else padding.lengths_from,
        "n_lengths": len(survey.training if padding.lengths_from == "train" else survey.lengths),
        "settings": settings,
        "versions": run["versions"],
        **set_description(key, run),
    }
    if modality_of(key) == "vision":
        pooling = _pooling(key, padding, run)
        rate_hz = document["rate_hz"]
        document |= {"pooling": pooling, "rate_hz": None if rate_hz is None else rate_hz / pooling}
    return document


def _final_row(row: ClipRow, entry: Entry, pooling: Mapping[str, int]) -> ClipRow:
    """Return a clip's row with what the transcripts say now, every set, and lengths in steps after pooling."""
    now = entry.row
    outcomes = {**dict.fromkeys(pooling, ModalityStatus()), **row.modalities}
    for key, window in pooling.items():
        length = outcomes[key].length
        if entry.shard is not None and window > 1 and length is not None:
            outcomes[key] = replace(outcomes[key], length=-(-length // window))
    return replace(
        row,
        split=now.split,
        language=now.language,
        text=now.text,
        text_source=now.text_source,
        warnings=(*_warnings(row, of_transcript=False), *_warnings(now, of_transcript=True)),
        modalities=outcomes,
    )


def _warnings(row: ClipRow, *, of_transcript: bool) -> list[str]:
    return [one for one in row.warnings if one.startswith(TRANSCRIPT_WARNING) == of_transcript]
