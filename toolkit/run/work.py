"""A run's work: which clips have a shard of their present input, which are to be done, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError, RunError, StoreError
from fmltk.toolkit.features.clip_row import FAILED, ClipRow, failed_row, rows_without_work
from fmltk.toolkit.features.layout import SHARD_FOLDER
from fmltk.toolkit.features.shards import ClipResult, ShardFolder, shard_key
from fmltk.toolkit.io.paths import look_up
from fmltk.toolkit.run.assemble import Entry
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, hash_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.run.engine import Outcome
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings

EXTRACT, ENCODE = "extract", "encode_again"  # what a worker can do with a clip: its methods
TIMEOUT_S = 180.0  # for a clip, plus
TIMEOUT_PER_VIDEO_S = 60.0  # per second of video: three times what full detection in 1080p needs


def clip_timeout_s(duration_s: float) -> float:
    """Return how long a clip of that duration may take unless --clip-timeout says otherwise."""
    return TIMEOUT_S + TIMEOUT_PER_VIDEO_S * duration_s


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
    durations_s
        The durations of the clips whose files were looked at.
    """

    clips: dict[str, Clip]
    input_hashes: dict[str, str]
    rows: dict[str, ClipRow]
    shards: ShardFolder
    modalities: tuple[str, ...]
    names: dict[str, str] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)

    @classmethod
    def plan(cls, catalog: Catalog, settings: ExtractSettings, paths: RunPaths) -> Work:
        """Return the clips to work on with the shards they have, and the rows of those that need no work."""
        rows = rows_without_work(catalog.clips, settings.modalities)
        clips = {clip.utterance_id: clip for clip in catalog.clips if clip.utterance_id not in rows}
        look_up(clip.path for clip in clips.values())
        hashes = {utterance: hash_input(clip, settings, paths) for utterance, clip in clips.items()}
        shards = ShardFolder(paths.features / SHARD_FOLDER)
        return cls(clips, hashes, rows, shards, settings.modalities, shards.names())

    def pending(self, *, retry_failed: bool) -> dict[str, str]:
        """Return what is to be done: EXTRACT without a shard of the present files, ENCODE where only text is new.

        Raises ConfigError if clips would lose the text that they have.
        """
        pending: dict[str, str] = {}
        losing = []
        for utterance, input_hash in self.input_hashes.items():
            name = self.shard_name(utterance)
            held_media, _, held_text = name.split(".")[1].partition("-") if name else ("", "", "")
            media, _, text = input_hash.partition("-")
            if held_media != media:
                pending[utterance] = EXTRACT
            elif held_text != text:
                pending[utterance] = ENCODE
                if self.clips[utterance].text is None and "text" in self.modalities:
                    losing.append(utterance)
            elif retry_failed and name is not None and self._has_failed(name):
                pending[utterance] = EXTRACT
        if losing:
            raise ConfigError(
                f"{len(losing)} clips have text from an earlier run and no transcript now ({', '.join(losing[:3])}); "
                "give the --transcripts or --transcribe again, or choose another folder with -o"
            )
        return pending

    def _has_failed(self, name: str) -> bool:
        try:
            return self.shards.read(name, sequences=False).row.status == FAILED
        except StoreError:
            return True

    def shard_name(self, utterance: str) -> str | None:
        """Return the name of the clip's shard; None where it has none."""
        return self.names.get(shard_key(utterance))

    def task(self, utterance: str) -> ClipTask:
        """Return what a worker needs to do the clip."""
        return ClipTask(self.clips[utterance], self.input_hashes[utterance], self.shard_name(utterance))

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
            result = ClipResult(failed_row(task.clip, outcome.error, self.modalities))
            output = ClipOutput(self.shards.write(result, task.input_hash, older=task.older), FAILED)
        else:
            raise outcome.error
        self.names[shard_key(utterance)] = output.name
        return output

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
