"""A server that is not what it seems: no credential goes elsewhere, and every answer ends in one line in time."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.annotation.labelling import label_studio_client
from fmltk.annotation.labelling.label_studio_client import Server
from fmltk.annotation.labelling.project import ProjectPlan
from fmltk.annotation.labelling.pushing import push_projects
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import AnnotationError
from tests.annotation.hostile import hostile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.annotation.hostile import Handler

TOKEN = "legacy-secret-token"
LIMIT_S = 30.0  # far above what is waited for, far below for ever
BOMB = gzip.compress(b" " * 20_000_000)  # more than a document may have
PLAN = ProjectPlan("AT", Scale.parse("-1..1"), "en", "films")


def part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


REFRESH_TOKEN = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'token_type': 'refresh', 'exp': 4_000_000_000})}.c2ln"


def refused(act: Callable[[], object]) -> str:
    """Return the one line that an action ends in, in bounded time."""
    started = time.monotonic()
    with pytest.raises(AnnotationError) as error:
        act()
    assert time.monotonic() - started < LIMIT_S
    assert "\n" not in str(error.value)
    return str(error.value)


def documents(*answers: object) -> Callable[[Handler], None]:
    """Answer with one document after another, with the last for ever."""
    left = list(answers)

    def answer(handler: Handler) -> None:
        handler.send(json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode())

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("token", [TOKEN, REFRESH_TOKEN])
def test_no_credential_follows_a_redirect_to_another_server(status: int, token: str) -> None:
    with hostile(documents([])) as thief:
        for target in (thief.url, thief.url.replace("127.0.0.1", "localhost"), "http://127.0.0.1:9"):
            elsewhere = f"{target}/collect"
            with hostile(lambda handler, to=elsewhere: handler.send(b"", status, Location=to)) as server:
                said = refused(lambda at=server.url: Server(at, token).find_project("films AT"))
            assert f"redirects to {target}, another server" in said
            assert token not in said
        assert thief.seen == []


@pytest.mark.parametrize("target", ["https://127.0.0.1:{port}/", "ftp://127.0.0.1:{port}/", "//localhost:{port}/x"])
def test_a_redirect_to_another_scheme_or_host_is_refused(target: str) -> None:
    with hostile(lambda handler: None) as server:
        where = target.format(port=server.server_port)
        server.answer = lambda handler: handler.send(b"", 307, Location=where)
        assert "another server" in refused(lambda: Server(server.url, TOKEN).find_project("films AT"))
        assert len(server.seen) == 1


def test_an_https_server_that_sends_to_http_gets_nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from fmltk.annotation.labelling.guarded_http import Guard

    guard = Guard("https://films.example", timeout_s=5)
    sent = httpx.Request("GET", "http://films.example/api/projects/", headers={"Authorization": TOKEN})
    with guard.call(), pytest.raises(AnnotationError, match=r"redirects to http://films\.example, another server"):
        guard._check_request(sent)
    with guard.call():
        guard._check_request(httpx.Request("GET", "https://films.example:443/api/projects/"))


def test_a_redirect_on_the_same_server_is_followed_a_few_times() -> None:
    def once(handler: Handler) -> None:
        if handler.path.startswith("/old"):
            handler.send(b'{"count": 0, "results": []}')
        else:
            handler.send(b"", 301, Location="/old/projects/")

    with hostile(once) as server:
        assert Server(server.url, TOKEN).find_project("films AT") is None
    with hostile(lambda handler: handler.send(b"", 302, Location="/again")) as server:
        assert "TooManyRedirects" in refused(lambda: Server(server.url, TOKEN).find_project("films AT"))
        assert len(server.seen) <= 7


def endless_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65_536)


def slow_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.1)


def slow_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.1)


def silent(handler: Handler) -> None:
    time.sleep(5)


def busy(handler: Handler) -> None:
    handler.send(b"{}", 503, Retry_After="3600")


def bomb(handler: Handler) -> None:
    handler.send(BOMB, Content_Encoding="gzip")


def deep(handler: Handler) -> None:
    handler.send(b"[" * 100_000 + b"]" * 100_000)


def deep_error(handler: Handler) -> None:
    handler.send(b"[" * 100_000 + b"]" * 100_000, 500)


def page(handler: Handler) -> None:
    handler.send(b"<html>Welcome</html>", Content_Type="text/html")


def cut(handler: Handler) -> None:
    handler.send(b'{"results": [', Content_Length="100")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (endless_body, "bytes; is it Label Studio"),
        (slow_body, "did not answer in time"),
        (slow_headers, "did not answer in time"),
        (silent, "did not answer in time"),
        (busy, "answered 503"),
        (bomb, "compressed answer (gzip)"),
        (deep, "deep in each other"),
        (deep_error, "otherwise than Label Studio"),
        (page, "is not JSON"),
        (cut, "cannot reach"),
    ],
)
def test_every_answer_ends_in_one_line_within_the_time_that_a_call_may_take(
    answer: Callable[[Handler], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_studio_client, "N_ATTEMPTS", 1)
    with hostile(answer) as server:
        one = Server(server.url, TOKEN, timeout_s=1.5 if said.endswith("in time") else LIMIT_S)
        message = refused(lambda: one.find_project("films AT"))
        assert said in message
        assert TOKEN not in message
        assert said in refused(lambda: one.download(1, tmp_path / "AT.json")), "also where the client is made again"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "document", [None, [], 7, "text", {}, {"results": None}, {"results": 7}, {"results": [None]}, {"results": [{}]}]
)
def test_odd_documents_are_one_line_or_no_project(document: object) -> None:
    with hostile(documents(document)) as server:
        one = Server(server.url, TOKEN, timeout_s=5)
        if document in ({}, {"results": None}):
            assert one.find_project("films AT") is None
        else:
            assert "is it" in refused(lambda: one.find_project("films AT"))
        assert len(server.seen) <= 2


@pytest.mark.parametrize("created", [None, {}, {"id": None}, {"id": "x"}, [], {"title": "films AT"}])
def test_a_push_whose_answer_has_no_project_posts_no_task(created: object) -> None:
    with hostile(documents({"count": 0, "results": []}, created)) as server:
        message = refused(
            lambda: push_projects(Server(server.url, TOKEN, timeout_s=5), [(PLAN, [{"utterance_id": "v$_$1"}])])
        )
        assert "is it" in message
        assert [one.split()[0] for one in server.seen] == ["GET", "POST"]
        assert not [one for one in server.seen if "None" in one.splitlines()[0]]


def test_a_listing_that_repeats_itself_ends() -> None:
    project = {"id": 3, "title": "others"}
    with hostile(documents({"count": 10**9, "results": [project] * 100})) as server:
        message = refused(lambda: Server(server.url, TOKEN, timeout_s=20).find_project("films AT"))
    assert "lists 1 entries and 501 of them again" in message


@pytest.mark.parametrize("limit", [10, 25])
def test_a_listing_without_an_end_ends(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio_client, "MAX_LISTED", limit)
    numbers = iter(range(10**9))

    def answer(handler: Handler) -> None:
        handler.send(json.dumps({"results": [{"id": next(numbers), "title": "others"}]}).encode())

    with hostile(answer) as server:
        message = refused(lambda: Server(server.url, TOKEN, timeout_s=20).find_project("films AT"))
    assert f"lists {limit + 1} entries" in message


def test_an_export_without_an_end_is_cut_off_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmltk.annotation.labelling import guarded_http

    monkeypatch.setattr(guarded_http, "MAX_DOWNLOAD_BYTES", 1 << 20)
    monkeypatch.setattr(label_studio_client, "N_ATTEMPTS", 1)

    def answer(handler: Handler) -> None:
        if handler.path.partition("?")[0].endswith("/download"):
            endless_body(handler)
        else:
            handler.send(b'{"id": 5, "status": "completed"}')

    with hostile(answer) as server:
        message = refused(lambda: Server(server.url, TOKEN, timeout_s=20).download(1, tmp_path / "AT.json"))
    assert "sends more than 1,048,576 bytes" in message
    assert list(tmp_path.iterdir()) == []
