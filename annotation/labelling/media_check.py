"""Whether media load where raters look for them: fetched as a page of Label Studio does, from the server or elsewhere.

Tried in Chromium: besides the file, a page needs answers to requests for a part of it (without them nobody can play it
a second time) and, where another host has the files, leave of that host for the server's pages to read them (CORS).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from fmltk.annotation.labelling.guarded_http import MediaGuard, origin_of
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.files import cannot_read, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SILENCE_S = 30.0  # a host that sends nothing for so long serves no media
PART_BYTES = 1 << 16  # of the middle of a file
FIRST_BYTES = 1 << 10  # of a medium without a file to compare with
SHOWN_BYTES = 12  # of what differs
_REMEDIES = {
    401: "annotators must get it without another password",
    403: "annotators must get it: who may read it there, and is serving local files switched on?",
}
_LOGIN = "let media through without a login page"
_UNREACHED = (
    "is the address right and the server running? if annotators reach it and this machine does not, give --unproven"
)


class MediumError(AnnotationError):
    """Why a medium does not load: what was found, and what to do about it if that is known."""

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(f"{found}; {remedy}" if remedy else found)
        self.found, self.remedy = found, remedy


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file: the number of its first byte, and of the one after its last."""

    start: int
    end: int

    @property
    def header(self) -> str:
        return f"bytes={self.start}-{self.end - 1}"


class MediaReader:
    """Fetches media by the addresses that tasks hold; the access token goes to the server alone.

    server_url : where Label Studio is, and the media whose addresses name no host
    authorization : returns the header that the server wants
    timeout_s : how long one medium may take
    """

    def __init__(self, server_url: str, authorization: Callable[[], str], *, timeout_s: float) -> None:
        self._server = httpx.URL(f"{server_url}/")
        self.site = _site(self._server)  # as pages are called by browsers
        self._authorization = authorization
        self._timeout_s = timeout_s
        self._guards: dict[str, MediaGuard] = {}

    def is_at(self, address: str, base: str = "") -> bool:
        """Whether an address is on the host of another; default: on the server's."""
        try:
            return origin_of(self._server.join(address)) == origin_of(self._server.join(base))
        except httpx.InvalidURL:
            return False

    def check_beginning(self, address: str) -> None:
        """Raise MediumError unless the first bytes of a medium come, and are not those of a page."""
        with self._answer(address, _Part(0, FIRST_BYTES)) as answer:
            block = next(answer.iter_raw(), b"")
            if not block.strip():
                raise MediumError("it is empty")
            if block.lstrip().startswith(b"<"):
                raise MediumError("the answer is a page", _LOGIN)

    def compare(self, address: str, path: Path) -> None:
        """Raise MediumError unless a medium loads as exactly the bytes of a file: all of them, and a part by itself.

        Raises AnnotationError if the file cannot be read.
        """
        try:
            size = path.stat().st_size
            with self._answer(address, None) as answer, open_file(path) as file:
                _compare(answer, file.read, _Part(0, size))
            part = _Part(size // 2, min(size // 2 + PART_BYTES, size))
            with self._answer(address, part) as answer, open_file(path) as file:
                file.seek(part.start)
                _compare(answer, file.read, part)
        except OSError as error:
            raise AnnotationError(cannot_read(path, error)) from error

    @contextmanager
    def _answer(self, address: str, part: _Part | None) -> Iterator[httpx.Response]:
        """Ask for a medium, or a part of it, as a page of the server does.

        Raises MediumError unless a page could read what comes.
        """
        try:
            url = self._server.join(address)
            headers = {} if part is None else {"Range": part.header}
            if self.is_at(address):
                headers["Authorization"] = self._authorization()
            else:
                headers["Origin"] = self.site
            guard = self._guard(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise MediumError(f"it is not an address of http:// or https:// ({error})") from error
        try:
            with guard.call(), guard.client.stream("GET", url, headers=headers) as answer:
                self._check_answer(answer, part)
                yield answer
        except (httpx.HTTPError, RuntimeError, AnnotationError) as error:
            if isinstance(error, httpx.TimeoutException) or guard.is_over:
                raise MediumError("nothing more comes in time", "does a proxy hold it up?") from None
            if isinstance(error, httpx.HTTPError):
                raise MediumError(f"it cannot be reached ({type(error).__name__})", _UNREACHED) from None
            if isinstance(error, RuntimeError | MediumError):
                raise
            raise MediumError(*str(error).split("; ", 1)) from None  # the guard's

    def _guard(self, url: httpx.URL) -> MediaGuard:
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise ValueError(f"{url.scheme}://{url.host}")
        site = _site(url)
        if site not in self._guards or self._guards[site].is_over:
            self._guards[site] = MediaGuard(site, timeout_s=self._timeout_s, silence_s=SILENCE_S)
        return self._guards[site]

    def _check_answer(self, answer: httpx.Response, part: _Part | None) -> None:
        """Raise MediumError for a status or a header that keeps a page from playing the medium."""
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not answer.is_success:
            raise MediumError(f"the answer is {answer.status_code}", _REMEDIES.get(answer.status_code, ""))
        if kind.startswith("text/"):
            raise MediumError(f"the answer is of type {kind}, not audio or video", _LOGIN)
        if part is not None:
            found = answer.headers.get("content-range", "nothing of a part")[: SHOWN_BYTES * 4]
            if answer.status_code != httpx.codes.PARTIAL_CONTENT or not found.startswith(f"bytes {part.start}-"):
                raise MediumError(
                    f"asked for a part ({part.header}) the server sends {answer.status_code} and {found}, so that it "
                    "plays once at most",
                    "serve it by a server that answers requests for parts, such as nginx",
                )
        if origin_of(answer.url) == origin_of(self._server):
            return
        if answer.url.scheme == "http" and self._server.scheme == "https":
            raise MediumError("a page of https:// loads no http:// medium", "serve it by https://")
        allowed = answer.headers.get("access-control-allow-origin", "not sent")[:99]
        if allowed not in ("*", self.site):
            raise MediumError(
                f"its host does not let pages of {self.site} read it (Access-Control-Allow-Origin: {allowed})",
                f"let the host send Access-Control-Allow-Origin: {self.site}",
            )


def _site(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _compare(answer: httpx.Response, read: Callable[[int], bytes], part: _Part) -> None:
    """Raise MediumError unless an answer is the bytes of a part of a file, which `read` gives."""
    n_bytes = 0
    length = part.end - part.start
    cut = "a proxy or a limit on the way cuts it"
    try:
        for block in answer.iter_raw():
            wanted = read(min(len(block), length - n_bytes))
            if block != wanted:
                at = next((i for i, (a, b) in enumerate(zip(block, wanted, strict=False)) if a != b), len(wanted))
                if n_bytes + at == length:
                    raise MediumError(f"the answer is longer than {length:,} bytes", "another file is served")
                found, expected = (bytes_[at : at + SHOWN_BYTES] for bytes_ in (block, wanted))
                raise MediumError(
                    f"byte {part.start + n_bytes + at:,} and what follows is {found!r}, not {expected!r}",
                    "another file, or a page, is served",
                )
            n_bytes += len(block)
    except httpx.TransportError as error:
        if isinstance(error, httpx.TimeoutException):
            raise
        raise MediumError(f"it breaks off after {n_bytes:,} of {length:,} bytes", cut) from None
    if n_bytes < length:
        raise MediumError(f"it breaks off after {n_bytes:,} of {length:,} bytes", cut)
