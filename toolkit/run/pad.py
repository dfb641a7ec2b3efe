"""Padding a feature folder again from its shards; the videos are not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.clip_row import OK, ClipRow
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.layout import MANIFEST_FILE, RUN_FILE, SHARD_FOLDER
from fmltk.toolkit.features.shards import ShardFolder, shard_key
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.run.assemble import Entry, assemble
from fmltk.toolkit.run.folder import held, read_run
from fmltk.toolkit.settings import PaddingSettings

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.summary import Summary

WITH_SHARD = (
    "utterance_id",
    "split",
    "language",
    "text",
    "text_source",
    "warnings",
)  # what the tables need of a clip beside its shard


def pad(features: str | AnyPath, padding: PaddingSettings, *, reporter: Reporter | None = None) -> Summary:
    """Pad a feature folder's sequences again, from its shards; the videos are not needed.

    Raises StoreError if `features` is not a feature folder or its shards are gone, DamagedFileError if a shard is
    damaged.
    """
    folder = locate(features)
    reporter = reporter or Reporter(quiet=True)
    if not (folder / RUN_FILE).is_file():
        raise StoreError(
            f"{folder} has no {RUN_FILE}: expected a folder that `fmltk extract` wrote; "
            "features that are aligned to words are padded by `fmltk align`, as --lambda and --length say"
        )
    with held(folder):
        run = read_run(folder)
        shards = ShardFolder(folder / SHARD_FOLDER)
        entries = _entries(folder / MANIFEST_FILE, shards.names())
        with reporter.progress("Writing tables", 2 * len(entries), unit="steps") as progress:
            summary = assemble(folder, shards, entries, padding=padding, run=run, on_step=progress.advance)
    for warning in summary.warnings:
        reporter.warn(warning)
    return summary


def _entries(manifest: AnyPath, names: dict[str, str]) -> dict[str, Entry]:
    """Return every clip of the manifest; only what was read from a file, or is text alone, has a shard that counts."""
    entries = {}
    with open_parquet(manifest) as file, reading(manifest):
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                utterance = row["utterance_id"]
                is_extracted = row["sha256"] or row["text_status"] == OK
                name = names.get(shard_key(utterance)) if is_extracted else None
                if name is None and is_extracted:
                    raise StoreError(f"{utterance}: its shard is gone; run `fmltk extract` again")
                kept = row if name is None else {column: row[column] for column in WITH_SHARD}
                entries[utterance] = Entry(ClipRow.from_columns(kept), name)
    return entries


def recorded_padding(features: str | AnyPath) -> PaddingSettings:
    """Return the padding that a feature folder's tables have now. Raises StoreError if there is no such folder."""
    return PaddingSettings.from_document(read_features(features).settings().get("padding", {}))
