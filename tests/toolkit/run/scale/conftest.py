"""A bucket, a store that fails for a while, and a Ray cluster of two machines, all on loopback."""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import LIMIT_S
from tests.toolkit.run.scale.nodes import Cluster, bucket_at, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as port:
        proxy = Proxy(port)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        with bucket_at(proxy.server_address[1]):
            yield proxy
        proxy.shutdown()


@pytest.fixture(scope="session")
def cluster(store: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # sockets need a short path
        nodes = Cluster(Path(folder) / "r")
        nodes.folder.mkdir()
        try:
            nodes.start()
            nodes.add_node()
            yield nodes
        finally:
            nodes.stop()
