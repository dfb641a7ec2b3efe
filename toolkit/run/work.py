"""A run's work: which clips have a shard of their present input, which are to be done, and what becomes of each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError, RunError, StoreError
from fmltk.toolkit.features.clip_row import FAILED, OK, ClipRow, failed_row, rows_without_work
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shard_names import ShardNames
from fmltk.toolkit.features.shards import ClipResult, ShardFolder, shard_key, with_failure
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.io.paths import look_up
from fmltk.toolkit.run.assemble import Entries, Entry, Place
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, hash_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.engine import Outcome
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings

EXTRACT, COMPLETE = "extract", "complete"  # what a worker can do with a clip: its methods
# The columns of a clip that the tables need besides its shard.
WITH_SHARD = ("utterance_id", "split", "language", "text", "text_source", "warnings")
_BATCH_CLIPS = 1024  # of a manifest that is read a part at a time
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


class ManifestEntries(Entries):
    """Every clip of a manifest; only what was read from a file, or is text alone, has a shard that counts.

    names : of the shards, by their keys

    Raises StoreError, while it is gone through, if a shard is gone.
    """

    def __init__(self, manifest: AnyPath, names: Mapping[str, str]) -> None:
        self._manifest, self._names = manifest, names
        with open_parquet(manifest) as file:
            self._n: int = file.metadata.num_rows

    def __len__(self) -> int:
        return self._n

    def places(self) -> Iterator[Place]:
        """Yield which shard each clip has."""
        for batch in self._batches(("utterance_id", "split", "sha256", "text_status")):
            for row in batch.to_pylist():
                yield Place(row["utterance_id"], row["split"], self._shard(row))

    def __iter__(self) -> Iterator[Entry]:
        for batch in self._batches(None):
            wanted = [name for name in (*WITH_SHARD, "sha256", "text_status") if name in batch.schema.names]
            for number, row in enumerate(batch.select(wanted).to_pylist()):
                name = self._shard(row)
                if name is None:
                    (kept,) = batch.slice(number, 1).to_pylist()
                else:
                    kept = {column: row.get(column) for column in WITH_SHARD}
                yield Entry(ClipRow.from_columns(kept), name)

    def _batches(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        with open_parquet(self._manifest) as file, reading(self._manifest):
            yield from file.iter_batches(_BATCH_CLIPS, columns=columns, use_threads=False)

    def _shard(self, row: Mapping[str, Any]) -> str | None:
        if not (row["sha256"] or row["text_status"] == OK):
            return None
        name = self._names.get(shard_key(row["utterance_id"]))
        if name is None:
            raise StoreError(f"{row['utterance_id']}: its shard is gone; run `fmltk extract` again")
        return name


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
        The keys of the feature sets that every clip has.
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
    names: ShardNames = field(default_factory=ShardNames)
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
            return self.shards.read_row(name).status == FAILED
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
        """Record what became of a clip. If its worker could not write the shard, died or hung, it is written here.

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

    def entries(self, catalog: Catalog) -> Entries:
        """Return every clip of the catalogue as the tables are made of it."""
        return _WorkEntries(self, catalog)

    def n_left_out(self, catalog: Catalog) -> int:
        """Return how many shards are of clips that the catalogue does not have."""
        return len(self.names) - sum(shard_key(clip.utterance_id) in self.names for clip in catalog.clips)

    def n_done_again(self, pending: Mapping[str, str]) -> int:
        """Return how many of the pending clips have a shard that is out of date or failed."""
        return sum(how == EXTRACT and self.shard_name(utterance) is not None for utterance, how in pending.items())


class _WorkEntries(Entries):
    """The clips of a catalogue, whose rows are made as they are asked for: a million would fill the memory."""

    def __init__(self, work: Work, catalog: Catalog) -> None:
        self._work, self._catalog = work, catalog

    def __len__(self) -> int:
        return len(self._catalog.clips)

    def places(self) -> Iterator[Place]:
        """Yield which shard each clip has."""
        for clip in self._catalog.clips:
            utterance = clip.utterance_id
            yield Place(utterance, clip.split, self._shard(utterance))

    def __iter__(self) -> Iterator[Entry]:
        for clip in self._catalog.clips:
            utterance = clip.utterance_id
            yield Entry(self._work.rows.get(utterance) or ClipRow.of(clip), self._shard(utterance))

    def _shard(self, utterance: str) -> str | None:
        return self._work.shard_name(utterance) if utterance in self._work.clips else None
