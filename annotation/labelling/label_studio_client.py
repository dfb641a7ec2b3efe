"""Label Studio over its API: make projects, see how far raters are, fetch what they answered.

The SDK is imported when it is first used (3 s, 116 MB). The token comes from the caller and is never written anywhere.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fmltk.annotation.json_stream import iterate_json_array
from fmltk.annotation.labelling.project import ProjectPlan, instructions, labelling_config
from fmltk.annotation.raters import read_identity
from fmltk.annotation.settings import TIMEOUT_S
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.io.files import atomic_path
from fmltk.toolkit.io.retry import retried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fmltk.annotation.labelling.guarded_http import Guard

BATCH_TASKS = 250  # 2281 tasks in batches of this size took 22 s
PAGE_TASKS = 500
N_ATTEMPTS = 3
POLL_S = 1.0
MAX_LISTED = 1_000_000  # projects or tasks: more than any data set of the field has clips


@dataclass
class PushedProject:
    """What a push made of one project."""

    title: str
    link: str
    created: bool
    updated: list[str]
    n_there: int
    n_added: int


@dataclass
class RaterProgress:
    """How far one rater is in one project."""

    rater: str
    rated: int = 0
    skipped: int = 0
    empty: int = 0
    drafts: int = 0


@dataclass
class ProjectProgress:
    """How far a project is: tasks, tasks with as many answers as asked for, and each rater."""

    title: str
    link: str
    n_tasks: int
    n_complete: int
    raters: list[RaterProgress] = field(default_factory=list)


class Server:
    """A Label Studio server, by its address and a token of one of its users.

    Raises ConfigError if the address is no http or https address.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ConfigError(f"{parts.hostname or url!r} is no address of a server; expected http(s)://host:port")
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._guard: Guard | None = None
        self._client: Any = None

    def __repr__(self) -> str:
        """Return the address, never the token."""
        return f"Server({self.url!r})"

    @property
    def client(self) -> Any:
        """The SDK's client, within `_asking`."""
        if self._client is None:
            from label_studio_sdk import client as sdk

            assert self._guard is not None  # noqa: S101 - _asking has made it
            make: Any = sdk.LabelStudio
            # It would wait for as long as a server says before it tries again.
            self._client = make(
                base_url=self.url,
                api_key=self._token,
                timeout=self._timeout_s,
                max_retries=0,
                httpx_client=self._guard.client,
            )
        return self._client

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Bound what is asked of the server, and turn what goes wrong into one line that says what was asked."""
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        from fmltk.annotation.labelling.guarded_http import Guard

        if self._guard is not None and self._guard.is_over:
            self._guard = self._client = None
        guard = self._guard = self._guard or Guard(self.url, timeout_s=self._timeout_s)
        try:
            with guard.call():
                yield
        except ApiError as error:
            if error.status_code in (401, 403):
                raise AnnotationError(
                    f"{self.url} refuses the token ({what}); copy it from Account & Settings, Access Token, of an "
                    "account that may do this, into LABEL_STUDIO_API_KEY"
                ) from None
            body = " ".join(_detail(error.body).split())
            if self._token:  # some servers repeat what they were sent
                body = body.replace(self._token, "(the token)")
            raise AnnotationError(f"{self.url} answered {error.status_code} ({what}): {body[:300]}") from None
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            # The SDK takes whatever is JSON for an answer of Label Studio.
            raise AnnotationError(f"{self.url} answers otherwise than Label Studio ({what}); is it one?") from error
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
            if isinstance(error, httpx.TimeoutException) or guard.is_over:
                raise AnnotationError(f"{self.url} did not answer in time ({what}); raise --timeout") from None
            if isinstance(error, RuntimeError):
                raise
            raise AnnotationError(
                f"cannot reach {self.url} ({what}): {type(error).__name__}; is Label Studio running there?"
            ) from None

    def link(self, project_id: int) -> str:
        """Return the address of a project's page."""
        return f"{self.url}/projects/{project_id}"

    def find_project(self, title: str) -> Any | None:
        """Return the project of exactly this title, or None.

        Raises AnnotationError if several have it.
        """
        with self._asking("listing projects"):
            found = [one for one in self._each(self.client.projects.list(title=title)) if one.title == title]
        if len(found) > 1:
            links = ", ".join(self.link(project.id) for project in found)
            raise AnnotationError(f"several projects are called {title!r} ({links}); rename all but one")
        return found[0] if found else None

    def _each(self, listing: Any) -> Iterator[Any]:
        """Yield what a listing holds, each once. Raises AnnotationError where it repeats itself or does not end."""
        seen: set[int] = set()
        n_repeated = 0
        for item in listing:
            if self._id(item) in seen:
                n_repeated += 1  # one moves to the next page where another is added meanwhile
            else:
                seen.add(item.id)
                yield item
            if n_repeated > PAGE_TASKS or len(seen) > MAX_LISTED:
                raise AnnotationError(
                    f"{self.url} lists {len(seen)} entries and {n_repeated} of them again; is it Label Studio?"
                )

    def _id(self, entry: Any) -> int:
        """Return the id of a project, task or export. Raises AnnotationError where the answer has none."""
        number = getattr(entry, "id", None)
        if not isinstance(number, int) or isinstance(number, bool):
            raise AnnotationError(f"{self.url} answers without an id ({number!r}); is it Label Studio?")
        return number

    def push(
        self,
        plan: ProjectPlan,
        tasks: Sequence[dict[str, Any]],
        *,
        n_annotators: int = 5,
        local_path: str | None = None,
    ) -> PushedProject:
        """Create or update a project and add the tasks that it does not have yet.

        Parameters
        ----------
        tasks : their data, in the order in which raters get them; utterance_id tells which are there
        n_annotators : after so many annotations a task is done
        local_path : the folder, as the server sees it, that the project may serve files from

        Raises AnnotationError if the server refuses or cannot be reached, or the tasks there have another scale.
        """
        wanted = {
            "label_config": labelling_config(plan),
            "maximum_annotations": n_annotators,
            "expert_instruction": instructions(plan),
            "show_instruction": True,
            "show_skip_button": True,
            "enable_empty_annotation": False,
            "show_collab_predictions": False,
            "sampling": "Sequential sampling",  # the order of the tasks is the shuffled one
        }
        project = self.find_project(plan.title)
        created = project is None
        there = set() if project is None else self._utterances(self._id(project), plan)
        with self._asking(f"making the project {plan.title!r}"):
            if project is None:
                project = self.client.projects.create(title=plan.title, **wanted)
            project_id = self._id(project)
            updated = [] if created else [key for key, value in wanted.items() if getattr(project, key, None) != value]
            if updated:
                self.client.projects.update(project_id, **{key: wanted[key] for key in updated})
        if local_path is not None:
            self._connect(project_id, local_path)
        fresh = [task for task in tasks if task["utterance_id"] not in there]
        for start in range(0, len(fresh), BATCH_TASKS):
            batch = [{"data": data} for data in fresh[start : start + BATCH_TASKS]]
            with self._asking(f"adding tasks to {plan.title!r}"):
                self.client.projects.import_tasks(id=project_id, request=batch)
        return PushedProject(plan.title, self.link(project_id), created, updated, len(there), len(fresh))

    def _connect(self, project_id: int, path: str) -> None:
        with self._asking(
            f"connecting the folder {path}; the server needs LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT above it"
        ):
            known = self.client.import_storage.local.list(project=project_id)
            if not any(storage.path == path for storage in known):
                self.client.import_storage.local.create(
                    project=project_id, path=path, title="fmltk stimuli", use_blob_urls=True
                )

    def _utterances(self, project_id: int, plan: ProjectPlan) -> set[str]:
        """Return the clips of a project's tasks.

        Raises AnnotationError if they were made for another scale: their answers would be read on that one.
        """
        found = set()
        with self._asking("listing tasks"):
            for task in self._each(self.client.tasks.list(project=project_id, page_size=PAGE_TASKS)):
                found.add(str(task.data.get("utterance_id")))
                scale = task.data.get("scale", str(plan.scale))
                if scale != str(plan.scale):
                    raise AnnotationError(
                        f"the tasks of {plan.title!r} are rated on {scale}, not on {plan.scale}; give the scale that "
                        "they have by --scale, or another --project-prefix"
                    )
        return found

    def download(self, project_id: int, target: Path) -> None:
        """Write a snapshot of a project as JSON: every annotation, skip and draft, and raters by id alone.

        Tries again where the connection breaks. Raises AnnotationError if the server refuses or does not finish.
        """
        retried(
            lambda: self._download_once(project_id, target),
            attempts=N_ATTEMPTS,
            first_wait_s=POLL_S,
            longest_wait_s=N_ATTEMPTS * POLL_S,
            errors=AnnotationError,
        )

    def _download_once(self, project_id: int, target: Path) -> None:
        with self._asking("making an export"):
            snapshot = self.client.projects.exports.create(
                project_id,
                title="fmltk",
                serialization_options={
                    "annotations__completed_by": {"only_id": True},
                    "drafts": {"only_id": False},
                    "predictions": {"only_id": True},
                },
            )
            number = self._id(snapshot)
        deadline = time.monotonic() + self._timeout_s
        status = snapshot.status
        while status != "completed":
            if status == "failed":
                raise AnnotationError(f"{self.url} could not make an export of project {project_id}")
            if time.monotonic() > deadline:
                raise AnnotationError(f"{self.url} did not finish the export of project {project_id}; raise --timeout")
            time.sleep(POLL_S)
            with self._asking("asking for an export"):
                status = self.client.projects.exports.get(id=project_id, export_pk=number).status
        with self._asking("downloading an export"), atomic_path(target, error=AnnotationError) as temporary:
            with temporary.open("wb") as file:
                for chunk in self.client.projects.exports.download(id=project_id, export_pk=number, export_type="JSON"):
                    file.write(chunk)
            for _ in iterate_json_array(temporary):  # whole, or it is tried again
                pass
        with self._asking("removing an export"):
            self.client.projects.exports.delete(id=project_id, export_pk=number)

    def progress(self, title: str, export: Path, *, link: str, n_annotators: int) -> ProjectProgress:
        """Return how far a project is, from its export."""
        progress = ProjectProgress(title, link, 0, 0)
        raters: dict[str, RaterProgress] = {}
        for task in iterate_json_array(export):
            if not isinstance(task, dict):
                continue
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


def _detail(body: object) -> str:
    """Return what an error's body says."""
    if isinstance(body, dict):
        return "; ".join(f"{key}: {value}" for key, value in body.items() if key in ("detail", "validation_errors"))
    return str(body or "no details")
