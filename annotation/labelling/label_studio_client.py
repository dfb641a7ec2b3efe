"""Label Studio over its API: make projects, see how far raters are, fetch what they answered.

The SDK is imported when it is first used (3 s, 116 MB). The token comes from the caller and is never written anywhere.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fmltk.annotation.json_stream import iterate_json_array
from fmltk.annotation.settings import TIMEOUT_S
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.io.files import atomic_path
from fmltk.toolkit.io.retry import retried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fmltk.annotation.labelling.guarded_http import Guard
    from fmltk.annotation.labelling.media_check import MediaReader

BATCH_TASKS = 250  # 2281 tasks in batches of this size took 22 s
PAGE_TASKS = 500
N_ATTEMPTS = 3
POLL_S = 1.0
MAX_LISTED = 1_000_000  # projects or tasks: more than any data set of the field has clips


class Server:
    """A Label Studio server, by its address and a token of one of its users.

    Raises ConfigError if the address is not one of http or https.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ConfigError(f"{parts.hostname or url!r} is not the address of a server; expected http(s)://host:port")
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._guard: Guard | None = None
        self.client: Any = None  # the SDK's, within `_asking`

    def __repr__(self) -> str:
        """Return the address, never the token."""
        return f"Server({self.url!r})"

    def _make_client(self, guard: Guard) -> Any:
        from label_studio_sdk import client as sdk

        make: Any = sdk.LabelStudio
        # It would wait for as long as a server says before it tries again.
        return make(
            base_url=self.url, api_key=self._token, timeout=self._timeout_s, max_retries=0, httpx_client=guard.client
        )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Bound what is asked of the server, and turn what goes wrong into one line that says what was asked."""
        import httpx
        from label_studio_sdk.core.api_error import ApiError

        from fmltk.annotation.labelling.guarded_http import Guard

        if self._guard is not None and self._guard.is_over:
            self._guard = self.client = None
        guard = self._guard = self._guard or Guard(self.url, timeout_s=self._timeout_s)
        try:
            self.client = self.client or self._make_client(guard)  # before the call's time begins: an import of seconds
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
            raise AnnotationError(f"{self.url} answered {error.status_code} ({what}): {body[:500]}") from None
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

    def create_project(self, title: str, settings: dict[str, Any]) -> int:
        """Make a project and return its number."""
        with self._asking(f"making the project {title!r}"):
            return self._id(self.client.projects.create(title=title, **settings))

    def update_project(self, project_id: int, settings: dict[str, Any]) -> None:
        """Change settings of a project."""
        with self._asking(f"changing {self.link(project_id)}"):
            self.client.projects.update(project_id, **settings)

    def remove_project(self, project_id: int) -> None:
        """Remove a project without tasks. Raises AnnotationError if it has some."""
        with self._asking(f"removing {self.link(project_id)}"):
            if self.client.projects.get(project_id).task_number:
                raise AnnotationError(f"{self.link(project_id)} has tasks; it is not removed")
            self.client.projects.delete(project_id)

    def tasks(self, project_id: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the data of each task of a project."""
        with self._asking("listing tasks"):
            for task in self._each(self.client.tasks.list(project=project_id, page_size=PAGE_TASKS)):
                yield task.id, dict(task.data)

    def add_tasks(self, project_id: int, tasks: Sequence[dict[str, Any]]) -> None:
        """Add tasks of these data to a project, in this order."""
        for start in range(0, len(tasks), BATCH_TASKS):
            batch = [{"data": data} for data in tasks[start : start + BATCH_TASKS]]
            with self._asking(f"adding tasks to {self.link(project_id)}"):
                self.client.projects.import_tasks(id=project_id, request=batch)

    def update_task(self, task_id: int, data: dict[str, Any]) -> None:
        """Give a task other data; its answers stay."""
        with self._asking(f"changing task {task_id}"):
            self.client.tasks.update(str(task_id), data=data)

    def connect_folder(self, project_id: int, path: str) -> int | None:
        """Let a project serve the files of a folder; return the number of what was made for that, or None."""
        with self._asking(
            f"connecting the folder {path}; the server needs LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and, as "
            "--document-root, its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
        ):
            storages = self.client.import_storage.local
            if any(storage.path == path for storage in storages.list(project=project_id)):
                return None
            return self._id(storages.create(project=project_id, path=path, title="fmltk stimuli", use_blob_urls=True))

    def remove_folder(self, number: int) -> None:
        """Undo `connect_folder`."""
        with self._asking("disconnecting a folder"):
            self.client.import_storage.local.delete(number)

    def media_reader(self) -> MediaReader:
        """Return what fetches media as this user."""
        from fmltk.annotation.labelling.media_check import MediaReader

        def authorization() -> str:
            with self._asking("asking for an access token"):
                return str(self.client._client_wrapper.get_headers()["Authorization"])

        return MediaReader(self.url, authorization, timeout_s=self._timeout_s)

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


def _detail(body: object) -> str:
    """Return what an error's body says."""
    if isinstance(body, dict):
        return "; ".join(f"{key}: {value}" for key, value in body.items() if key in ("detail", "validation_errors"))
    return str(body or "no details")
