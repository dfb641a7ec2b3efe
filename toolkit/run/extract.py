"""The main job: from videos to a feature folder, every clip accounted for, at any moment interruptible.

What a run writes as it goes are shards (one per clip, whole or not at all). The tables are made of them at the end, so
a run that was stopped anywhere is finished by the same command, with the same bytes.
"""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.catalog.catalog import Problem, build_catalog
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, DamagedFileError, RunError, StoreError
from fmltk.toolkit.features.clip_row import base_row, failed_result, rows_without_work
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.layout import RUN_FILE, SHARD_FOLDER
from fmltk.toolkit.features.shards import ShardFolder, shard_key
from fmltk.toolkit.io.files import remove_temporary_files
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.io.paths import locate, look_up
from fmltk.toolkit.run.assemble import DamagedShardsError, Entry, assemble
from fmltk.toolkit.run.clip_worker import ClipWorker
from fmltk.toolkit.run.engine import Task
from fmltk.toolkit.run.folder import bind, locked, read_run, tell_problems, write_problems
from fmltk.toolkit.run.local_engine import LocalEngine
from fmltk.toolkit.run.resolve import ordered_modalities, resolve
from fmltk.toolkit.run.tasks import ClipOutput, ClipTask, RunPaths, hash_input
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.assemble import Summary
    from fmltk.toolkit.run.engine import Engine, Outcome

EXTRACT, ENCODE = "extract", "encode_again"  # what a worker can do with a clip
TRANSCRIPT_COLUMNS = ("split", "language", "text")  # columns that come from the transcripts as they are now
PREPARE_TIMEOUT_S = 600.0  # on a fresh machine the text model may have to be fetched
INSPECT_TIMEOUT_S = 300.0
TIMEOUT_S = 180.0  # for a clip, plus
TIMEOUT_PER_VIDEO_S = 60.0  # per second of video: three times what full detection in 1080p needs


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes about its work; no number depends on it."""

    n_workers: int | None = None
    engine: str = "local"
    ray_address: str | None = None
    clip_timeout_s: float | None = None
    retry_failed: bool = False
    usual_duration_s: tuple[float, float] = (1.0, 10.0)


@dataclass(slots=True)
class _Work:
    """A run in progress: its clips by id, what stands for their input, and the shards they have by key."""

    clips: dict[str, Clip]
    input_hashes: dict[str, str]
    shards: ShardFolder
    modalities: tuple[str, ...]
    names: dict[str, str] = field(default_factory=dict)
    durations_s: dict[str, float] = field(default_factory=dict)


def extract(
    videos: str | AnyPath,
    out: str | AnyPath = "features",
    *,
    transcripts: str | AnyPath | None = None,
    cut_subtitles: bool = False,
    encoding: str | None = None,
    exclude: str | AnyPath | None = None,
    modalities: Sequence[str] | None = None,
    text_model: str | None = None,
    openface: str | Path = "auto",
    settings: ExtractSettings | None = None,
    padding: PaddingSettings | None = None,
    n_workers: int | None = None,
    engine: str = "local",
    ray_address: str | None = None,
    clip_timeout_s: float | None = None,
    retry_failed: bool = False,
    usual_duration_s: tuple[float, float] = (1.0, 10.0),
    reporter: Reporter | None = None,
) -> Summary:
    """Extract the features of every clip of `videos` into the folder `out`, and say what became of each.

    Parameters
    ----------
    videos, transcripts, cut_subtitles, encoding, exclude
        See `fmltk.toolkit.catalog.catalog.build_catalog`.
    out
        The feature folder; what it holds from an interrupted run is kept and the rest is added.
    modalities
        Which of text, audio, vision; by default those of `settings`, which are all three.
    text_model
        A hub name, a local folder or "minilm"; None: by the transcripts' language.
    openface
        A folder of OpenFace CSVs, "auto" (run OpenFace where it is found) or "none".
    settings, padding
        What else the numbers depend on.
    n_workers
        Worker processes; by default one per core, of the cluster with engine="ray".
    engine, ray_address
        "local": processes on this machine. "ray": a Ray cluster, at this address, else RAY_ADDRESS, else one of this
        machine alone. No number depends on it. See docs/scaling.md.
    clip_timeout_s
        The longest a clip may take; by default 180 s plus 60 s per second of video.
    retry_failed
        Whether clips that failed in an earlier run are tried again.
    usual_duration_s
        Clips outside this range are named in a warning.
    reporter
        Where progress and warnings go: ``fmltk.toolkit.console.Reporter()`` writes them to stderr. By default nothing
        is written; the summary holds the warnings.

    Returns the summary: how many clips are ok, missing or failed, lengths per modality, every failure and warning.

    Raises ConfigError, TextModelError or StoreError if the run cannot start or go on. A clip that fails raises nothing:
    it is a row of the manifest.

    Example: ``summary = extract("videos", out="features", text_model="minilm")``
    """
    shortest_s, longest_s = usual_duration_s
    if not 0 <= shortest_s < longest_s:
        raise ConfigError(f"usual durations of {shortest_s:g} to {longest_s:g} s: the first must be the smaller one")
    reporter = reporter or Reporter(quiet=True)
    n_told = len(reporter.warnings)
    folder = locate(out)
    if folder.resolve() == locate(videos).resolve():
        raise ConfigError(f"-o {folder} is the folder of the videos; name another, such as {folder}/features")
    catalog = build_catalog(
        videos, transcripts=transcripts, cut_subtitles=cut_subtitles, encoding=encoding, exclude=exclude
    )
    settings = settings or ExtractSettings()
    settings, paths = resolve(
        replace(settings, modalities=ordered_modalities(settings.modalities if modalities is None else modalities)),
        catalog,
        folder,
        text_model=text_model,
        openface=openface,
        elsewhere=engine != "local",
        reporter=reporter,
    )
    paths = replace(paths, clip_timeout_s=clip_timeout_s)
    padding = padding or PaddingSettings()
    if padding.lengths_from == "train" and all(clip.split != "train" for clip in catalog.clips):
        raise ConfigError(
            "--lengths-from train: no clip is in the training split; give --transcripts with a column mode or split"
        )
    options = RunOptions(n_workers, engine, ray_address, clip_timeout_s, retry_failed, usual_duration_s)
    with locked(folder):
        summary = _run(catalog, folder, settings, paths, padding, options, reporter)
    summary.warnings = reporter.warnings[n_told:]
    return summary


def pad(features: str | AnyPath, padding: PaddingSettings, *, reporter: Reporter | None = None) -> Summary:
    """Pad a feature folder's sequences anew, from its shards; the videos are not needed.

    Raises StoreError if `features` is no feature folder or its shards are gone, DamagedFileError if a shard is damaged.
    """
    folder = locate(features)
    reporter = reporter or Reporter(quiet=True)
    if not (folder / RUN_FILE).is_file():
        raise StoreError(f"{folder} has no {RUN_FILE}: expected a folder that `fmltk extract` wrote")
    with locked(folder):
        run = read_run(folder)
        shards = ShardFolder(folder / SHARD_FOLDER)
        names = shards.names()
        entries = {}
        with open_parquet(folder / "manifest.parquet") as manifest, reading(folder / "manifest.parquet"):
            for batch in manifest.iter_batches():
                for row in batch.to_pylist():
                    # only what was read from a file has a shard that counts: excluded clips may have an old one
                    name = names.get(shard_key(row["utterance_id"])) if row["sha256"] else None
                    if name is None and row["sha256"]:
                        raise StoreError(f"{row['utterance_id']}: its shard is gone; run `fmltk extract` again")
                    from_transcript = {column: row[column] for column in TRANSCRIPT_COLUMNS}
                    entries[row["utterance_id"]] = Entry(name, None if name else row, from_transcript)
        with reporter.progress("Writing tables", 2 * len(entries), unit="steps") as progress:
            summary = assemble(folder, shards, entries, padding=padding, run=run, on_step=progress.advance)
    for warning in summary.warnings:
        reporter.warn(warning)
    return summary


def recorded_padding(features: str | AnyPath) -> PaddingSettings:
    """Return the padding that a feature folder's tables have now. Raises StoreError if there is no such folder."""
    return PaddingSettings.from_document(read_features(features).settings().get("padding", {}))


def _run(
    catalog: Catalog,
    folder: AnyPath,
    settings: ExtractSettings,
    paths: RunPaths,
    padding: PaddingSettings,
    options: RunOptions,
    reporter: Reporter,
) -> Summary:
    work, rows = _plan(catalog, folder, settings, paths)
    pending = _pending(work, options)
    with _make_engine(settings, paths, options, n_tasks=max(len(pending), 1)) as engine:
        run = bind(folder, settings, _prepare(folder, paths, engine, needed=bool(pending)))
        remove_temporary_files(folder)
        _tell_what_is_done(work, pending, reporter)
        problems = [*catalog.problems, *_inspect(engine, work, pending, options, reporter)]
        if "text" not in settings.modalities:
            problems = [problem for problem in problems if problem.kind != "no-transcript"]
        write_problems(folder, problems)
        tell_problems(folder, problems, reporter)
        _extract_all(engine, work, pending, options, reporter)
        lasting = [problem for problem in problems if problem.kind not in ("unreadable", "duration")]
        for _ in range(2):
            found: list[Problem] = []
            on_row = functools.partial(_note_problem, found, options.usual_duration_s)
            try:
                with reporter.progress("Writing tables", 2 * len(catalog.clips), unit="steps") as progress:
                    summary = assemble(
                        folder,
                        work.shards,
                        _entries(catalog, work, rows),
                        padding=padding,
                        run=run,
                        on_row=on_row,
                        on_step=progress.advance,
                    )
            except DamagedShardsError as error:
                reporter.warn(f"damaged shards ({len(error.utterances)}): their clips are extracted again")
                for utterance in error.utterances:
                    work.shards.remove(work.names.pop(shard_key(utterance)))
                again = dict.fromkeys(error.utterances, EXTRACT)
                list(_inspect(engine, work, again, options, reporter))
                _extract_all(engine, work, again, options, reporter)
            else:
                break
        else:
            raise DamagedFileError(f"{folder}: shards are damaged as soon as they are written; is the disk all right?")
    write_problems(folder, [*lasting, *found])
    summary.warnings[:0] = _left_out(work, catalog)
    for warning in summary.warnings:
        reporter.warn(warning)
    return summary


def _plan(
    catalog: Catalog, folder: AnyPath, settings: ExtractSettings, paths: RunPaths
) -> tuple[_Work, dict[str, dict[str, object]]]:
    """Return the clips to work on with the shards they have, and the rows of those that need no work."""
    rows = rows_without_work(catalog.clips, settings.modalities)
    clips = {clip.utterance_id: clip for clip in catalog.clips if clip.utterance_id not in rows}
    look_up(clip.path for clip in clips.values())
    input_hashes = {utterance: hash_input(clip, settings, paths) for utterance, clip in clips.items()}
    shards = ShardFolder(folder / SHARD_FOLDER)
    return _Work(clips, input_hashes, shards, settings.modalities, shards.names()), rows


def _make_engine(settings: ExtractSettings, paths: RunPaths, options: RunOptions, *, n_tasks: int) -> Engine:
    make_worker = functools.partial(ClipWorker, settings, paths)
    if options.engine == "local":
        return LocalEngine(make_worker, n_workers=min(options.n_workers or _n_cores(), n_tasks))
    if options.engine != "ray":
        raise ConfigError(f"there is no engine {options.engine!r}; expected 'local' or 'ray'")
    from fmltk.toolkit.run.ray_engine import RayEngine

    return RayEngine(
        make_worker,
        n_workers=options.n_workers,
        address=options.ray_address,
        n_gpus=0.0 if settings.device == "cpu" else 1.0,
        prepare=Task(None, "prepare", None, PREPARE_TIMEOUT_S),
    )


def _prepare(folder: AnyPath, paths: RunPaths, engine: Engine, *, needed: bool) -> dict[str, Any]:
    """Return the text model's identity and the versions: as recorded where nothing is to be encoded, else by a worker.

    Versions are never those recorded, which they are compared with.
    """
    if not needed and (folder / RUN_FILE).is_file():
        recorded: dict[str, Any] = read_run(folder).get("text_model") or {}
        present = paths.text_model.sha256 if paths.text_model is not None else None
        if recorded.get("sha256") == present:
            return {"text_model": recorded, "versions": numeric_versions()}
    prepared: dict[str, Any] = engine.call("prepare", None)
    return prepared


def _entries(catalog: Catalog, work: _Work, rows: Mapping[str, Mapping[str, object]]) -> dict[str, Entry]:
    entries = {}
    for clip in catalog.clips:
        row = base_row(clip)
        from_transcript = {column: row[column] for column in TRANSCRIPT_COLUMNS}
        shard = work.names.get(shard_key(clip.utterance_id)) if clip.utterance_id in work.clips else None
        entries[clip.utterance_id] = Entry(shard, rows.get(clip.utterance_id), from_transcript)
    return entries


def _note_problem(found: list[Problem], usual_s: tuple[float, float], row: Mapping[str, Any]) -> None:
    """Collect what problems.csv says of one row; of every row, so that it does not depend on interruptions."""
    if row["status"] == "failed" and row.get("duration_s") is None and row["error_class"] != ConfigError.__name__:
        found.append(Problem("unreadable", row["utterance_id"], str(row["error_message"])))
    elif row.get("duration_s") is not None:
        found += _unusual(row["utterance_id"], row["duration_s"], usual_s)


def _unusual(key: str, duration_s: float, usual_s: tuple[float, float]) -> list[Problem]:
    low, high = usual_s
    if low <= duration_s <= high:
        return []
    return [Problem("duration", key, f"lasts {duration_s:.2f} s, outside the usual {low:g} to {high:g} s")]


def _pending(work: _Work, options: RunOptions) -> dict[str, str]:
    """Return what is to be done: EXTRACT without a shard of the clip's present files, ENCODE where only text is new.

    Raises ConfigError if clips would lose the text that they have.
    """
    pending: dict[str, str] = {}
    losing = []
    for utterance, input_hash in work.input_hashes.items():
        name = work.names.get(shard_key(utterance))
        held_media, _, held_text = name.split(".")[1].partition("-") if name else ("", "", "")
        media, _, text = input_hash.partition("-")
        if held_media != media:
            pending[utterance] = EXTRACT
        elif held_text != text:
            pending[utterance] = ENCODE
            if work.clips[utterance].text is None and "text" in work.modalities:
                losing.append(utterance)
        elif options.retry_failed and name is not None and _has_failed(work.shards, name):
            pending[utterance] = EXTRACT
    if losing:
        raise ConfigError(
            f"{len(losing)} clips have text from an earlier run and no transcript now ({', '.join(losing[:3])}); "
            "give the --transcripts again, or choose another folder with -o"
        )
    return pending


def _has_failed(shards: ShardFolder, name: str) -> bool:
    try:
        return shards.read(name, sequences=False).row["status"] == "failed"
    except StoreError:
        return True


def _tell_what_is_done(work: _Work, pending: Mapping[str, str], reporter: Reporter) -> None:
    done = len(work.input_hashes) - len(pending)
    if done:
        reporter.say(f"{done} of {len(work.input_hashes)} clips are extracted already")
    changed = sum(shard_key(key) in work.names and how == EXTRACT for key, how in pending.items())
    if changed:
        reporter.say(f"{changed} clips have changed or failed and are extracted again")
    texts = sum(how == ENCODE for how in pending.values())
    if texts:
        reporter.say(f"{texts} clips have another transcript: their text alone is done again")


def _inspect(
    engine: Engine, work: _Work, pending: Mapping[str, str], options: RunOptions, reporter: Reporter
) -> list[Problem]:
    keys = [key for key, how in pending.items() if how == EXTRACT]
    tasks = (Task(key, "inspect", work.clips[key], INSPECT_TIMEOUT_S) for key in keys)
    found: dict[str, list[Problem]] = {}
    with reporter.progress("Reading files", len(keys)) as progress:
        for outcome in engine.run(tasks):
            key = outcome.task.key
            if outcome.error is not None:
                found[key] = [Problem("unreadable", key, str(outcome.error))]
            else:
                work.durations_s[key] = outcome.value
                found[key] = _unusual(key, outcome.value, options.usual_duration_s)
            progress.advance()
    return [problem for key in sorted(found) for problem in found[key]]


def _extract_all(
    engine: Engine, work: _Work, pending: Mapping[str, str], options: RunOptions, reporter: Reporter
) -> None:
    tasks = (Task(key, how, _clip_task(work, key), _timeout_s(work, key, options)) for key, how in pending.items())
    failed, video_s, started = 0, 0.0, time.monotonic()
    with reporter.progress("Extracting", len(pending)) as progress:
        for outcome in engine.run(tasks):
            key = outcome.task.key
            done = _settle(outcome, work)
            work.names[shard_key(key)] = done.name
            failed += done.status == "failed"
            video_s += work.durations_s.get(key, 0.0)
            rate = video_s / max(time.monotonic() - started, 1e-9)
            progress.advance(note=f"{failed} failed, {rate:.1f} video-s/s")


def _clip_task(work: _Work, key: str) -> ClipTask:
    return ClipTask(work.clips[key], work.input_hashes[key], work.names.get(shard_key(key)))


def _settle(outcome: Outcome[str], work: _Work) -> ClipOutput:
    """Return what became of a clip; where its worker could not write the shard, or died or hung, it is written here."""
    task = _clip_task(work, outcome.task.key)
    if outcome.error is None:
        done: ClipOutput = outcome.value
        if done.data is not None:
            work.shards.put(done.name, done.data, older=task.older)
        return done
    if not isinstance(outcome.error, RunError):
        raise outcome.error
    result = failed_result(task.clip, outcome.error, work.modalities)
    return ClipOutput(work.shards.write(result, task.input_hash, older=task.older), "failed")


def _timeout_s(work: _Work, key: str, options: RunOptions) -> float:
    if options.clip_timeout_s is not None:
        return options.clip_timeout_s
    return TIMEOUT_S + TIMEOUT_PER_VIDEO_S * work.durations_s.get(key, 0.0)


def _left_out(work: _Work, catalog: Catalog) -> list[str]:
    keys = {shard_key(clip.utterance_id) for clip in catalog.clips}
    n_others = sum(key not in keys for key in work.names)
    if not n_others:
        return []
    return [f"{n_others} clips extracted earlier are not among these videos: the tables leave them out"]


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
