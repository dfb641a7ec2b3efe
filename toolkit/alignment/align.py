"""From a feature folder and words in time to a feature folder whose steps are words.

Two passes: words are matched with transcripts, which gives the lengths and L; then clips are read one by one from the
shards, averaged and written. Memory holds the rows and words of all clips, and the features of one clip and of one row
group per modality.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from fmltk.toolkit.alignment.aligned_clip import align_tokens, align_words, words_schema, words_table
from fmltk.toolkit.alignment.clip_words import words_of_clips
from fmltk.toolkit.alignment.forced import find_aligner, forced_words
from fmltk.toolkit.alignment.plan import plan_clips
from fmltk.toolkit.alignment.sources import read_words
from fmltk.toolkit.clip import MODALITIES, modality_of
from fmltk.toolkit.errors import ConfigError, DamagedFileError, FeatureError, StoreError
from fmltk.toolkit.features.clip_row import FAILED, MISSING, OK, ClipRow, ModalityStatus
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.layout import MANIFEST_FILE, SCHEMA_VERSION, SHARD_FOLDER, WORDS_FILE, check_target
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.features.shards import ShardFolder, shard_key
from fmltk.toolkit.io.outputs import hold_folder
from fmltk.toolkit.io.parquet import TableWriter, encode_metadata, open_parquet, reading
from fmltk.toolkit.run.summary import ModalitySummary, Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fmltk.toolkit.alignment.aligned_clip import AlignedClip
    from fmltk.toolkit.alignment.clip_words import ClipWords
    from fmltk.toolkit.alignment.plan import Plan
    from fmltk.toolkit.alignment.settings import AlignSettings
    from fmltk.toolkit.alignment.sources import SourceOptions
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.feature_set import FeatureSet
    from fmltk.toolkit.features.sequences import ModalityTable
    from fmltk.toolkit.features.shards import ClipResult
    from fmltk.toolkit.io.paths import AnyPath

    Words: TypeAlias = Callable[
        [Mapping[str, ClipRow]], ClipWords
    ]  # what says when the words of these clips are spoken

_OF_ONE_FILE = ("schema_version", "modality", "dimension", "length")  # what ModalitySpec says itself


def words_given(source: Path, how: SourceOptions, *, clock: str, reporter: Reporter) -> tuple[str, Words]:
    """Return what a file or folder of word times is called, and what gives the clips' words by it.

    Raises as `read_words` does.
    """
    found = read_words(source, how)
    for note in found.notes:
        reporter.say(note)
    return source.name, lambda rows: words_of_clips(found.recordings, rows, clock=clock)


def words_heard(aligner: str, videos: Path | None, reporter: Reporter) -> tuple[str, Words]:
    """Return what an aligner is called, and what gives the clips' words by it. Raises as `find_aligner` does."""
    found = find_aligner(aligner)
    return found.name, lambda rows: forced_words(found, rows, videos, reporter)


def align(
    features: AnyPath, words: Words, out: Path, *, source: str, settings: AlignSettings, reporter: Reporter
) -> Summary:
    """Write the features of a folder averaged over each word, as a feature folder.

    Parameters
    ----------
    features
        A folder that `fmltk extract` wrote: its shards are read.
    words
        Called with the rows of the clips that have features, by utterance_id.
    source
        The source of the words, for the folder's metadata.

    Raises ConfigError or StoreError if `features` has no shards or they do not say where tokens are, `out` holds
    something else, or no clip can be aligned; DamagedFileError if a shard is damaged.
    """
    check_target(out)
    held = read_features(features)
    names = ShardFolder(held.path / SHARD_FOLDER).names()
    if not names:
        raise StoreError(
            f"{held.path} has no shards, whose steps words are averaged from; give a folder that `fmltk extract` wrote"
        )
    _check_out(out)
    rows = _read_rows(held.path / MANIFEST_FILE)
    usable = _usable(rows, names)
    _check_first_spans(held, usable, names)
    given = words(usable)
    for note in given.notes:
        reporter.say(note)
    plan = plan_clips(usable, given, settings)
    if not plan.lengths:
        first = next(iter(plan.faults.items()), None)
        raise FeatureError("no clip can be aligned" + (f"; the first, {first[0]}: {first[1]}" if first else ""))
    _say(plan, reporter)
    with hold_folder(out), reporter.progress("Aligning", len(rows)) as progress:
        writer = _Writer(held, out, {**asdict(settings), "source": source}, _length(plan, rows, settings))
        results = writer.shards.read_each(names[shard_key(one)] if one in plan.steps else None for one in rows)
        with writer:
            for row, result in zip(rows.values(), results, strict=True):
                writer.write(row, result, plan, settings)
                progress.advance()
    for modality in held.modalities:
        counted = plan.lengths.values()
        writer.summary.modalities[modality].lengths = {"min": min(counted), "max": max(counted)}
    return writer.summary


def _usable(rows: Mapping[str, ClipRow], names: Mapping[str, str]) -> dict[str, ClipRow]:
    """Return the clips that have features. Raises StoreError if the shard of one is gone."""
    usable = {one: row for one, row in rows.items() if _has_features(row)}
    gone = next((one for one in usable if shard_key(one) not in names), None)
    if gone is not None:
        raise StoreError(f"{gone}: its shard is gone; run the same `fmltk extract` again")
    return usable


def _length(plan: Plan, rows: Mapping[str, ClipRow], settings: AlignSettings) -> dict[str, Any]:
    """Return L and where it comes from, as the tables' metadata have it."""
    training = [n for one, n in plan.lengths.items() if rows[one].split == "train"]
    counted = training if settings.lengths_from == "train" else list(plan.lengths.values())
    return {
        "length": settings.padded_length(counted),
        "n_sigmas": settings.n_sigmas,
        "lengths_from": "fixed" if settings.length else settings.lengths_from,
        "n_lengths": len(counted),
    }


def _has_features(row: ClipRow) -> bool:
    return any(outcome.status == OK for outcome in row.modalities.values())


def _read_rows(manifest: AnyPath) -> dict[str, ClipRow]:
    rows = {}
    with open_parquet(manifest) as file, reading(manifest):
        for batch in file.iter_batches():
            for columns in batch.to_pylist():
                rows[columns["utterance_id"]] = ClipRow.from_columns(columns)
    return rows


def _check_out(out: Path) -> None:
    """Raise ConfigError where another command's tables lie: `check_target` has looked for shards and runs."""
    if (out / MANIFEST_FILE).is_file() and "alignment" not in read_features(out).settings():
        raise ConfigError(f"{out} holds features that are not aligned; name another folder with -o")


def _check_first_spans(held: FeatureSet, usable: Mapping[str, ClipRow], names: Mapping[str, str]) -> None:
    """Check the first shard that has text, before any work."""
    with_text = next((one for one, row in usable.items() if row.modalities["text"].status == OK), None)
    if with_text is not None:
        _check_spans(ShardFolder(held.path / SHARD_FOLDER).read(names[shard_key(with_text)]), held.path)


def _check_spans(result: ClipResult, folder: AnyPath) -> None:
    """Raise StoreError where a shard has text and does not say which characters its tokens stand for."""
    if "text" in result.sequences and result.token_spans is None:
        raise StoreError(
            f"{folder} does not say where tokens are in the transcripts: its text model has no fast tokenizer, or "
            "an earlier fmltk extracted it; extract into another folder (-o), with such a model"
        )


def _say(plan: Plan, reporter: Reporter) -> None:
    counts = plan.counts
    reporter.say(
        f"{counts['words']} words of {len(plan.steps)} clips; {counts['different']} are others in the source, "
        f"{counts['untimed']} have no time in it, {counts['left_out']} of the source are not in the transcripts "
        "(named in manifest.parquet, warnings)"
    )


def _rate_hz(table: ModalityTable) -> float | None:
    """Return the steps per second of a set in shards, before pooling; None where a step is the whole clip."""
    rate_hz = table.document.get("rate_hz")
    return None if rate_hz is None else float(rate_hz) * int(table.document.get("pooling") or 1)


class _Writer:
    """The tables of an aligned folder, while they are written; they appear when nothing fails, the manifest last."""

    def __init__(self, held: FeatureSet, out: Path, alignment: Mapping[str, Any], padding: Mapping[str, Any]) -> None:
        self.shards, self.summary = ShardFolder(held.path / SHARD_FOLDER), Summary(out)
        self._stack = contextlib.ExitStack()
        self._out, self._source, self._length = out, held.path, int(padding["length"])
        self._specs = {
            modality: ModalitySpec(
                modality, table.dimension, self._length, True, _document(table.document, alignment, padding)
            )
            for modality, table in held.modalities.items()
        }
        document = {
            **held.settings(),
            "padding": padding,
            "alignment": dict(alignment),
            "schema_version": SCHEMA_VERSION,
        }
        self._rates_hz = {key: _rate_hz(table) for key, table in held.modalities.items() if modality_of(key) != "text"}
        further = [key for key in held.modalities if key not in MODALITIES]
        self._manifest = ManifestWriter(out / MANIFEST_FILE, document, further)
        schema = words_schema().with_metadata(encode_metadata({"alignment": dict(alignment)}))
        self._words = TableWriter(out / WORDS_FILE, schema)
        self._writers: dict[str, ModalityWriter] = {}

    def __enter__(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._manifest)
            stack.enter_context(self._words)
            for modality, spec in self._specs.items():
                self._writers[modality] = stack.enter_context(ModalityWriter(self._out / f"{modality}.parquet", spec))
                self.summary.modalities.setdefault(modality, ModalitySummary()).length = spec.length
            self._stack = stack.pop_all()

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)
        for modality, one in self.summary.modalities.items():
            if exception[0] is None and not one.counts[OK]:  # no clip has it, or an earlier run wrote it
                (self._out / f"{modality}.parquet").unlink(missing_ok=True)

    def write(self, row: ClipRow, result: ClipResult | None, plan: Plan, settings: AlignSettings) -> None:
        """Write one clip: its features by word where it is in the plan, else its row with the reason."""
        utterance = row.utterance_id
        if utterance in plan.faults:
            row = _failed(row, plan.faults[utterance])
        elif utterance in plan.steps:
            if result is None:
                raise DamagedFileError(f"{utterance}: its shard is damaged; run the same `fmltk extract` again")
            _check_spans(result, self._source)
            steps = plan.steps[utterance]
            clip = (
                align_tokens(result, steps, self._rates_hz)
                if settings.unit == "token"
                else align_words(result, steps, self._rates_hz, text_pooling=settings.text_pooling)
            )
            row = self._write_sequences(row, clip).with_warnings(*plan.warnings[utterance])
            self._words.append(words_table(utterance, clip).cast(self._words.schema))
        self._manifest.append(row)
        self.summary.add(row, dict.fromkeys(self._specs, self._length))

    def _write_sequences(self, row: ClipRow, clip: AlignedClip) -> ClipRow:
        unplaced = [key for key, one in row.modalities.items() if one.status == OK and key not in clip.sequences]
        for key in unplaced:
            reason = f"where the tokens of {key} are in the transcript is not known"
            row = row.with_modality(key, ModalityStatus(MISSING, None, "MissingModalityError", reason))
        for modality, sequence in clip.sequences.items():
            if sequence.valid is not None and sequence.valid.any():
                self._writers[modality].append(row.utterance_id, sequence.features, sequence.valid)
                row = row.with_modality(modality, ModalityStatus(OK, len(sequence.features)))
            else:
                reason = f"no word of the clip has a valid step of {modality}"
                row = row.with_modality(modality, ModalityStatus(MISSING, None, "MissingModalityError", reason))
        return row.settled()


def _failed(row: ClipRow, reason: str) -> ClipRow:
    """Return the row of a clip that could not be aligned: what it had of features is failed, with the reason."""
    failed = ModalityStatus(FAILED, None, FeatureError.__name__, reason)
    for modality, outcome in row.modalities.items():
        if outcome.status == OK:
            row = row.with_modality(modality, failed)
    return replace(row.settled(), error_message=reason)


def _document(own: Mapping[str, Any], alignment: Mapping[str, Any], padding: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table says of itself: what the features' own says, and that its steps are words."""
    document = {name: value for name, value in own.items() if name not in _OF_ONE_FILE}
    document |= {**padding, "rate_hz": None, "aligned_to": alignment["unit"], "alignment": dict(alignment)}
    if own.get("modality") == "text":
        document["text_pooling"] = alignment["text_pooling"] if alignment["unit"] != "token" else "token"
    if "pooling" in document:
        document["pooling"] = 1
    return document
