"""A push: projects and tasks are compared, then opened and proven, and only then filled."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fmltk.annotation.labelling.project import instructions, labelling_config, media_of
from fmltk.annotation.settings import PANEL_SIZE
from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fmltk.annotation.labelling.label_studio_client import Server
    from fmltk.annotation.labelling.project import ProjectPlan


@dataclass
class PushedProject:
    """The changes of a push to a project: settings it changed; tasks that were there, that it moved, that it added."""

    title: str
    link: str
    created: bool
    updated: list[str]
    n_there: int
    n_moved: int
    n_added: int


@dataclass
class _Target:
    """A project as a push finds it, and what it lacks.

    number : of the project; None if it is to be made
    settings : what the project does not have yet
    moved : data of the tasks whose media are to have other addresses, by task; `example` says one of them
    """

    plan: ProjectPlan
    number: int | None
    settings: dict[str, Any]
    fresh: list[dict[str, Any]]
    n_there: int = 0
    moved: dict[int, dict[str, Any]] = field(default_factory=dict)
    example: str = ""


def push_projects(
    server: Server,
    work: Sequence[tuple[ProjectPlan, Sequence[dict[str, Any]]]],
    *,
    n_annotators: int = PANEL_SIZE,
    local_path: str | None = None,
    update_addresses: bool = False,
    prove: Callable[[], None] = lambda: None,
) -> list[PushedProject]:
    """Create or update projects and add the tasks that they do not have yet.

    Parameters
    ----------
    work : each project, and its tasks' data in the order in which raters get them; utterance_id tells which are there
    n_annotators : after so many annotations a task is done
    local_path : the folder, as the server sees it, that the projects may serve files from
    update_addresses : give tasks that are there the media addresses of `work`
    prove : raises AnnotationError if the media do not load. It is called when the projects may serve them, and before a
        task or a setting is changed; where it raises, what was made for it is removed

    Raises AnnotationError if the server refuses or cannot be reached, or if tasks there have another scale or, without
    `update_addresses`, other addresses.
    """
    targets = [_find(server, plan, tasks, n_annotators) for plan, tasks in work]
    for target in targets:
        if target.moved and not update_addresses:
            raise AnnotationError(
                f"{len(target.moved)} of {target.n_there} tasks of {target.plan.title!r} have media addresses other "
                f"than this push would write: {target.example}; give the --document-root or --media-url that they were "
                "pushed with, or --update-addresses to change them"
            )
    numbers = _open(server, targets, local_path, prove)
    return [_fill(server, target, number) for target, number in zip(targets, numbers, strict=True)]


def _find(server: Server, plan: ProjectPlan, tasks: Sequence[dict[str, Any]], n_annotators: int) -> _Target:
    """Compare a project with what it should be.

    Raises AnnotationError if its tasks were made for another scale: their answers would be read on that one.
    """
    settings = {
        "label_config": labelling_config(plan),
        "maximum_annotations": n_annotators,
        "expert_instruction": instructions(plan),
        "show_instruction": True,
        "show_skip_button": True,
        "enable_empty_annotation": False,
        "show_collab_predictions": False,
        "sampling": "Sequential sampling",  # the order of the tasks is the shuffled one
    }
    project = server.find_project(plan.title)
    if project is None:
        return _Target(plan, None, settings, list(tasks))
    settings = {key: value for key, value in settings.items() if getattr(project, key, None) != value}
    target = _Target(plan, project.id, settings, [])
    wanted = {task["utterance_id"]: task for task in tasks}
    there = set()
    for number, data in server.tasks(project.id):
        clip = str(data.get("utterance_id"))
        there.add(clip)
        scale = data.get("scale", str(plan.scale))
        if scale != str(plan.scale):
            raise AnnotationError(
                f"the tasks of {plan.title!r} are rated on {scale}, not on {plan.scale}; give the scale that "
                "they have by --scale, or another --project-prefix"
            )
        old = media_of(data)
        for name, address in media_of(wanted.get(clip, {})).items():
            if old.get(name) != address:
                target.moved.setdefault(number, dict(data))[name] = address
                target.example = target.example or f"{clip} has {old.get(name)}, not {address}"
    target.n_there = len(there)
    target.fresh = [task for task in tasks if task["utterance_id"] not in there]
    return target


def _open(server: Server, targets: Sequence[_Target], local_path: str | None, prove: Callable[[], None]) -> list[int]:
    """Make the projects that are not there, let all of them serve the files, and prove that they do.

    Returns the projects' numbers. Whatever stops it, what it made is removed.
    """
    numbers, undo = [], []
    try:
        for target in targets:
            number = target.number
            if number is None:
                number = server.create_project(target.plan.title, target.settings)
                undo.append((server.link(number), partial(server.remove_project, number)))
            numbers.append(number)
            folder = None if local_path is None else server.connect_folder(number, local_path)
            if folder is not None:
                undo.append(
                    (f"the folder {local_path} of {server.link(number)}", partial(server.remove_folder, folder))
                )
        prove()
    except BaseException as error:
        left = [what for what, remove in reversed(undo) if not _succeeds(remove)]
        if left and isinstance(error, AnnotationError):
            raise AnnotationError(f"{error}. Remove by hand what could not be removed: {', '.join(left)}") from error
        raise
    return numbers


def _succeeds(action: Callable[[], None]) -> bool:
    try:
        action()
    except AnnotationError:
        return False
    return True


def _fill(server: Server, target: _Target, number: int) -> PushedProject:
    """Change what is to be changed in a project, and add its tasks."""
    created = target.number is None
    if target.settings and not created:
        server.update_project(number, target.settings)
    for task, data in target.moved.items():
        server.update_task(task, data)
    server.add_tasks(number, target.fresh)
    return PushedProject(
        target.plan.title,
        server.link(number),
        created,
        [] if created else list(target.settings),
        target.n_there,
        len(target.moved),
        len(target.fresh),
    )
