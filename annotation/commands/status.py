"""`fmltk annotation status`: how far raters are, who does not follow the protocol, and which media do not load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.server import connect, named_projects
from fmltk.annotation.protocols import PROTOCOLS
from fmltk.annotation.settings import PANEL_SIZE, MediaCheck, ServerOptions
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmltk.annotation.labelling.progress import ProjectProgress
    from fmltk.toolkit.console import Reporter


@click.command()
@settings_options(ServerOptions, "server")
@click.option(
    "--annotators",
    "n_annotators",
    default=PANEL_SIZE,
    show_default=True,
    type=click.IntRange(1),
    help="Ratings that complete a clip.",
)
@click.option("--protocol", type=click.Choice(list(PROTOCOLS)), help="As for import; default: that of the scale.")
@settings_options(MediaCheck, "media")
@output_options
def status(
    *,
    server: ServerOptions,
    n_annotators: int,
    protocol: str | None,
    media: MediaCheck,
    reporter: Reporter,
) -> None:
    r"""Show how far each annotator is in each project; annotators are named by the server's ids.

    Ratings that do not follow the protocol are counted by annotator. Media of the tasks that do not load are named, and
    the exit code is then 1.

    \b
    fmltk annotation status --url http://localhost:8080
    """
    from dataclasses import asdict

    from fmltk.annotation.importing.progress import protocol_breaks
    from fmltk.annotation.importing.records import condition_of_title
    from fmltk.annotation.labelling.progress import check_media, read_progress
    from fmltk.toolkit.io.outputs import ScratchFolder

    connected = connect(server, reporter)
    reader = connected.media_reader()
    found: list[ProjectProgress] = []
    exports: dict[Path, str] = {}
    with ScratchFolder() as folder:
        for title, project in named_projects(connected, server, reporter):
            project_id = int(project.id)
            export = folder / f"{project_id}.json"
            connected.download(project_id, export)
            link = connected.link(project_id)
            progress = read_progress(title, export, link=link, n_annotators=n_annotators)
            if media.n_most:
                progress.media = check_media(export, reader, media, link=link, timeout_s=server.timeout_s)
            found.append(progress)
            exports[export] = condition_of_title(title) or ""
        breaks = protocol_breaks(exports, protocol=protocol)
    if reporter.json_output:
        reporter.json({"projects": [asdict(progress) for progress in found], "flags": breaks})
    else:
        _show_progress(found, reporter)
        _show_breaks(breaks, reporter)
    _end_with_dead_media(found, reporter)


def _show_progress(found: Sequence[ProjectProgress], reporter: Reporter) -> None:
    reporter.table(
        ("project", "tasks", "complete", "media", "checked", "dead", "link"),
        [
            (p.title, p.n_tasks, p.n_complete, *((m.n_media, m.n_checked, len(m.dead)) if m else ("-",) * 3), p.link)
            for p in found
            for m in (p.media,)
        ],
    )
    reporter.table(
        ("project", "annotator", "rated", "of", "skipped", "empty", "drafts"),
        [
            (p.title, rater.rater, rater.rated, p.n_tasks, rater.skipped, rater.empty, rater.drafts)
            for p in found
            for rater in p.raters
        ],
    )
    dead = [(p.title, one) for p in found if p.media for one in p.media.dead]
    if dead:
        reporter.table(
            ("project", "task", "clip", "medium", "why it does not load"),
            [(title, one.task, one.utterance_id, one.address, one.fault) for title, one in dead],
        )


def _end_with_dead_media(found: Sequence[ProjectProgress], reporter: Reporter) -> None:
    """Say which media were not asked for. Raises AnnotationError if one did not load."""
    media = [progress.media for progress in found if progress.media]
    n_elsewhere = sum(one.n_elsewhere for one in media)
    if n_elsewhere:
        reporter.warn(f"{n_elsewhere} media are on other hosts, which are not asked; name theirs by --media-url")
    n_left = sum(one.n_media - one.n_elsewhere - one.n_checked for one in media)
    if n_left:
        reporter.warn(f"{n_left} media were not asked for; --check-media N takes more, --timeout gives more time")
    dead = [one for m in media for one in m.dead]
    if dead:
        n_checked = sum(one.n_checked for one in media)
        raise AnnotationError(
            f"{len(dead)} of {n_checked} media do not load, such as that of {dead[0].link}: {dead[0].fault}. Put the "
            "files back where they were, or push again from where they are, with --update-addresses"
        )


def _show_breaks(breaks: list[dict[str, Any]], reporter: Reporter) -> None:
    """Show who does not follow the protocol, flag by flag."""
    from fmltk.annotation.ratings import FLAGS

    for flag in dict.fromkeys(entry["flag"] for entry in breaks):
        own = [entry for entry in breaks if entry["flag"] == flag]
        who = ", ".join(f"{entry['rater']} in {entry['condition']} ({entry['ratings']})" for entry in own)
        reporter.warn(f"{flag}: {FLAGS[flag]}: {who}")
