"""Padding a feature folder again from its shards; the videos are not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.layout import MANIFEST_FILE, RUN_FILE, SHARD_FOLDER
from fmltk.toolkit.features.shards import ShardFolder
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.run.assemble import assemble
from fmltk.toolkit.run.folder import held, read_run
from fmltk.toolkit.run.work import ManifestEntries
from fmltk.toolkit.settings import PaddingSettings

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.summary import Summary


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
        entries = ManifestEntries(folder / MANIFEST_FILE, shards.names())
        with reporter.progress("Writing tables", 2 * len(entries), unit="steps") as progress:
            summary = assemble(folder, shards, entries, padding=padding, run=run, on_step=progress.advance)
    for warning in summary.warnings:
        reporter.warn(warning)
    return summary


def recorded_padding(features: str | AnyPath) -> PaddingSettings:
    """Return the padding that a feature folder's tables have now. Raises StoreError if the folder does not exist."""
    return PaddingSettings.from_document(read_features(features).settings().get("padding", {}))
