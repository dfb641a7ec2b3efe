"""Media are fetched as a page of Label Studio fetches them, and every way in which one does not load is one line."""

from __future__ import annotations

import gzip
import random
import re
import time
from typing import TYPE_CHECKING

import pytest

from fmltk.annotation.labelling import media_check
from fmltk.annotation.labelling.media_check import MediaReader, MediumError
from fmltk.annotation.labelling.media_proof import media_to_prove, prove_media
from fmltk.annotation.labelling.project import MediaSource, local_media_url
from fmltk.annotation.labelling.stimuli import Stimulus
from fmltk.toolkit.errors import AnnotationError
from tests.annotation.hostile import Hostile, hostile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.annotation.hostile import Handler

CONTENT = random.Random(13).randbytes(200_000)
ELSEWHERE = "http://127.0.0.1:9"
TOKEN = "Token a-secret"  # of a server that lives for one test
LOGIN = b"<!DOCTYPE html><html><title>Log in</title></html>"


def send(handler: Handler, content: bytes = CONTENT, *, ranges: bool = True, cors: str = "*", **headers: str) -> None:
    """Answer as a good server of media does, but for what a test changes."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range") or "")
    headers = {"Content_Type": "audio/wav", "Access_Control_Allow_Origin": cors, **headers}
    if not asked or not ranges:
        handler.send(content, **headers)
        return
    first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
    headers = {"Content_Range": f"bytes {first}-{last}/{len(content)}", **headers}
    handler.send(content[first : last + 1], 206, **headers)


def cut_off(handler: Handler) -> None:
    send(handler, CONTENT[:65_536], Content_Length=str(len(CONTENT)))
    handler.close_connection = True


def cut_parts(handler: Handler) -> None:
    send(handler, CONTENT if handler.headers.get("Range") is None else CONTENT[:100_100], Content_Length="5")


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Access-Control-Allow-Origin", "*")
    handler.end_headers()
    for start in range(len(CONTENT)):
        handler.wfile.write(CONTENT[start : start + 1])
        time.sleep(0.05)


def to_login(handler: Handler) -> None:
    if handler.path.startswith("/login"):
        handler.send(LOGIN, Content_Type="text/html; charset=utf-8")
    else:
        handler.send(b"", 302, Location="/login")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_check, "SILENCE_S", 0.5)


def reader(url: str = ELSEWHERE, timeout_s: float = 20.0) -> MediaReader:
    return MediaReader(url, lambda: TOKEN, timeout_s=timeout_s)


@pytest.fixture
def site() -> Iterator[Hostile]:
    with hostile(send) as server:
        yield server


def test_a_medium_that_loads_whole_and_in_part_is_good(site: Hostile, path: Path) -> None:
    reader().compare(f"{site.url}/a.wav", path)
    reader().check_beginning(f"{site.url}/a.wav")
    asked = [re.findall(r"Range: (\S+)", one) for one in site.seen]
    assert asked == [[], ["bytes=100000-165535"], ["bytes=0-1023"]]


# How a host serves, what is then said of the whole, and of the beginning alone (None: it is good).
SABOTAGED: list[tuple[str, Callable[[Handler], None], str, str | None]] = [
    ("not found", lambda h: h.send(b"", 404, Content_Type="text/html"), "is 404", "is 404"),
    ("not allowed", lambda h: h.send(b"", 403), "is 403; annotators must get it: who may read", "is 403"),
    ("a password", lambda h: h.send(b"", 401), "is 401; annotators must get it without", "is 401"),
    ("server error", lambda h: h.send(b"", 502), "is 502", "is 502"),
    ("a login page", lambda h: h.send(LOGIN, Content_Type="text/html"), "text/html, not audio", "text/html, not audio"),
    ("a redirect to a login page", to_login, "text/html, not audio or video; let media through", "text/html"),
    ("a page called sound", lambda h: send(h, LOGIN * 9), "byte 0 and what follows is b'<!DOCTYPE ht'", "is a page"),
    ("cut by the connection", cut_off, "breaks off after 65,536 of 200,000 bytes; a proxy", None),
    ("cut and called whole", lambda h: send(h, CONTENT[:9_999]), "breaks off after 9,999 of 200,000", None),
    ("parts are cut", cut_parts, "breaks off", None),
    ("empty", lambda h: send(h, b"", ranges=False), "breaks off after 0 of 200,000", "sends 200"),
    ("longer", lambda h: send(h, CONTENT + b"x"), "longer than 200,000 bytes; another file", None),
    ("another file", lambda h: send(h, CONTENT[::-1]), "byte 0 and what follows is b", None),
    ("another end", lambda h: send(h, CONTENT[:-1] + b"\0"), "byte 199,999 and what follows is b", None),
    ("no parts", lambda h: send(h, ranges=False), "(bytes=100000-165535) the server sends 200", "plays once at most"),
    ("another part", lambda h: send(h, Content_Range="bytes 5-9/10"), "sends 206 and bytes 5-9/10", "bytes 5-9/10"),
    ("compressed", lambda h: send(h, gzip.compress(CONTENT), Content_Encoding="gzip"), "answer (gzip), which", "gzip"),
    ("elsewhere", lambda h: h.send(b"", 302, Location="http://localhost:9/"), "give --media-url with", "redirects"),
    ("in a circle", lambda h: h.send(b"", 302, Location="/again"), "TooManyRedirects", "TooManyRedirects"),
    ("silent", lambda h: time.sleep(3), "nothing more comes in time", "nothing more comes in time"),
    ("drop by drop", drip, "nothing more comes in time", None),
    ("no leave for pages", lambda h: send(h, cors="null"), "(Access-Control-Allow-Origin: null); let", "Allow-Origin"),
    ("leave for others", lambda h: send(h, cors="http://b"), f"pages of {ELSEWHERE} read it", "Allow-Origin: http://b"),
]  # fmt: skip


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("answer", "whole", "beginning"), [one[1:] for one in SABOTAGED], ids=[o[0] for o in SABOTAGED]
)
def test_every_way_not_to_serve_a_medium_is_one_line(
    answer: Callable[[Handler], None], whole: str, beginning: str | None, path: Path
) -> None:
    with hostile(answer) as server:
        with pytest.raises(MediumError) as caught:
            reader(timeout_s=2.0).compare(f"{server.url}/a.wav", path)
        assert whole in str(caught.value)
        assert "\n" not in str(caught.value)
        if beginning is not None:
            with pytest.raises(MediumError) as caught:
                reader(timeout_s=2.0).check_beginning(f"{server.url}/a.wav")
            assert beginning in str(caught.value)
        assert TOKEN not in "".join(server.seen)


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a.wav",
        "file:///etc/passwd",
        "gs://bucket/a.wav",
        "mailto:a@b",
        "http://name:secret@127.0.0.1/a",
        "http://[::1/a",
    ],
)
def test_an_address_that_pages_cannot_fetch_is_one_line(address: str, path: Path) -> None:
    for check in (lambda: reader().compare(address, path), lambda: reader().check_beginning(address)):
        with pytest.raises(MediumError, match="it is not an address of http:// or https://") as caught:
            check()
        assert "secret" not in str(caught.value)


def test_a_host_that_is_not_there_is_one_line(path: Path) -> None:
    with pytest.raises(MediumError, match=r"cannot be reached \(ConnectError\); .* give --unproven"):
        reader("http://127.0.0.1:8").compare("http://127.0.0.1:9/a.wav", path)


def test_the_token_goes_to_the_server_and_nowhere_else(site: Hostile, path: Path) -> None:
    reader(site.url).compare("/data/local-files/?d=a.wav", path)
    reader(site.url).compare(f"{site.url}/a.wav", path)
    reader("http://localhost:9").compare(f"{site.url}/a.wav", path)
    with_token = [TOKEN in one for one in site.seen]
    assert with_token == [True, True, True, True, False, False]
    assert "Origin: http://localhost:9" in site.seen[-1]


def test_a_redirect_to_another_host_does_not_take_the_token_along(site: Hostile, path: Path) -> None:
    with (
        hostile(lambda handler: handler.send(b"", 307, Location=site.url)) as server,
        pytest.raises(MediumError, match=f"redirects to {site.url}, another server"),
    ):
        reader(server.url).compare("/data/local-files/?d=a.wav", path)
    assert site.seen == []


def test_an_https_page_loads_no_http_medium(site: Hostile, path: Path) -> None:
    with pytest.raises(MediumError, match=r"a page of https:// loads no http:// medium; serve it by https://"):
        reader("https://127.0.0.1:9").compare(f"{site.url}/a.wav", path)


def test_a_file_that_cannot_be_read_is_not_called_a_fault_of_the_server(site: Hostile, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"cannot read .*gone\.wav") as caught:
        reader().compare(f"{site.url}/a.wav", tmp_path / "gone.wav")
    assert not isinstance(caught.value, MediumError)


def stimulus(clip: int, **files: str) -> Stimulus:
    return Stimulus(
        f"v$_${clip}", "v", str(clip), "t", files=files, status={**dict.fromkeys(files, "ok"), "text": "ok"}
    )


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Three clips with sound and silent video, of which the second's are the largest."""
    media = tmp_path / "files" / "stimuli" / "media"
    for clip, n_bytes in enumerate((1_000, 200_000, 2_000)):
        for part in ("audio", "silent"):
            (media / part).mkdir(parents=True, exist_ok=True)
            (media / part / f"{clip}.wav").write_bytes(CONTENT[:n_bytes])
    return media


STIMULI = [stimulus(clip, audio=f"audio/{clip}.wav", silent=f"silent/{clip}.wav") for clip in range(3)]
LOCAL, WEB = MediaSource("/data/local-files/?d=stimuli/media/", "/files/stimuli/media"), MediaSource("https://host/")


def test_the_largest_medium_of_each_kind_that_is_shown_is_proven(media: Path) -> None:
    assert media_to_prove(STIMULI, ("AT", "VT", "AV"), media, LOCAL) == ["audio/1.wav", "silent/1.wav"]
    assert media_to_prove(STIMULI, ("AT", "T"), media, LOCAL) == ["audio/1.wav"]
    assert media_to_prove(STIMULI, ("T",), media, LOCAL) == []
    STIMULI[1].status["text"], before = "missing", STIMULI[1].status["text"]
    try:
        assert media_to_prove(STIMULI, ("AT",), media, LOCAL) == ["audio/2.wav"]
        assert media_to_prove(STIMULI, ("AT", "AV"), media, LOCAL) == ["audio/1.wav", "silent/1.wav"]
    finally:
        STIMULI[1].status["text"] = before


@pytest.mark.parametrize("lose", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_files_that_are_missing_or_empty_are_named(media: Path, lose: Callable[[Path], None]) -> None:
    lose(media / "audio" / "2.wav")
    with pytest.raises(AnnotationError, match=r"1 of 3 files of .*audio are missing or empty, such as audio/2\.wav"):
        media_to_prove(STIMULI, ("AV",), media, LOCAL)
    assert media_to_prove(STIMULI, ("AV",), media, WEB) == ["silent/1.wav", "audio/1.wav"]
    for clip in (0, 1):
        lose(media / "audio" / f"{clip}.wav")
    with pytest.raises(AnnotationError, match="3 of 3 files"):
        media_to_prove(STIMULI, ("AV",), media, WEB)


def label_studio_at(root: Path) -> Callable[[Handler], None]:
    """Answer as Label Studio does, which serves the files below `root` at /data/local-files/."""

    def answer(handler: Handler) -> None:
        path = root / handler.path.partition("?d=")[2]
        if path.is_file():
            send(handler, path.read_bytes())
        else:
            handler.send(b"", 404, Content_Type="text/html")

    return answer


@pytest.mark.parametrize(("serves", "given"), [("files", "."), ("files/stimuli", "files"), (".", "files/stimuli")])
def test_the_document_root_that_would_have_been_right_is_named(
    media: Path, tmp_path: Path, serves: str, given: str
) -> None:
    source = MediaSource(local_media_url(media, tmp_path / given), str(media))
    with hostile(label_studio_at(tmp_path / serves)) as server:
        with pytest.raises(AnnotationError) as caught:
            prove_media(reader(server.url), ["audio/1.wav"], media, source)
        right = MediaSource(local_media_url(media, tmp_path / serves), str(media))
        prove_media(reader(server.url), ["audio/1.wav", "silent/0.wav"], media, right)
    said = str(caught.value)
    assert said.startswith(
        f"annotators would not get {server.url}{source.url}audio/1.wav: the answer is 404; expected the 200,000 bytes"
    )
    assert said.endswith(
        f"No task was made; the server serves {tmp_path / serves}: give --document-root {tmp_path / serves}"
    )


def test_a_file_that_the_server_does_not_find_below_any_root_may_be_unreadable_to_it(
    media: Path, tmp_path: Path
) -> None:
    source = MediaSource(local_media_url(media, tmp_path / "files"), str(media))
    with (
        hostile(lambda handler: handler.send(b"Error opening file", 404, Content_Type="text/html")) as server,
        pytest.raises(
            AnnotationError, match=r"no folder above it works as --document-root either: .* may the server's"
        ),
    ):
        prove_media(reader(server.url), ["audio/1.wav"], media, source)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda h: h.send(LOGIN, Content_Type="text/html"), "No task was made; let media through without a login page"),
        (
            lambda h: h.send(b"", 302, Location=f"{ELSEWHERE}/x"),
            f"if the files are there, give --media-url with {ELSEWHERE}",
        ),
        (lambda h: send(h, b"old" + CONTENT), "No task was made; another file, or a page, is served"),
    ],
)
def test_other_roots_are_tried_only_where_nothing_else_is_the_reason(
    media: Path, tmp_path: Path, answer: Callable[[Handler], None], said: str
) -> None:
    source = MediaSource(local_media_url(media, tmp_path / "files"), str(media))
    with hostile(answer) as server:
        with pytest.raises(AnnotationError) as caught:
            prove_media(reader(server.url), ["audio/1.wav"], media, source)
        assert len(server.seen) == 1
    assert str(caught.value).endswith(said)


def test_a_wrong_media_url_says_what_should_be_there(media: Path, site: Hostile) -> None:
    site.answer = lambda handler: handler.send(b"", 404)
    with pytest.raises(AnnotationError, match=r"is it .*media that --media-url leads to\?"):
        prove_media(reader(), ["audio/1.wav"], media, MediaSource(f"{site.url}/wrong/"))
