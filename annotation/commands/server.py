"""`fmltk annotation push` and `pull`: from stimuli to Label Studio and back."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.imports import OVERWRITE, show_import
from fmltk.annotation.commands.paths import CLIPS, PARQUET
from fmltk.annotation.raters import RaterNames
from fmltk.annotation.settings import ImportOptions, ProjectOptions, ScaleOptions, ServerOptions
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.option_types import out_option

if TYPE_CHECKING:
    from fmltk.annotation.labelling.label_studio_client import Server
    from fmltk.annotation.labelling.pushing import PushedProject
    from fmltk.toolkit.console import Reporter

TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"  # noqa: S105 - the variable's name, not a token
# Options that exports of projects that `push` made do not need.
_OF_FILES = ("condition", "id_field", "id_parts", "cut_uploads", "encoding", "time_zone")
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def connect(options: ServerOptions, reporter: Reporter) -> Server:
    """Return the server, with the token of the environment or one that is asked for.

    Raises ConfigError if the address or the token is not one, or nobody is there to give it.
    """
    from fmltk.annotation.labelling.label_studio_client import Server

    server = Server(
        options.url, "", timeout_s=options.timeout_s
    )  # the address is checked before anyone is asked for a token
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
        raise ConfigError(
            "the access token contains characters that no token has; copy it from Account & Settings again"
        )
    if options.url.startswith("http://") and not options.url.startswith(
        ("http://localhost", "http://127.", "http://[::1]")
    ):
        reporter.warn(f"{options.url} is not encrypted: the token can be read on the way; use https://")
    return Server(server.url, token, timeout_s=options.timeout_s)


@click.command()
@click.argument("stimuli", type=_FOLDER)
@settings_options(ServerOptions, "server")
@settings_options(ProjectOptions, "project")
@settings_options(ScaleOptions, "scales")
@output_options
def push(
    stimuli: Path, *, server: ServerOptions, project: ProjectOptions, scales: ScaleOptions, reporter: Reporter
) -> None:
    r"""Make one Label Studio project per condition from STIMULI; a second push adds only what is new.

    The access token is read from LABEL_STUDIO_API_KEY, or asked for. Before any task is made, one medium of each
    kind is fetched as annotators' browsers will do it, and compared with its file.

    \b
    fmltk annotation push stimuli/ --url http://localhost:8080 --document-root .
    """
    from dataclasses import asdict

    from fmltk.annotation.labelling.media_proof import media_to_prove, prove_media
    from fmltk.annotation.labelling.project import ProjectPlan, media_source, ordered_tasks
    from fmltk.annotation.labelling.pushing import push_projects
    from fmltk.annotation.labelling.stimuli import MEDIA_FOLDER, read_stimuli
    from fmltk.toolkit.io.outputs import hold_folder

    prepared = read_stimuli(stimuli)
    source = media_source(stimuli, project)
    work = []
    for condition in server.conditions:
        plan = ProjectPlan(condition, scales.scale(condition), project.language, server.prefix)
        tasks = ordered_tasks(prepared, plan, source.url, seed=project.seed)
        if not tasks:
            raise AnnotationError(
                f"no clip of {stimuli} can be shown in {condition}: prepare its stimuli with --conditions {condition}"
            )
        work.append((plan, tasks))
    media = stimuli / MEDIA_FOLDER
    proof = [] if project.unproven else media_to_prove(prepared, server.conditions, media, source)
    connected = connect(server, reporter)
    reader = connected.media_reader()
    # Two pushes at once would each make the projects that neither has found; where the folder cannot be written, nobody
    # prepares in it either.
    with hold_folder(stimuli) if os.access(stimuli, os.W_OK) else nullcontext():
        pushed = push_projects(
            connected,
            work,
            n_annotators=project.n_annotators,
            local_path=source.local_path,
            update_addresses=project.update_addresses,
            prove=lambda: prove_media(reader, proof, media, source),
        )
    if project.unproven:
        reporter.warn("no medium was fetched (--unproven): open a task of each project before anyone rates")
    if reporter.json_output:
        reporter.json({"projects": [asdict(one) for one in pushed]})
        return
    reporter.table(
        ("project", "", "tasks there", "addresses changed", "tasks added", "link"),
        [(one.title, _state(one), one.n_there, one.n_moved, one.n_added, one.link) for one in pushed],
    )
    reporter.suggest(
        "annotation",
        "status",
        "--url",
        server.url,
        "--project-prefix",
        server.prefix,
        "--conditions",
        ",".join(server.conditions),
    )


def _state(project: PushedProject) -> str:
    if project.created:
        return "created"
    return f"updated {', '.join(project.updated)}" if project.updated else "as it was"


@click.command()
@settings_options(ServerOptions, "server")
@out_option("output", type=PARQUET, required=True, help="The ratings, such as ratings.parquet.")
@click.option(
    "--exports", type=click.Path(file_okay=False, path_type=Path), help="Keep the server's exports in this folder."
)
@settings_options(
    ImportOptions, "options", without=("condition", "id_field", "id_parts", "cut_uploads", "encoding", "time_zone")
)
@settings_options(RaterNames, "names")
@CLIPS
@OVERWRITE
@output_options
def pull(
    *,
    server: ServerOptions,
    output: Path,
    exports: Path | None,
    options: ImportOptions,
    names: RaterNames,
    clips: Path | None,
    overwrite: bool,
    reporter: Reporter,
) -> None:
    r"""Fetch every answer from the server and add it to the ratings, as `import` does with files.

    \b
    fmltk annotation pull --url http://localhost:8080 -o ratings.parquet
    """
    import contextlib
    from dataclasses import replace

    from fmltk.annotation.importing.import_files import import_ratings
    from fmltk.annotation.importing.records import condition_of_title
    from fmltk.annotation.pages import scales_of_page
    from fmltk.toolkit.io.outputs import ScratchFolder

    connected = connect(server, reporter)
    with contextlib.ExitStack() as stack:
        folder = exports or stack.enter_context(ScratchFolder())
        files: dict[Path, str] = {}
        pages = {}
        for title, project in named_projects(connected, server, reporter):
            export = folder / f"{title.replace('/', '_')}.json"
            connected.download(int(project.id), export)
            files[export] = condition_of_title(title) or ""
            pages[export] = scales_of_page(project.label_config)
        options = replace(options, names=names)
        report = import_ratings(
            list(files), output, options, conditions=files, pages=pages, clips=clips, overwrite=overwrite
        )
    show_import(report, output, reporter)


def named_projects(connected: Server, server: ServerOptions, reporter: Reporter) -> list[tuple[str, Any]]:
    """Return (title, project) of the server's projects of the conditions that are asked for."""
    found = []
    for condition in server.conditions:
        title = f"{server.prefix} {condition}"
        project = connected.find_project(title)
        if project is None:
            reporter.warn(f"{connected.url} has no project {title!r}")
        else:
            found.append((title, project))
    if not found:
        conditions = ",".join(server.conditions)
        raise AnnotationError(
            f"{connected.url} has no project {server.prefix!r} of {conditions}; make them by fmltk annotation push"
        )
    return found
