"""Small exports with a known answer, and a real Label Studio server on loopback."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.annotation.importing.import_files import ImportReport, import_ratings
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.cli.main import main
from tests.processes import LIMIT_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


TIME = "2026-11-22T19:17:{:02d}.000001Z"


class Exports:
    """Makes tasks and annotations as Label Studio writes them."""

    def __init__(self) -> None:
        self.n_annotations = 0

    def annotation(self, rater: Any = 3, label: Any = "1", *, second: int = 0, **fields: Any) -> dict[str, Any]:
        """Return a submitted annotation; `label` None leaves the result empty, fields replace what there is."""
        self.n_annotations += 1
        result = {
            "from_name": "sentiment",
            "to_name": "video",
            "type": "choices",
            "value": {"choices": [label]},
            "origin": "manual",
        }
        return {
            "id": self.n_annotations,
            "completed_by": rater,
            "result": [] if label is None else [result],
            "was_cancelled": False,
            "created_at": TIME.format(second),
            "updated_at": TIME.format(second),
            "lead_time": 2.0,
            "updated_by": rater.get("id") if isinstance(rater, dict) else rater,
            **fields,
        }

    def task(
        self, *annotations: Any, clip: str = "0001", condition: str | None = "VT", **fields: Any
    ) -> dict[str, Any]:
        """Return a task of video "v"; fields replace what there is."""
        data = {"utterance_id": f"v$_${clip}", "video_id": "v", "clip_id": clip, "condition": condition, "text": "t"}
        return {"id": 21, "data": data, "annotations": list(annotations), "drafts": [], "predictions": [], **fields}


@pytest.fixture
def exports() -> Exports:
    return Exports()


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., tuple[list[dict[str, Any]], ImportReport]]:
    """Import what is given (tasks, text or a path) and return the rows and the report."""

    def import_one(
        content: Any,
        *,
        name: str = "export.json",
        options: ImportOptions | None = None,
        drop_unknown: bool = True,
        **kwargs: Any,
    ) -> tuple[list[dict[str, Any]], ImportReport]:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(json.dumps(content), encoding="utf-8")
        output = tmp_path / "out" / "ratings.parquet"
        kwargs.setdefault("overwrite", True)
        options = replace(options or ImportOptions(), drop_unknown=drop_unknown)
        report = import_ratings([path], output, options, **kwargs)
        return read_ratings(output).to_pylist(), report

    return import_one


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int | str | None, str, str]]:
    """Run a command; return its exit code, stdout and stderr."""

    def run_command(*arguments: object) -> tuple[int | str | None, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run_command


@pytest.fixture
def run_json(run: Callable[..., tuple[int | str | None, str, str]]) -> Callable[..., Any]:
    """Run a command of `fmltk annotation` that succeeds; return what it says as JSON."""

    def run_command(*arguments: object) -> Any:
        code, out, err = run("annotation", *arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return run_command


LABEL_STUDIO = "1.23.2"
VENV_VARIABLE = "FMLTK_LABEL_STUDIO_VENV"  # an environment that has Label Studio; otherwise one is made once
CACHE = Path.home() / ".cache" / "fmltk-tests"
ADMIN_TOKEN = "0123456789abcdef0123456789abcdef01234567"  # of a server that lives for one test run, on loopback
PASSWORD = "a-long-enough-password-1"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time install or make the template."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def label_studio_program(may_install: Callable[[str], None] = lambda what: None) -> Path:
    """Return the program, installed into its own environment if it is not there (995 MB, about 3 minutes)."""
    folder = Path(os.environ.get(VENV_VARIABLE) or CACHE / f"label-studio-{LABEL_STUDIO}")
    program = folder / "bin" / "label-studio"
    with locked(CACHE / "install.lock"):
        if not (folder / "installed").exists() and VENV_VARIABLE not in os.environ:
            may_install(f"Label Studio {LABEL_STUDIO}")
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [folder / "bin" / "python", "-m", "pip", "install", "-qq", f"label-studio=={LABEL_STUDIO}"]
            subprocess.run(pip, check=True)
            (folder / "installed").touch()
    return program


def free_port() -> int:
    """Return a port that nobody has, below those that the system hands out: it stays free until the server takes it.

    The server starts for up to two minutes before it does, and would silently take another one then.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


class LabelStudio:
    """A real server on loopback with SQLite, its administrator and its raters."""

    def __init__(self, program: Path, folder: Path, data: Path) -> None:
        self.document_root = folder / "files"
        self.document_root.mkdir(parents=True)
        self.log = folder / "server.log"
        self.outbound = socket.create_server(("127.0.0.1", 0))  # whoever calls out is led here by the proxy variables
        self.outbound.setblocking(False)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        proxy = f"http://127.0.0.1:{self.outbound.getsockname()[1]}"
        environment = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            **{"http_proxy": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy},
            **{"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost", "HOME": str(folder)},
            **{"COLLECT_ANALYTICS": "0", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "LATEST_VERSION_CHECK": "0"},
            "LABEL_STUDIO_BASE_DATA_DIR": str(data),
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.document_root),
        }
        command = [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
        command += ["--data-dir", data, "--username", "admin@example.com", "--password", PASSWORD]
        command += ["--user-token", ADMIN_TOKEN, "--enable-legacy-api-token"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        import requests

        def answers() -> bool:
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"{self.url}/health", timeout=LIMIT_S).status_code == 200
            return False

        waited = wait_until(lambda: answers() or self.process.poll() is not None, every_s=0.5)
        if not waited or self.process.poll() is not None:
            self.stop()
            pytest.fail(f"Label Studio did not start: {self.log.read_text()[-2000:]}", pytrace=False)

    def stop(self) -> None:
        """End the server that was started, and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.outbound.close()

    def calls_out(self) -> list[str]:
        """Return the first line of every call to another machine since the last time, such as CONNECT host:443."""
        calls = []
        while True:
            try:
                connection, _ = self.outbound.accept()
            except BlockingIOError:
                return calls
            with connection:
                connection.settimeout(LIMIT_S)
                calls.append(connection.recv(4096).split(b"\r\n")[0].decode(errors="replace"))

    def ask(self, method: str, path: str, token: str = ADMIN_TOKEN, **arguments: Any) -> Any:
        """Call the API as somebody and return its answer."""
        import requests

        headers = {"Authorization": f"Token {token}"}
        answer = requests.request(method, self.url + path, headers=headers, timeout=LIMIT_S, **arguments)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def sign_up(self, email: str) -> Rater:
        """Sign a rater up through the invitation link, as people do."""
        import requests

        session = requests.Session()
        page = self.url + self.ask("GET", "/api/invite")["invite_url"]
        session.get(page, timeout=LIMIT_S)
        form = {"csrfmiddlewaretoken": session.cookies["csrftoken"], "email": email, "password": PASSWORD}
        answer = session.post(page, data=form, headers={"Referer": page}, timeout=LIMIT_S)
        assert answer.ok
        token = session.get(f"{self.url}/api/current-user/token", timeout=LIMIT_S).json()["token"]
        return Rater(self, email, token, str(self.ask("GET", "/api/current-user/whoami", token)["id"]))


class Rater:
    """A signed-up user who answers through the API."""

    def __init__(self, server: LabelStudio, email: str, token: str, identity: str) -> None:
        self.server, self.email, self.token, self.identity = server, email, token, identity

    def _result(self, value: int, to_name: str) -> list[dict[str, Any]]:
        choice = {"from_name": "sentiment", "to_name": to_name, "type": "choices", "value": {"choices": [str(value)]}}
        return [choice]

    def rate(self, task: int, value: int, to_name: str) -> int:
        body = {"result": self._result(value, to_name), "lead_time": 4.5}
        answer: dict[str, Any] = self.server.ask("POST", f"/api/tasks/{task}/annotations/", self.token, json=body)
        return int(answer["id"])

    def change(self, annotation: int, value: int, to_name: str) -> None:
        body = {"result": self._result(value, to_name)}
        self.server.ask("PATCH", f"/api/annotations/{annotation}/", self.token, json=body)

    def skip(self, task: int) -> None:
        self.server.ask(
            "POST", f"/api/tasks/{task}/annotations/", self.token, json={"result": [], "was_cancelled": True}
        )

    def draft(self, task: int, value: int, to_name: str) -> None:
        body = {"result": self._result(value, to_name), "lead_time": 1.0}
        self.server.ask("POST", f"/api/tasks/{task}/drafts", self.token, json=body)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory, may_install: Callable[[str], None]) -> Iterator[LabelStudio]:
    """A running server with an empty database of its own."""
    program = label_studio_program(may_install)
    template = CACHE / f"label-studio-{LABEL_STUDIO}-empty"
    with locked(CACHE / "template.lock"):
        if not template.exists():
            draft = tmp_path_factory.mktemp("template")
            LabelStudio(program, draft / "run", draft / "data").stop()
            shutil.copytree(draft / "data", template.with_suffix(".part"), dirs_exist_ok=True)
            template.with_suffix(".part").rename(template)
    folder = tmp_path_factory.mktemp("label-studio")
    shutil.copytree(template, folder / "data")
    server = LabelStudio(program, folder / "run", folder / "data")
    yield server
    server.stop()
