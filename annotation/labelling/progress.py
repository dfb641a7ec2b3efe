"""How far a project is, from its export: what each rater answered, and whether the media of its tasks load."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.annotation.json_stream import iterate_json_array
from fmltk.annotation.labelling.media_check import MediumError
from fmltk.annotation.labelling.project import media_of
from fmltk.annotation.raters import read_identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fmltk.annotation.labelling.media_check import MediaReader
    from fmltk.annotation.settings import MediaCheck


@dataclass
class RaterProgress:
    """How far one rater is in one project."""

    rater: str
    rated: int = 0
    skipped: int = 0
    empty: int = 0
    drafts: int = 0


@dataclass
class DeadMedium:
    """A medium of a task that does not load, and why."""

    task: str
    link: str
    utterance_id: str
    address: str
    fault: str


@dataclass
class MediaProgress:
    """Which media of a project load: how many there are, how many of them were asked for, and those that did not come.

    n_elsewhere : media on hosts that nobody named, which are not asked for
    """

    n_media: int
    n_elsewhere: int
    n_checked: int = 0
    dead: list[DeadMedium] = field(default_factory=list)


@dataclass
class ProjectProgress:
    """How far a project is: tasks, tasks with as many answers as asked for, and each rater; its media, if checked."""

    title: str
    link: str
    n_tasks: int
    n_complete: int
    raters: list[RaterProgress] = field(default_factory=list)
    media: MediaProgress | None = None


def _tasks(export: Path) -> Iterator[dict[str, Any]]:
    return (task for task in iterate_json_array(export) if isinstance(task, dict))


def read_progress(title: str, export: Path, *, link: str, n_annotators: int) -> ProjectProgress:
    """Return how far a project is, from its export."""
    progress = ProjectProgress(title, link, 0, 0)
    raters: dict[str, RaterProgress] = {}
    for task in _tasks(export):
        progress.n_tasks += 1
        answered = set()  # by whom: a rater may have answered twice
        for annotation in task.get("annotations") or []:
            name = read_identity(annotation.get("completed_by")) or "unknown"
            entry = raters.setdefault(name, RaterProgress(name))
            if annotation.get("was_cancelled"):
                entry.skipped += 1
            elif annotation.get("result"):
                entry.rated += name not in answered
                answered.add(name)
            else:
                entry.empty += 1
        for draft in task.get("drafts") or []:
            name = read_identity(draft) or "unknown"
            raters.setdefault(name, RaterProgress(name)).drafts += 1
        progress.n_complete += len(answered) >= n_annotators
    progress.raters = [raters[name] for name in sorted(raters, key=lambda text: (len(text), text))]
    return progress


def check_media(
    export: Path, reader: MediaReader, options: MediaCheck, *, link: str, timeout_s: float
) -> MediaProgress:
    """Ask for the first bytes of the media of a project's tasks, as raters' browsers do, for `timeout_s` at most."""
    media = []
    n_elsewhere = 0
    hosts = ("",) if options.media_url is None else ("", options.media_url)
    for task in _tasks(export):
        data = task["data"] if isinstance(task.get("data"), dict) else {}
        for address in media_of(data).values():
            if any(reader.is_at(address, host) for host in hosts):
                media.append((str(task.get("id")), str(data.get("utterance_id")), address))
            else:
                n_elsewhere += 1
    found = MediaProgress(len(media) + n_elsewhere, n_elsewhere)
    n_taken = min(options.n_most, len(media))
    end = time.monotonic() + timeout_s
    for index in range(n_taken):
        if time.monotonic() > end:
            break
        task_id, clip, address = media[index * len(media) // n_taken]
        found.n_checked += 1
        try:
            reader.check_beginning(address)
        except MediumError as fault:
            found.dead.append(DeadMedium(task_id, f"{link}/data?task={task_id}", clip, address, str(fault)))
    return found
