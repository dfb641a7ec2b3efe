"""A server on loopback that answers as a test says, and keeps what came."""

from __future__ import annotations

import contextlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Handler(BaseHTTPRequestHandler):
    """Answers every request by `server.answer`, and keeps what came."""

    server: Hostile

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append(f"{self.command} {self.path} {self.headers} {self.rfile.read(length)!r}")
        with contextlib.suppress(OSError):  # the client has hung up
            self.server.answer(self)

    do_POST = do_PATCH = do_DELETE = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **given}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Hostile(ThreadingHTTPServer):
    daemon_threads = True
    answer: Callable[[Handler], None]
    seen: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hostile(answer: Callable[[Handler], None]) -> Iterator[Hostile]:
    server = Hostile(("127.0.0.1", 0), Handler)
    server.answer, server.seen = answer, []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
