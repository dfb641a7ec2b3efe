"""Tokens and keys that fmltk is given, or finds in the environment, are in no log, no file and no list of processes."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ffmpeg import DEMO, cut_clip

if TYPE_CHECKING:
    from collections.abc import Iterator

FMLTK = str(Path(sys.executable).with_name("fmltk"))
SECRET = "s3cr3t-0123456789abcdef0123456789abcdef"
VARIABLES = (
    "LABEL_STUDIO_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
)  # fmt: skip
ENVIRONMENT = {**os.environ, **dict.fromkeys(VARIABLES, SECRET), "AWS_ACCESS_KEY_ID": "name"}


def command_lines() -> bytes:
    """What `ps` shows of every process of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue  # it has just ended
    return b"\n".join(found).replace(b"\0", b" ")


class Server:
    """A server that refuses every request, repeating what it was sent, and looks at the processes meanwhile."""

    def __init__(self, status: int) -> None:
        self.seen: list[str] = []
        self.processes: list[bytes] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                sent = self.headers.get("Authorization", "")
                outer.seen.append(sent)
                outer.processes.append(command_lines())
                body = json.dumps({"detail": f"you sent {sent}", "token": sent}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *arguments: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    one = Server(request.param)
    yield one
    one.close()


@pytest.mark.parametrize(
    ("server", "status", "pull"), [(401, [], ["--json"]), (500, ["--json"], [])], indirect=["server"]
)
def test_a_token_goes_to_the_server_and_nowhere_else(
    server: Server, status: list[str], pull: list[str], tmp_path: Path
) -> None:
    for command in (["status", *status], ["pull", "-o", str(tmp_path / "ratings.parquet"), *pull]):
        argv = [FMLTK, "annotation", *command, "--url", server.url, "--timeout", "600"]
        done = subprocess.run(argv, env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
    assert any(SECRET in sent for sent in server.seen), "the token was used"
    assert any(b"annotation status" in shown for shown in server.processes), "the command was looked at while it ran"
    assert not any(SECRET.encode() in shown for shown in server.processes)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()] == []


def test_secrets_of_the_environment_are_in_no_process_list_log_or_feature_file(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    cut_clip(DEMO / "videos" / "video_0001" / "0001.mp4", videos / "good.mp4", start_s=0.2, seconds=0.5)
    (videos / "bad.mp4").write_bytes(b"no video")
    argv = [
        FMLTK,
        "extract",
        str(videos),
        "-o",
        str(tmp_path / "features"),
        "--text-model",
        "minilm",
        "--openface",
        "none",
        "--workers",
        "1",
    ]
    shown = []
    with (tmp_path / "log").open("wb") as log:
        program = subprocess.Popen(argv, env=ENVIRONMENT, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
        while program.poll() is None:
            shown.append(command_lines())
            time.sleep(0.1)
    assert program.returncode == 3, (tmp_path / "log").read_text()
    for name in (b"fmltk extract", b"fmltk.toolkit.run.worker_program"):
        assert any(name in lines for lines in shown), f"{name!r} was looked at while it ran"
    assert not any(SECRET.encode() in lines for lines in shown)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "manifest.parquet" for path in files)
    assert [path.name for path in files if SECRET.encode() in path.read_bytes()] == []


def test_an_unforeseen_error_shows_no_secret(tmp_path: Path) -> None:
    """A bug's traceback is shown whole: it names no value."""
    program = (
        "import sys\n"
        "from fmltk.annotation.labelling import label_studio_client\n"
        "def broken(*arguments, **options): raise KeyError('unforeseen')\n"
        "label_studio_client.Server.find_project = broken\n"
        "from fmltk.toolkit.cli.main import main\n"
        "main(['annotation', 'status', '--url', 'http://127.0.0.1:9'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "KeyError: 'unforeseen'" in done.stderr
    assert SECRET not in done.stdout + done.stderr
