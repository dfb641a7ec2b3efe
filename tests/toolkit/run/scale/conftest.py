"""A bucket, a store that fails for a while, and a Ray cluster of two machines, all on loopback."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import LIMIT_S, command_line, kill_session, session_ids, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


HERE = Path(__file__).parent
BUCKET = "clips"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S):
        return True
    return False


class Proxy(ThreadingHTTPServer):
    """Passes requests on to the S3 server; `fail` makes it answer 503 to them for a while."""

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port = target_port
        self.n_puts_first, self.fail_s = 0, 0.0
        self.failing_until: float | None = 0.0
        self.n_failed = 0
        self.requests: list[str] = []

    def fail(self, seconds: float, *, after_puts: int = 0) -> None:
        """Answer 503 for `seconds` from the first request that follows so many PUTs, however late it comes."""
        self.n_puts_first, self.fail_s, self.failing_until = after_puts, seconds, None

    def is_failing(self, method: str) -> bool:
        if self.n_puts_first > 0:
            self.n_puts_first -= method == "PUT"
            return False
        if self.failing_until is None:
            self.failing_until = time.monotonic() + self.fail_s
        return method != "DELETE" and time.monotonic() < self.failing_until


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass_on(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.is_failing(self.command):
            self.server.n_failed += 1
            self.send_response(503, "Slow Down")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        if body:
            headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=LIMIT_S)
        connection.request(self.command, self.path, body=body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass_on

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """An S3 server on loopback behind a proxy that can fail, with an empty bucket; the environment points there."""
    port = free_port()
    log = (tmp_path_factory.mktemp("moto") / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    assert wait_until(lambda: _answers(port))
    proxy = Proxy(port)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "very-secret-key",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    import pyarrow.fs as pf

    pf.S3FileSystem(
        endpoint_override=variables["AWS_ENDPOINT_URL"], region="us-east-1", allow_bucket_creation=True
    ).create_dir(BUCKET)
    yield proxy
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    proxy.shutdown()
    server.kill()
    server.wait()
    log.close()


class Cluster:
    """Two Ray nodes of one CPU each on this machine, started as one does on two."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._node("--head", "--node-ip-address=127.0.0.1", f"--port={self.port}", "--include-dashboard=false",
                   f"--temp-dir={self.folder}")  # fmt: skip
        assert wait_until(lambda: _answers(self.port)), self.log()
        self.add_node()

    def add_node(self) -> None:
        self._node(f"--address={self.address}", "--node-ip-address=127.0.0.1")

    def _node(self, *options: str) -> None:
        log = (self.folder.parent / f"node{len(self.nodes)}.log").open("wb")
        self.nodes.append(
            subprocess.Popen(
                [str(Path(sys.executable).with_name("ray")), "start", *options, "--num-cpus=1", "--block",
                 "--disable-usage-stats", "--object-store-memory=80000000"],
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(HERE)},
            )
        )  # fmt: skip
        log.close()

    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.parent.glob("node*.log"))

    def kill(self, index: int) -> None:
        """Kill every process of a node, as a machine that is switched off."""
        kill_session(self.nodes[index].pid)
        self.nodes[index].wait()

    def worker_processes(self) -> list[int]:
        """Return the processes that have the models, of every node."""
        members = [one for node in self.nodes for one in session_ids(node.pid)]
        return [one for one in members if "-m fmltk.toolkit.run.worker_program" in command_line(one)]

    def stop(self) -> None:
        for index in reversed(range(len(self.nodes))):
            self.kill(index)


@pytest.fixture(scope="session")
def cluster(store: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets need a short path
        nodes = Cluster(Path(folder) / "r")
        nodes.folder.mkdir()
        try:
            nodes.start()
            yield nodes
        finally:
            nodes.stop()
