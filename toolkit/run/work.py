"""A run's work: which clips have a shard of their present input, which are to be done, and what becomes of each."""

from __future__ import annotations

import contextlib
import itertools
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError, RunError, StoreError
from fmltk.toolkit.features.clip_row import FAILED, OK, ClipRow, failed_row, row_without_work
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shards import ClipResult, ShardFolder, shard_key, with_failure
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.io.paths import LOOK_UP_BATCH, look_up
from fmltk.toolkit.packed import PackedList
from fmltk.toolkit.run.assemble import Entries, Entry, Place
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, hash_input

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.clip_list import ClipList
    from fmltk.toolkit.features.shard_names import ShardNames
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.engine import Outcome
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings

EXTRACT, COMPLETE = "extract", "complete"  # what a worker can do with a clip: its methods
_METHODS = ("", EXTRACT, COMPLETE)
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


class Pending(Mapping[str, str]):
    """What is to be done with clips, EXTRACT or COMPLETE, by utterance_id, in their order."""

    def __init__(self, clips: ClipList) -> None:
        self._clips = clips
        self._how = bytearray(len(clips))  # 0, or which of _METHODS, by position
        self._n = 0

    def add(self, position: int, how: str) -> None:
        """Take note of what is to be done with a clip of which nothing was to be done until now."""
        self._how[position] = _METHODS.index(how)
        self._n += 1

    def __getitem__(self, utterance: str) -> str:
        position = self._clips.find(utterance)
        if position is None or not self._how[position]:
            raise KeyError(utterance)
        return _METHODS[self._how[position]]

    def __iter__(self) -> Iterator[str]:
        return itertools.compress(self._clips.utterance_ids(), self._how)

    def __len__(self) -> int:
        return self._n


@dataclass(slots=True)
class Work:
    """The clips of a run. They are held by position, for a million names in each of several dicts take a gigabyte.

    Attributes
    ----------
    clips
        Every clip of the catalogue.
    input_hashes
        The hash of each clip's input; "" where it needs no work.
    shards, names
        The folder of shards, and the name of each clip's shard by its key.
    keys
        The keys of the feature sets that every clip has.
    durations_s
        The duration of each clip, where its file was looked at; else 0.
    new_texts
        Whether each clip's transcript is another than the shard's.
    n_clips
        How many need work, or have had it.
    """

    clips: ClipList
    input_hashes: PackedList[str]
    shards: ShardFolder
    keys: tuple[str, ...]
    names: ShardNames
    durations_s: array[float] = field(init=False)
    new_texts: bytearray = field(init=False)
    n_clips: int = field(init=False)

    def __post_init__(self) -> None:
        self.durations_s = array("d", bytes(8 * len(self.clips)))
        self.new_texts = bytearray(len(self.clips))
        self.n_clips = sum(map(bool, self.input_hashes))

    @classmethod
    def plan(cls, catalog: Catalog, settings: ExtractSettings, paths: RunPaths) -> Work:
        """Return the clips to work on, with the shards that they have."""
        keys = paths.keys or settings.modalities
        hashes: PackedList[str] = PackedList()
        clips = iter(catalog.clips)
        while batch := list(itertools.islice(clips, LOOK_UP_BATCH)):
            work = [row_without_work(clip, keys) is None for clip in batch]
            look_up(clip.path for clip in itertools.compress(batch, work))
            for clip, is_work in zip(batch, work, strict=True):
                hashes.append(hash_input(clip, settings, paths) if is_work else "")
        shards = ShardFolder(paths.features / SHARD_FOLDER)
        return cls(catalog.clips, hashes, shards, keys, shards.names())

    def pending(self, *, retry_failed: bool) -> Pending:
        """Return what is to be done: EXTRACT without a shard of the present files, COMPLETE where text or sets are new.

        Raises ConfigError if clips would lose the text that they have.
        """
        pending = Pending(self.clips)
        losing = []
        for position, (utterance, input_hash) in enumerate(self.inputs()):
            if not input_hash:
                continue
            name = self.shard_name(utterance)
            held_media, held_text, held_sets = split_input(name.split(".")[1] if name else "")
            media, text, sets = split_input(input_hash)
            if held_media != media:
                pending.add(position, EXTRACT)
            elif (held_text, held_sets) != (text, sets):
                pending.add(position, COMPLETE)
                if held_text != text:
                    self.new_texts[position] = True
                    if self.clips.value(position, "text") is None and "text" in self.keys:
                        losing.append(utterance)
            elif retry_failed and name is not None and self.has_failed(name):
                pending.add(position, EXTRACT)
        if losing:
            have = counted(len(losing), "clip has", "clips have")
            raise ConfigError(
                f"{have} text from an earlier run and no transcript now ({', '.join(losing[:3])}); "
                "give the --transcripts or --transcribe again, or choose another folder with -o"
            )
        return pending

    def inputs(self) -> Iterator[tuple[str, str]]:
        """Yield the id of each clip, and the hash of its input."""
        return zip(self.clips.utterance_ids(), self.input_hashes, strict=True)

    def position(self, utterance: str) -> int:
        """Return the position of a clip, by which the others are held."""
        position = self.clips.find(utterance)
        assert position is not None  # noqa: S101 - only clips of the catalogue are asked for
        return position

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
        position = self.position(utterance)
        return ClipTask(
            self.clips[position],
            self.input_hashes[position],
            self.shard_name(utterance),
            new_text=bool(self.new_texts[position]),
        )

    def timeout_s(self, utterance: str) -> float:
        """Return how long the clip may take unless --clip-timeout says otherwise."""
        return clip_timeout_s(self.durations_s[self.position(utterance)])

    def settle(self, outcome: Outcome[str]) -> ClipOutput:
        """Record what became of a clip. If its worker could not write the shard, died or hung, it is written here.

        Raises the outcome's error if it is not of this one clip, such as a full disk.
        """
        task: ClipTask = outcome.task.argument
        if outcome.error is None:
            output: ClipOutput = outcome.value
            if output.data is not None:
                self.shards.put(output.name, output.data, older=task.older)
        elif isinstance(outcome.error, RunError):
            result = self._failed(task, outcome)
            output = ClipOutput(self.shards.write(result, task.input_hash, older=task.older), FAILED)
        else:
            raise outcome.error
        self.names[shard_key(outcome.task.key)] = output.name
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

    def entries(self) -> Entries:
        """Return every clip as the tables are made of it."""
        return _WorkEntries(self)

    def n_left_out(self) -> int:
        """Return how many shards are of clips that the catalogue does not have."""
        return len(self.names) - sum(shard_key(utterance) in self.names for utterance in self.clips.utterance_ids())

    def n_done_again(self, pending: Mapping[str, str]) -> int:
        """Return how many of the pending clips have a shard that is out of date or failed."""
        return sum(how == EXTRACT and self.shard_name(utterance) is not None for utterance, how in pending.items())


class _WorkEntries(Entries):
    """The clips of a catalogue, whose rows are made as they are asked for: a million would fill the memory."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __len__(self) -> int:
        return len(self._work.clips)

    def places(self) -> Iterator[Place]:
        """Yield which shard each clip has."""
        for (utterance, input_hash), split in zip(self._work.inputs(), self._work.clips.values("split"), strict=True):
            yield Place(utterance, split, self._work.shard_name(utterance) if input_hash else None)

    def __iter__(self) -> Iterator[Entry]:
        for clip, input_hash in zip(self._work.clips, self._work.input_hashes, strict=True):
            if input_hash:
                yield Entry(ClipRow.of(clip), self._work.shard_name(clip.utterance_id))
            else:
                yield Entry(row_without_work(clip, self._work.keys) or ClipRow.of(clip))
