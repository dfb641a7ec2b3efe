"""`fmltk annotation prepare`, `push`, `status` and `pull`: from clips to Label Studio and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.options import (
    FILE,
    PARQUET,
    import_options,
    parse_conditions,
    parse_scales,
    reading_options,
    scale_options,
    show_import,
)
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import AnnotationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmltk.annotation.label_studio_client import ProjectProgress, Server
    from fmltk.toolkit.console import Reporter

TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"  # noqa: S105 - the variable's name, not a token
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="The stimuli/ folder."
)
@click.option("--conditions", default="AT,VT,AV", show_default=True, help="Some of M,T,A,V,AT,VT,AV.")
@click.option("--transcripts", type=FILE, help="Table with video_id, clip_id, text, as for fmltk extract.")
@click.option("--encoding", help="Encoding of the transcripts; recognised where it is not given.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Draws the files' names.")
@click.option(
    "--max-height", default=720, show_default=True, type=click.IntRange(2), help="Higher pictures are scaled."
)
@click.option("--workers", type=click.IntRange(1), help="Clips made at the same time; default: the number of cores.")
@output_options
def prepare(
    clips: Path,
    output: Path,
    conditions: str,
    transcripts: Path | None,
    encoding: str | None,
    seed: int,
    max_height: int,
    workers: int | None,
    reporter: Reporter,
) -> None:
    r"""Make what raters see and hear of CLIPS: silent video, sound, text, under names that reveal nothing.

    Every file is checked (a silent video holds no sound, lengths agree, no metadata). Run
    again, it goes on where it was.

    \b
    fmltk annotation prepare videos/ -o stimuli/ --transcripts label.csv
    """
    from fmltk.annotation.stimuli import StimuliOptions, conditions_shown, count_statuses, prepare_stimuli
    from fmltk.toolkit.catalog.catalog import build_catalog

    chosen = parse_conditions(conditions)
    catalog = build_catalog(clips, transcripts=transcripts, encoding=encoding)
    for problem in catalog.problems:
        reporter.warn(f"{problem.where}: {problem.message}")
    options = StimuliOptions(
        conditions=chosen, seed=seed, max_height=max_height, n_workers=workers or os.cpu_count() or 1
    )
    with reporter.progress("stimuli", len(catalog.clips)) as progress:
        stimuli = prepare_stimuli(catalog.clips, output, options, on_done=lambda stimulus: progress.advance())
    shown = conditions_shown(stimuli, chosen)
    counts = [{"part": part, "status": word, "clips": count} for part, word, count in count_statuses(stimuli)]
    errors = [
        {"utterance_id": stimulus.utterance_id, "part": part, "status": stimulus.status[part], "error": message}
        for stimulus in stimuli
        for part, message in stimulus.errors.items()
    ]
    if reporter.json_output:
        reporter.json({"output": output, "clips": len(stimuli), "conditions": shown, "parts": counts, "errors": errors})
    else:
        reporter.table(("part", "status", "clips"), [tuple(entry.values()) for entry in counts])
        reporter.table(("condition", "clips that can be shown"), list(shown.items()))
        for entry in errors:
            reporter.warn(f"{entry['utterance_id']}: {entry['part']} {entry['status']}: {entry['error']}")
    if not any(shown.values()):
        raise AnnotationError(f"no clip can be shown in {', '.join(chosen)}; the reasons are above and in {output}")


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --url, --project-prefix, --conditions and --timeout."""
    options: list[Callable[..., Any]] = [
        click.option("--url", required=True, help="Address of the server, such as http://localhost:8080."),
        click.option(
            "--project-prefix",
            "prefix",
            default="fmltk",
            show_default=True,
            help="Projects are called PREFIX CONDITION.",
        ),
        click.option("--conditions", default="AT,VT,AV", show_default=True, help="Some of M,T,A,V,AT,VT,AV."),
        click.option(
            "--timeout",
            "timeout_s",
            default=600.0,
            show_default=True,
            type=click.FloatRange(0, min_open=True),
            help="Seconds to wait for an answer.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _connect(url: str, timeout_s: float, reporter: Reporter) -> Server:
    from fmltk.annotation.label_studio_client import Server

    server = Server(url, "", timeout_s=timeout_s)  # the address is checked before anyone is asked for a token
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        try:
            token = click.prompt(f"Access token ({TOKEN_VARIABLE} is not set)", hide_input=True, err=True).strip()
        except click.Abort as error:
            if not isinstance(error.__context__, EOFError):
                raise
            raise ConfigError(
                f"{TOKEN_VARIABLE} is not set, and nobody is there to ask for the access token"
            ) from error
    if not token.isascii() or not token.isprintable():
        raise ConfigError("the access token holds characters that no token has; copy it from Account & Settings again")
    if url.startswith("http://") and not url.startswith(("http://localhost", "http://127.", "http://[::1]")):
        reporter.warn(f"{url} is not encrypted: the token can be read on the way; use https://")
    return Server(server.url, token, timeout_s=timeout_s)


@click.command()
@click.argument("stimuli", type=_FOLDER)
@server_options
@click.option("--annotators", default=5, show_default=True, type=click.IntRange(1), help="Raters per clip.")
@click.option(
    "--document-root",
    type=click.Path(path_type=Path),
    envvar="LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
    help="The folder above STIMULI that the server serves (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).",
)
@click.option("--media-url", help="Where browsers get the files of STIMULI/media instead, such as https://host/media/.")
@click.option(
    "--language", type=click.Choice(["en", "zh", "both"]), default="both", show_default=True, help="Of captions."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Draws the order of the clips in each project."
)
@scale_options
@output_options
def push(
    stimuli: Path,
    url: str,
    prefix: str,
    conditions: str,
    timeout_s: float,
    annotators: int,
    document_root: Path | None,
    media_url: str | None,
    language: str,
    seed: int,
    preset: str,
    scales: tuple[str, ...],
    reporter: Reporter,
) -> None:
    r"""Make one Label Studio project per condition from STIMULI; a second push adds only what is new.

    The access token is read from LABEL_STUDIO_API_KEY, or asked for.

    \b
    fmltk annotation push stimuli/ --url http://localhost:8080 --document-root .
    """
    from dataclasses import asdict

    from fmltk.annotation.importing.records import PRESETS
    from fmltk.annotation.project import ProjectPlan, local_media_url, ordered_tasks
    from fmltk.annotation.stimuli import MEDIA_FOLDER, read_stimuli

    prepared = read_stimuli(stimuli)
    by_condition = parse_scales(scales)
    media = stimuli / MEDIA_FOLDER
    if (document_root is None) == (media_url is None):
        raise ConfigError(
            "say where browsers get the files: --document-root (local files) or --media-url (HTTP, S3), one"
        )
    local_path = None
    if document_root is not None:
        before, local_path = local_media_url(media, document_root), str(media.resolve())
    else:
        before = f"{(media_url or '').rstrip('/')}/"
    plans = [
        ProjectPlan(name, by_condition.get(name, PRESETS[preset]), language, prefix)
        for name in parse_conditions(conditions)
    ]
    server = _connect(url, timeout_s, reporter)
    pushed = []
    for plan in plans:
        tasks = ordered_tasks(prepared, plan, before, seed=seed)
        if not tasks:
            raise AnnotationError(
                f"no clip of {stimuli} can be shown in {plan.condition}: prepare its stimuli with --conditions "
                f"{plan.condition}"
            )
        pushed.append(server.push(plan, tasks, n_annotators=annotators, local_path=local_path))
    if reporter.json_output:
        reporter.json({"projects": [asdict(project) for project in pushed]})
        return
    reporter.table(
        ("project", "", "tasks there", "tasks added", "link"),
        [
            (
                project.title,
                "created"
                if project.created
                else f"updated {', '.join(project.updated)}"
                if project.updated
                else "as it was",
                project.n_there,
                project.n_added,
                project.link,
            )
            for project in pushed
        ],
    )


@click.command()
@server_options
@click.option(
    "--annotators", default=5, show_default=True, type=click.IntRange(1), help="Ratings that complete a clip."
)
@output_options
def status(url: str, prefix: str, conditions: str, timeout_s: float, annotators: int, reporter: Reporter) -> None:
    r"""Show how far each rater is in each project; raters are named by the server's ids.

    \b
    fmltk annotation status --url http://localhost:8080
    """
    import tempfile
    from dataclasses import asdict

    server = _connect(url, timeout_s, reporter)
    found: list[ProjectProgress] = []
    with tempfile.TemporaryDirectory(prefix="fmltk-") as folder:
        for title, project_id in _projects(server, prefix, conditions, reporter):
            export = Path(folder) / f"{project_id}.json"
            server.download(project_id, export)
            found.append(server.progress(title, export, link=server.link(project_id), n_annotators=annotators))
    if reporter.json_output:
        reporter.json({"projects": [asdict(progress) for progress in found]})
        return
    reporter.table(
        ("project", "tasks", "complete", "link"), [(p.title, p.n_tasks, p.n_complete, p.link) for p in found]
    )
    reporter.table(
        ("project", "rater", "rated", "of", "skipped", "empty", "drafts"),
        [
            (p.title, rater.rater, rater.rated, p.n_tasks, rater.skipped, rater.empty, rater.drafts)
            for p in found
            for rater in p.raters
        ],
    )


@click.command()
@server_options
@click.option("--output", "-o", type=PARQUET, required=True, help="The ratings, such as ratings.parquet.")
@click.option(
    "--exports", type=click.Path(file_okay=False, path_type=Path), help="Keep the server's exports in this folder."
)
@reading_options
def pull(
    url: str,
    prefix: str,
    conditions: str,
    timeout_s: float,
    output: Path,
    exports: Path | None,
    overwrite: bool,
    reporter: Reporter,
    **reading: Any,
) -> None:
    r"""Fetch every answer from the server and add it to the ratings, as `import` does with files.

    \b
    fmltk annotation pull --url http://localhost:8080 -o ratings.parquet
    """
    import contextlib
    import tempfile

    from fmltk.annotation.importing.import_files import import_ratings
    from fmltk.annotation.importing.records import condition_of_title

    server = _connect(url, timeout_s, reporter)
    options = import_options(**reading)
    with contextlib.ExitStack() as stack:
        folder = exports or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fmltk-")))
        files: dict[Path, str] = {}
        for title, project_id in _projects(server, prefix, conditions, reporter):
            export = folder / f"{title.replace('/', '_')}.json"
            server.download(project_id, export)
            files[export] = condition_of_title(title) or ""
        report = import_ratings(list(files), output, options, conditions=files, overwrite=overwrite)
    show_import(report, output, reporter)


def _projects(server: Server, prefix: str, conditions: str, reporter: Reporter) -> list[tuple[str, int]]:
    found = []
    for condition in parse_conditions(conditions):
        title = f"{prefix} {condition}"
        project = server.find_project(title)
        if project is None:
            reporter.warn(f"{server.url} has no project {title!r}")
        else:
            found.append((title, int(project.id)))
    if not found:
        raise AnnotationError(
            f"{server.url} has no project {prefix!r} of {conditions}; make them by fmltk annotation push"
        )
    return found
