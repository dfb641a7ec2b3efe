"""A run's work: which clips have a shard of their present input, which are to be done, and what becomes of each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError, RunError, StoreError
from fmltk.toolkit.features.clip_row import FAILED, OK, ClipRow, failed_row, rows_without_work
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shards import ClipResult, ShardFolder, shard_key, with_failure
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.io.paths import look_up
from fmltk.toolkit.run.assemble import Entry
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, hash_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.engine import Outcome
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings

EXTRACT, COMPLETE = "extract", "complete"  # what a worker can do with a clip: its methods
# What the tables need of a clip besides its shard.
WITH_SHARD = ("utterance_id", "split", "language", "text", "text_source", "warnings")
TIMEOUT_S = 180.0  # for a clip, plus
TIMEOUT_PER_VIDEO_S = 60.0  # per second of video: three times what full detection in 1080p needs


def clip_timeout_s(duration_s: float) -> float:
    """Return how long a clip of that duration may take unless --clip-timeout says otherwise."""
    return TIMEOUT_S + TIMEOUT_PER_VIDEO_S * duration_s


def split_input(input_hash: str) -> tuple[str, str, str]:
    """Return what stands for a clip's files, for its text and for its feature sets; "" where it is not there."""
    media, text, sets = (*input_hash.split("-"), "", "")[:3]
    return media, text, sets


def replaced_sets(held: str, wanted: str, *, new_text: bool) -> str:
    """Return what stands for the input of a shard that gets the sets of `wanted`; new_text: its text as well.

    >>> replaced_sets("m-t", "n-u-s", new_text=False)
    'm-t-s'
    """
    media, text, _ = split_input(held)
    _, wanted_text, sets = split_input(wanted)
    return f"{media}-{wanted_text if new_text else text}-{sets}"


def entries_of_manifest(manifest: AnyPath, names: Mapping[str, str]) -> dict[str, Entry]:
    """Return every clip of the manifest; only what was read from a file, or is text alone, has a shard that counts.

    names : of the shards, by their keys

    Raises StoreError if a shard is gone.
    """
    entries = {}
    with open_parquet(manifest) as file, reading(manifest):
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                utterance = row["utterance_id"]
                is_extracted = row["sha256"] or row["text_status"] == OK
                name = names.get(shard_key(utterance)) if is_extracted else None
                if name is None and is_extracted:
                    raise StoreError(f"{utterance}: its shard is gone; run `fmltk extract` again")
                kept = row if name is None else {column: row.get(column) for column in WITH_SHARD}
                entries[utterance] = Entry(ClipRow.from_columns(kept), name)
    return entries


@dataclass(slots=True)
class Work:
    """The clips of a run.

    Attributes
    ----------
    clips, input_hashes
        The clips that have a file to extract, and the hash of each one's input, by utterance_id.
    rows
        The rows of the clips that need no work.
    shards, names
        The folder of shards, and the name of each clip's shard by its key.
    keys
        Of the feature sets that every clip has.
    durations_s
        The durations of the clips whose files were looked at.
    new_texts
        The clips whose transcript is another than the shard's.
    """

    clips: dict[str, Clip]
    input_hashes: dict[str, str]
    rows: dict[str, ClipRow]
    shards: ShardFolder
    keys: tuple[str, ...]
    names: dict[str, str] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)
    new_texts: set[str] = field(default_factory=set)

    @classmethod
    def plan(cls, catalog: Catalog, settings: ExtractSettings, paths: RunPaths) -> Work:
        """Return the clips to work on with the shards they have, and the rows of those that need no work."""
        keys = paths.keys or settings.modalities
        rows = rows_without_work(catalog.clips, keys)
        clips = {clip.utterance_id: clip for clip in catalog.clips if clip.utterance_id not in rows}
        look_up(clip.path for clip in clips.values())
        hashes = {utterance: hash_input(clip, settings, paths) for utterance, clip in clips.items()}
        shards = ShardFolder(paths.features / SHARD_FOLDER)
        return cls(clips, hashes, rows, shards, keys, shards.names())

    def pending(self, *, retry_failed: bool) -> dict[str, str]:
        """Return what is to be done: EXTRACT without a shard of the present files, COMPLETE where text or sets are new.

        Raises ConfigError if clips would lose the text that they have.
        """
        pending: dict[str, str] = {}
        losing = []
        for utterance, input_hash in self.input_hashes.items():
            name = self.shard_name(utterance)
            held_media, held_text, held_sets = split_input(name.split(".")[1] if name else "")
            media, text, sets = split_input(input_hash)
            if held_media != media:
                pending[utterance] = EXTRACT
            elif (held_text, held_sets) != (text, sets):
                pending[utterance] = COMPLETE
                if held_text != text:
                    self.new_texts.add(utterance)
                    if self.clips[utterance].text is None and "text" in self.keys:
                        losing.append(utterance)
            elif retry_failed and name is not None and self.has_failed(name):
                pending[utterance] = EXTRACT
        if losing:
            raise ConfigError(
                f"{len(losing)} clips have text from an earlier run and no transcript now ({', '.join(losing[:3])}); "
                "give the --transcripts or --transcribe again, or choose another folder with -o"
            )
        return pending

    def has_failed(self, name: str) -> bool:
        """Return whether a shard is of a clip that failed, or is damaged."""
        try:
            return self.shards.read(name, sequences=False).row.status == FAILED
        except StoreError:
            return True

    def shard_name(self, utterance: str) -> str | None:
        """Return the name of the clip's shard; None where it has none."""
        return self.names.get(shard_key(utterance))

    def task(self, utterance: str) -> ClipTask:
        """Return what a worker needs to do the clip."""
        new_text = utterance in self.new_texts
        return ClipTask(self.clips[utterance], self.input_hashes[utterance], self.shard_name(utterance), new_text)

    def timeout_s(self, utterance: str) -> float:
        """Return how long the clip may take unless --clip-timeout says otherwise."""
        return clip_timeout_s(self.durations_s.get(utterance, 0.0))

    def settle(self, outcome: Outcome[str]) -> ClipOutput:
        """Record what became of a clip. Where its worker could not write the shard, died or hung, it is written here.

        Raises the outcome's error if it is not of this one clip, such as a full disk.
        """
        utterance = outcome.task.key
        task = self.task(utterance)
        if outcome.error is None:
            output: ClipOutput = outcome.value
            if output.data is not None:
                self.shards.put(output.name, output.data, older=task.older)
        elif isinstance(outcome.error, RunError):
            result = self._failed(task, outcome)
            output = ClipOutput(self.shards.write(result, task.input_hash, older=task.older), FAILED)
        else:
            raise outcome.error
        self.names[shard_key(utterance)] = output.name
        return output

    def _failed(self, task: ClipTask, outcome: Outcome[str]) -> ClipResult:
        """Return the result of a clip whose worker died or hung; what was made of it before stays."""
        assert outcome.error is not None  # noqa: S101 - it failed
        if outcome.task.method == COMPLETE and task.older is not None and not task.new_text:
            with contextlib.suppress(StoreError):
                held = self.shards.read(task.older)
                return with_failure(held, held.row.lacking(self.keys), outcome.error)
        return ClipResult(failed_row(task.clip, outcome.error, self.keys))

    def drop(self, utterance: str) -> None:
        """Remove a clip's shard, which is damaged."""
        self.shards.remove(self.names.pop(shard_key(utterance)))

    def entries(self, catalog: Catalog) -> dict[str, Entry]:
        """Return every clip of the catalogue as the tables are made of it."""
        entries = {}
        for clip in catalog.clips:
            utterance = clip.utterance_id
            shard = self.shard_name(utterance) if utterance in self.clips else None
            entries[utterance] = Entry(self.rows.get(utterance) or ClipRow.of(clip), shard)
        return entries

    def n_left_out(self, catalog: Catalog) -> int:
        """Return how many shards are of clips that the catalogue does not have."""
        keys = {shard_key(clip.utterance_id) for clip in catalog.clips}
        return sum(key not in keys for key in self.names)

    def n_done_again(self, pending: Mapping[str, str]) -> int:
        """Return how many of the pending clips have a shard that is out of date or failed."""
        return sum(how == EXTRACT and self.shard_name(utterance) is not None for utterance, how in pending.items())
