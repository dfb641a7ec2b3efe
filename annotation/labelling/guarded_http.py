"""HTTP with a server that may be anyone's: credentials go to one origin, and every answer is bounded.

httpx's hooks see each request before it is sent and each answer before it is read, those of redirects too.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx

from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.documents import MAX_JSON_CHARS, parse_json_value

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ANSWER_BYTES = MAX_JSON_CHARS  # of an answer that is one JSON document; a page of 500 tasks is below 1 MB
MAX_DOWNLOAD_BYTES = 4 << 30  # of an export, which is written to disk as it comes: 2281 tasks and 5 raters are 7.5 MB
MAX_REDIRECTS = 5


class Guard:
    """An httpx client that talks to one server and bounds what comes from there.

    url : the server, whose origin (scheme, host and port) alone is talked to
    timeout_s : how long a call may take in all, its redirects and pages included
    silence_s : how long the server may send nothing; default: as long as the call may take
    """

    def __init__(self, url: str, *, timeout_s: float, silence_s: float | None = None) -> None:
        self.url = url
        self._origin = origin_of(httpx.URL(url))
        self._timeout_s = timeout_s
        self._end = float("inf")
        self.client = httpx.Client(
            timeout=min(silence_s or timeout_s, timeout_s),
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            headers={"Accept-Encoding": "identity"},  # a few kilobytes that unpack to gigabytes are refused
            event_hooks={"request": [self._check_request], "response": [self._check_response]},
        )

    @contextmanager
    def call(self) -> Iterator[None]:
        """Begin a call; when its time is over the connection is closed, though the server sends byte after byte."""
        self._end = time.monotonic() + self._timeout_s
        watch = threading.Timer(self._timeout_s, self.client.close)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    @property
    def is_over(self) -> bool:
        """Whether the last call took longer than it may; the client is then closed."""
        return time.monotonic() >= self._end

    def check_time(self) -> None:
        """Raise httpx's ReadTimeout once the call has taken as long as it may."""
        if self.is_over:
            raise httpx.ReadTimeout(f"no answer within {self._timeout_s:g} s")

    def _check_request(self, request: httpx.Request) -> None:
        self.check_time()
        if origin_of(request.url) != self._origin:
            host = f"{request.url.scheme}://{request.url.netloc.decode('ascii', 'replace')}"
            raise AnnotationError(
                f"{self.url} redirects to {host}, another server, which is not followed{self._why(host)}"
            )

    def _why(self, host: str) -> str:
        """Return why a redirect to another server is not followed, and what to do."""
        return f": it would get the access token. If that is where Label Studio is, give --url {host}"

    def _check_response(self, response: httpx.Response) -> None:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            raise AnnotationError(
                f"{self.url} sends a compressed answer ({encoding}), which was not asked for; does a proxy compress it?"
            )
        self._bound(response)

    def _bound(self, response: httpx.Response) -> None:
        """Limit the bytes of an answer, and of one that is JSON its depth."""
        is_download = response.request.url.path.endswith("/download") and response.is_success
        limit = MAX_DOWNLOAD_BYTES if is_download else MAX_ANSWER_BYTES
        response.stream = _BoundedStream(response.stream, self, limit)
        if not is_download:
            content = response.read()
            if response.is_success and content:
                parse_json_value(content, name=f"the answer of {self.url}", error=AnnotationError)


class MediaGuard(Guard):
    """The same for media: they are read as they come, whatever they hold."""

    def _why(self, host: str) -> str:
        return f"; if the files are there, give --media-url with {host}"

    def _bound(self, response: httpx.Response) -> None:
        limit = MAX_DOWNLOAD_BYTES if response.is_success else MAX_ANSWER_BYTES
        response.stream = _BoundedStream(response.stream, self, limit)


class _BoundedStream(httpx.SyncByteStream):
    """The body of an answer, up to a number of bytes and until the call's time is over."""

    def __init__(self, body: Any, guard: Guard, limit: int) -> None:
        self._body, self._guard, self._limit = body, guard, limit

    def __iter__(self) -> Iterator[bytes]:
        n_bytes = 0
        for block in self._body:
            self._guard.check_time()
            n_bytes += len(block)
            if n_bytes > self._limit:
                raise AnnotationError(f"{self._guard.url} sends more than {self._limit:,} bytes; is it Label Studio?")
            yield block

    def close(self) -> None:
        self._body.close()


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return the scheme, host and port of an address: what a browser takes for one server."""
    usual = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or usual
