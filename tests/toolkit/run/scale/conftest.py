"""A bucket, a store that fails for a while, and a Ray cluster of two machines, all on loopback."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def leave_out(reason: str) -> NoReturn:
    """Skip, or fail in continuous integration, where everything is there by construction."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{reason}: in continuous integration this must be there", pytrace=False)
    pytest.skip(reason)


HERE = Path(__file__).parent
BUCKET = "clips"


def wait_until(condition: Callable[[], bool], *, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Proxy(ThreadingHTTPServer):
    """Passes requests on to the S3 server; `fail` makes it answer 503 to the next requests of some methods."""

    daemon_threads = True

    def __init__(self, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_port = target_port
        self.failing_until = 0.0
        self.methods: tuple[str, ...] = ()
        self.n_failed = 0
        self.requests: list[str] = []

    def fail(self, seconds: float, *methods: str) -> None:
        self.methods, self.failing_until = methods or ("GET", "PUT", "HEAD", "POST"), time.monotonic() + seconds


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
        if self.command in self.server.methods and time.monotonic() < self.server.failing_until:
            self.server.n_failed += 1
            self.send_response(503, "Slow Down")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        if body:
            headers["Content-Length"] = str(len(body))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=60)
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
    if importlib.util.find_spec("moto") is None:
        leave_out("moto is not installed: pip install 'moto[server]'")
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


def _session(leader: int) -> list[tuple[int, str]]:
    """Return (process id, command line) of every process of a session."""
    listing = subprocess.run(["ps", "-eo", "sess=,pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listing.splitlines()]
    return [(int(pid), argv[0] if argv else "") for session, pid, *argv in lines if session == str(leader)]


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
        for pid, _ in _session(self.nodes[index].pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.nodes[index].wait()

    def worker_processes(self) -> list[int]:
        """Return the processes that have the models, of every node."""
        members = [one for node in self.nodes for one in _session(node.pid)]
        return [pid for pid, argv in members if "-m fmltk.toolkit.run.local_engine" in argv]

    def stop(self) -> None:
        for index in reversed(range(len(self.nodes))):
            self.kill(index)


@pytest.fixture(scope="session")
def cluster(store: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        leave_out("Ray is not installed: pip install 'fmltk[ray]'")

    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets need a short path
        nodes = Cluster(Path(folder) / "r")
        nodes.folder.mkdir()
        try:
            nodes.start()
            yield nodes
        finally:
            nodes.stop()
