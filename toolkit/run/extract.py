"""The main job: from videos to a feature folder, every clip accounted for, at any moment interruptible.

A run writes shards as it goes (one per clip, complete or absent). The tables are made of them at the end, so
a run that was stopped anywhere is finished by the same command, with the same bytes.
"""

from __future__ import annotations

import functools
import itertools
import time
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError, DamagedFileError
from fmltk.toolkit.features.clip_row import FAILED, needs_file
from fmltk.toolkit.features.layout import MANIFEST_FILE, RUN_FILE, SHARD_FOLDER
from fmltk.toolkit.features.shards import ShardFolder
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.machine import n_cores
from fmltk.toolkit.run.adding import (
    clips_for_adding,
    padding_for_adding,
    plan_adding,
    recorded_for_adding,
    settings_for_adding,
)
from fmltk.toolkit.run.assemble import DamagedShardsError, assemble
from fmltk.toolkit.run.clip_worker import limited_worker
from fmltk.toolkit.run.cost import say_cost
from fmltk.toolkit.run.engine import Task
from fmltk.toolkit.run.folder import bind, held, read_run
from fmltk.toolkit.run.local_engine import LocalEngine
from fmltk.toolkit.run.pad import recorded_padding
from fmltk.toolkit.run.problems import (
    OF_FILES,
    UNKNOWN_TOKENS,
    problems_of_row,
    say_problems,
    unusual_duration,
    write_problems,
)
from fmltk.toolkit.run.resolve import ordered_modalities, resolve
from fmltk.toolkit.run.sets import held_sets
from fmltk.toolkit.run.transcription import recognise, resolve_transcription
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.run.work import EXTRACT, ManifestEntries, Work
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings, RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.catalog.catalog import Catalog
    from fmltk.toolkit.features.clip_row import ClipRow
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.assemble import Entries
    from fmltk.toolkit.run.engine import Engine
    from fmltk.toolkit.run.summary import Summary
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.speech.settings import TranscriptionSettings

PREPARE_TIMEOUT_S = 600.0  # on a fresh machine the text model may have to be fetched
INSPECT_TIMEOUT_S = 300.0
SAMPLED_TEXTS = 200  # by which it is judged whether the text model knows their language


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that a run was given, resolved for this machine."""

    catalog: Catalog
    folder: AnyPath
    settings: ExtractSettings
    paths: RunPaths
    padding: PaddingSettings
    options: RunOptions
    reporter: Reporter
    held: Mapping[str, str] | None = None
    """The names of the sets that a folder had before others are added, by key."""


def extract(
    videos: str | AnyPath,
    out: str | AnyPath = "features",
    *,
    transcripts: str | AnyPath | None = None,
    cut_subtitles: bool = False,
    encoding: str | None = None,
    language: str | None = None,
    exclude: str | AnyPath | None = None,
    turns: str | AnyPath | None = None,
    turn_people: str | AnyPath | None = None,
    ignore_columns: Sequence[str] | None = None,
    modalities: Sequence[str] | None = None,
    text_model: str | None = None,
    openface: str | Path = "auto",
    asd: str | Path | None = None,
    transcription: TranscriptionSettings | None = None,
    settings: ExtractSettings | None = None,
    padding: PaddingSettings | None = None,
    add: bool = False,
    n_workers: int | None = None,
    engine: str = "local",
    ray_address: str | None = None,
    clip_timeout_s: float | None = None,
    worker_memory_gb: float | None = None,
    retry_failed: bool = False,
    usual_duration_s: tuple[float, float] = (1.0, 10.0),
    reporter: Reporter | None = None,
) -> Summary:
    """Extract the features of every clip of `videos` into the folder `out`, and say what became of each.

    Parameters
    ----------
    videos, transcripts, cut_subtitles, encoding, language, exclude, turns, turn_people, ignore_columns
        See `fmltk.toolkit.catalog.catalog.build_catalog`.
    out
        The feature folder; what it holds from an interrupted run is kept and the rest is added.
    modalities
        Which of text, audio, vision; by default those of `settings`, which are all three.
    text_model
        A hub name, a local folder or "minilm"; None: by the transcripts' language.
    openface
        A folder of OpenFace CSVs, "auto" (run OpenFace where it is found) or "none".
    asd
        A file with LR-ASD's weights, by which it is seen who of several people talks (docs/features.md); None: by the
        motion of their mouths.
    transcription
        The Whisper that recognises what is said, and its settings (docs/transcripts.md); clips without a transcript use
        the text. None: nothing is recognised.
    settings, padding
        Other settings that the numbers depend on, the feature sets by name among them.
    add
        Whether the sets that the settings name come to those that `out` has; what it has is not done again.
    n_workers
        Worker processes; by default one per core, of the cluster with engine="ray".
    engine, ray_address
        "local": processes on this machine. "ray": a Ray cluster, at this address, else RAY_ADDRESS, else one of this
        machine alone. No number depends on it. See docs/scaling.md.
    clip_timeout_s
        The longest a clip may take; by default 180 s plus 60 s per second of video.
    worker_memory_gb
        The most memory that a worker may take; by default a quarter of the machine's, at least 2.
    retry_failed
        Whether clips that failed in an earlier run are tried again.
    usual_duration_s
        Clips outside this range are named in a warning.
    reporter
        Receives progress and warnings: ``fmltk.toolkit.console.Reporter()`` writes them to stderr. By default nothing
        is written; the summary holds the warnings.

    Returns the summary: how many clips are ok, missing or failed, lengths per modality, every failure and warning.

    Raises ConfigError, TextModelError or StoreError if the run cannot start or continue. A clip that fails raises
    nothing: it is a row of the manifest.

    Example: ``summary = extract("videos", out="features", text_model="minilm")``
    """
    options = RunOptions(
        n_workers=n_workers,
        engine=engine,
        ray_address=ray_address,
        clip_timeout_s=clip_timeout_s,
        worker_memory_gb=worker_memory_gb,
        usual_duration_s=usual_duration_s,
        retry_failed=retry_failed,
    )
    reporter = reporter or Reporter(quiet=True)
    n_earlier = len(reporter.warnings)
    folder = locate(out)
    if folder.resolve() == locate(videos).resolve():
        raise ConfigError(f"-o {folder} is the folder of the videos; name another, such as {folder}/features")
    settings = settings or ExtractSettings()
    settings = replace(
        settings, modalities=ordered_modalities(settings.modalities if modalities is None else modalities)
    )
    recorded = read_run(folder) if (folder / RUN_FILE).is_file() else None
    if add:
        if transcription is not None and transcription.model:
            raise ConfigError("--add takes the texts that the folder has; give --transcribe without it")
        recorded = recorded_for_adding(folder)
        settings, text_model = settings_for_adding(settings, recorded, text_model), None
        padding = padding_for_adding(padding, recorded_padding(folder))
    catalog = build_catalog(
        videos,
        transcripts=transcripts,
        cut_subtitles=cut_subtitles,
        encoding=encoding,
        language=language,
        exclude=exclude,
        turns=turns,
        turn_people=turn_people,
        ignore_columns=ignore_columns,
        text_alone=not needs_file(settings.modalities),
    )
    for note in catalog.notes:
        reporter.say(note)
    padding = padding or PaddingSettings()
    if padding.lengths_from == "train" and all(clip.split != "train" for clip in catalog.clips):
        raise ConfigError(
            "--lengths-from train: no clip is in the training split; give --transcripts with a column mode or split"
        )
    resolved = functools.partial(
        resolve,
        settings,
        folder=folder,
        text_model=text_model,
        openface=openface,
        asd=asd,
        elsewhere=engine != "local",
        recorded=recorded,
        add=add,
    )
    how = None
    if transcription is not None and transcription.model:
        how = resolve_transcription(transcription, settings.speech, reporter)
        own, paths = resolved(catalog, reporter=Reporter(quiet=True))  # hours of listening are not for a wrong option
        paths = replace(paths, transcription=how, clip_timeout_s=clip_timeout_s)
        listening = Run(catalog, folder, own, paths, padding, options, reporter)
        catalog = recognise(
            catalog,
            paths,
            options,
            make_engine=lambda n_tasks: _make_engine(listening, n_tasks=n_tasks),
            reporter=reporter,
        )
    settings, paths = resolved(catalog, reporter=reporter)
    paths = replace(paths, transcription=how, clip_timeout_s=clip_timeout_s)
    with held(folder):
        held_before = held_sets(recorded) if add and recorded else None
        summary = extract_clips(Run(catalog, folder, settings, paths, padding, options, reporter, held_before))
    summary.warnings = reporter.warnings[n_earlier:]
    return summary


def extract_clips(run: Run) -> Summary:
    """Do what is not done yet, clip by clip, then write the tables from every clip's shard."""
    run, work, pending = _plan(run)
    n_clips = work.n_clips
    if pending:
        run.reporter.say(f"Starting workers and loading models: {len(pending)} of {n_clips} clips to extract")
    with _make_engine(run, n_tasks=max(len(pending), 1)) as engine:
        how = run.paths.transcription
        prepared = _prepare(run, engine, needed=bool(pending))
        heard = None if how is None else how.document()
        record = bind(run.folder, run.settings, prepared, transcription=heard, add=run.paths.adds)
        _say_what_is_done(work, pending, run.reporter)
        problems = _wanted([*run.catalog.problems, *_inspect(run, engine, work, pending)], run.settings)
        if not run.paths.adds:
            write_problems(run.folder, problems)
        say_problems(run.folder, problems, run.reporter)
        _say_cost(run, engine, work, pending)
        _extract_clips(run, engine, work, pending)
        try:
            summary, found = _write_tables(run, work, record)
        except DamagedShardsError as error:
            if run.paths.adds:
                raise
            _extract_again(run, engine, work, error.utterances)
            summary, found = _write_tables_of_fresh_shards(run, work, record)
    if not run.paths.adds:
        write_problems(run.folder, [*(problem for problem in problems if problem.kind not in OF_FILES), *found])
    say_problems(run.folder, [problem for problem in found if problem.kind == UNKNOWN_TOKENS], run.reporter)
    n_others = work.n_left_out()
    if n_others and not run.paths.adds:
        others = counted(n_others, "clip")
        summary.warnings.insert(0, f"left out of the tables: {others} extracted earlier and not among these videos")
    for warning in summary.warnings:
        run.reporter.warn(warning)
    return summary


def _plan(run: Run) -> tuple[Run, Work, Mapping[str, str]]:
    """Return the run with the clips that it may touch, their work, and what is to be done of it."""
    if run.held is None:
        work = Work.plan(run.catalog, run.settings, run.paths)
        return run, work, work.pending(retry_failed=run.options.retry_failed)
    names = ShardFolder(run.folder / SHARD_FOLDER).names()
    held, run = run.held, replace(run, catalog=clips_for_adding(run.catalog, run.folder, names, run.reporter))
    work = Work.plan(run.catalog, run.settings, run.paths)
    return run, work, plan_adding(work, held, retry_failed=run.options.retry_failed)


def _make_engine(run: Run, *, n_tasks: int) -> Engine:
    options = run.options
    make_worker = functools.partial(limited_worker, run.settings, run.paths, options.worker_memory_gb)
    if options.engine == "local":
        n_workers = min(options.n_workers or n_cores(), n_tasks)
        return LocalEngine(make_worker, n_workers=n_workers, forks=run.settings.device == "cpu")
    from fmltk.toolkit.run.ray_engine import RayEngine

    return RayEngine(
        make_worker,
        n_workers=options.n_workers,
        address=options.ray_address,
        n_gpus=0.0 if run.settings.device == "cpu" else 1.0,
        prepare=Task(None, "prepare", (), PREPARE_TIMEOUT_S),
    )


def _prepare(run: Run, engine: Engine, *, needed: bool) -> dict[str, Any]:
    """Return the text model's identity and the versions: as recorded where nothing is to be encoded, else by a worker.

    Versions are never those recorded, which they are compared with.
    """
    if not needed and (run.folder / RUN_FILE).is_file():
        recorded: dict[str, Any] = read_run(run.folder).get("text_model") or {}
        model = run.paths.text_model
        if recorded.get("sha256") == (model.sha256 if model is not None else None):
            described = {key: one.document() for key, one in run.paths.sets.items() if one.name}
            return {"text_model": recorded, "sets": described, "versions": numeric_versions(run.settings.packages)}
    prepared: dict[str, Any] = engine.call("prepare", _sample_of_texts(run.catalog))
    return prepared


def _sample_of_texts(catalog: Catalog) -> list[str]:
    """Return some of the transcripts, spread evenly over the clips."""
    pairs = zip(catalog.clips.values("text"), catalog.clips.values("exclude_reason"), strict=True)
    having = [bool(text) and reason is None for text, reason in pairs]
    texts = itertools.compress(catalog.clips.values("text"), having)
    return list(itertools.islice(texts, None, None, sum(having) // SAMPLED_TEXTS + 1))


def _say_what_is_done(work: Work, pending: Mapping[str, str], reporter: Reporter) -> None:
    n_clips = work.n_clips
    if len(pending) < n_clips:
        reporter.say(f"{n_clips - len(pending)} of {n_clips} clips are extracted already")
    n_changed = work.n_done_again(pending)
    if n_changed:
        reporter.say(f"changed or failed, and extracted again: {counted(n_changed, 'clip')}")
    n_texts = sum(work.new_texts)
    if n_texts:
        reporter.say(f"{counted(n_texts, 'clip has', 'clips have')} another transcript: the text alone is done again")


def _wanted(problems: list[Problem], settings: ExtractSettings) -> list[Problem]:
    """Return the problems that matter: a missing transcript does not where text is not extracted."""
    return [one for one in problems if "text" in settings.modalities or one.kind != "no-transcript"]


def _inspect(run: Run, engine: Engine, work: Work, pending: Mapping[str, str]) -> list[Problem]:
    """Look at the files of the clips that are to be extracted: durations, and what cannot be read."""
    clips = work.clips
    positions = map(work.position, (key for key, how in pending.items() if how == EXTRACT))
    wanted = array("i", (position for position in positions if clips.value(position, "path") is not None))
    tasks = (Task(clips.utterance_id(one), "inspect", clips[one], INSPECT_TIMEOUT_S) for one in wanted)
    found: list[Problem] = []
    with run.reporter.progress("Reading files", len(wanted)) as progress:
        for outcome in engine.run(tasks):
            key = outcome.task.key
            if outcome.error is not None:
                found.append(Problem("unreadable", key, str(outcome.error)))
            else:
                work.durations_s[work.position(key)] = outcome.value
                found += unusual_duration(key, outcome.value, run.options.usual_duration_s)
            progress.advance()
    return sorted(found, key=lambda problem: problem.where)


def _say_cost(run: Run, engine: Engine, work: Work, pending: Mapping[str, str]) -> None:
    """Say how long the feature sets take; the clips of a folder that sets are added to have their durations there."""
    if run.paths.adds:
        entries = ManifestEntries(run.folder / MANIFEST_FILE, work.names)
        known_s = {entry.row.utterance_id: entry.row.duration_s or 0.0 for entry in entries}
        durations_s = array("d", (known_s.get(key, 0.0) for key in pending))
    else:
        durations_s = array("d", (work.durations_s[work.position(key)] for key in pending))
    held = run.held or {}
    sets = {key: one for key, one in run.paths.sets.items() if key not in held}
    say_cost(engine, sets, durations_s, run.options, run.reporter)


def _extract_clips(run: Run, engine: Engine, work: Work, pending: Mapping[str, str]) -> None:
    limit_s = run.options.clip_timeout_s
    tasks = (
        Task(key, how, work.task(key), work.timeout_s(key) if limit_s is None else limit_s)
        for key, how in pending.items()
    )
    n_failed, video_s, started = 0, 0.0, time.monotonic()
    with run.reporter.progress("Extracting", len(pending)) as progress:
        for outcome in engine.run(tasks):
            n_failed += work.settle(outcome).status == FAILED
            video_s += work.durations_s[work.position(outcome.task.key)]
            rate = video_s / max(time.monotonic() - started, 1e-9)
            progress.advance(note=f"{n_failed} failed, {rate:.1f} video-s/s")


def _write_tables(run: Run, work: Work, record: Mapping[str, Any]) -> tuple[Summary, list[Problem]]:
    """Write the tables; return their summary and what problems.csv says of the files.

    Raises DamagedShardsError if shards are not what their names say.
    """
    found: list[Problem] = []

    def note(row: ClipRow) -> None:
        found.extend(problems_of_row(row, run.options.usual_duration_s))

    if run.paths.adds:
        entries: Entries = ManifestEntries(run.folder / MANIFEST_FILE, work.names)
    else:
        entries = work.entries()
    with run.reporter.progress("Writing tables", 2 * len(entries), unit="steps") as progress:
        summary = assemble(
            run.folder,
            work.shards,
            entries,
            padding=run.padding,
            run=record,
            on_row=note,
            on_step=progress.advance,
        )
    return summary, found


def _extract_again(run: Run, engine: Engine, work: Work, damaged: Sequence[str]) -> None:
    run.reporter.warn(f"damaged shards ({len(damaged)}): their clips are extracted again")
    for utterance in damaged:
        work.drop(utterance)
    pending = dict.fromkeys(damaged, EXTRACT)
    _inspect(run, engine, work, pending)
    _extract_clips(run, engine, work, pending)


def _write_tables_of_fresh_shards(run: Run, work: Work, record: Mapping[str, Any]) -> tuple[Summary, list[Problem]]:
    try:
        return _write_tables(run, work, record)
    except DamagedShardsError as error:
        raise DamagedFileError(
            f"{run.folder}: shards are damaged as soon as they are written; is the disk all right?"
        ) from error
