"""The report in Chromium: it renders, filters, plays, logs no error, asks for nothing, and runs nobody's script."""

from __future__ import annotations

import functools
import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.catalog.exclusions import read_exclusions
from fmltk.toolkit.clip import Clip
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.report.charts import histogram, small_histograms
from fmltk.toolkit.report.clips import gather_clips
from fmltk.toolkit.report.document import (
    CHECK,
    KNOW,
    SPOILS,
    Case,
    Contribution,
    Finding,
    Section,
    Table,
    Tile,
)
from fmltk.toolkit.report.render import render
from fmltk.toolkit.report.timeline import Timeline
from tests.accessibility import show, violations
from tests.processes import wait_until

from .conftest import DEMO, HOSTILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.browser

QUIET = Reporter(quiet=True)
WIDTHS = {"desktop": 1280, "phone": 390}


def all_cases() -> list[Case]:
    cases = [
        Case("clip$_$00", text=HOSTILE, source="video_0001/0001.mp4", status="ok", split="test"),
        Case("clip$_$01", text="Linked, not embedded", source="video_0001/0002.mp4", split="train"),
        Case(HOSTILE, text="a hostile id", reason=HOSTILE, status="failed", split=HOSTILE),
    ]
    cases[0].truths = {"M": 1.0, "T": 1.0, "A": -0.6, "V": 0.0}
    cases[0].predictions = {"M": -0.2, "T": 0.8, "A": -0.5, "V": 0.1}
    cases[0].classes, cases[0].wrong = {"M": "PS", "T": "PS", "A": "WN", "V": "NU"}, ["M", "V"]
    cases[0].timeline = Timeline(
        duration_s=4.4,
        shots=[0.0, 2.0],
        people={0: [(0.0, 4.4)], 3: [(1.0, 2.0)]},
        speaker=[(0.0, 3.0)],
        boxes=[(0.0, 100, 100, 300, 400), (0.2, 300, 100, 500, 400), (2.9, 0, 0, 100, 100)],
        words=[("script", 0.0, 0.5), ("title", 0.5, 1.0), ("absent", 1.0, 1.5)],
    )
    cases[0].speaker, cases[0].note = "asd, 80% of the speech", "A label of 0 counts as negative"
    cases[0].shares = {"T": 0.5, "A": -0.25, "V": 0.0}
    cases[1].predicted_classes = {"M": "WP"}
    cases[1].truths, cases[1].predictions = {"M": 0.6, "T": 0.6, "A": 0.6, "V": 0.6}, {"M": 0.5}
    cases[1].classes, cases[1].wrong = {"M": "WP", "T": "WP", "A": "WP", "V": "WP"}, []
    cases += [Case(f"more$_${number:02d}", text=f"sentence {number}", split="train") for number in range(50)]
    return cases


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    out = folder / "report.html"
    shutil.copytree(DEMO / "video_0001", folder / "videos" / "video_0001")
    cases = all_cases()
    clips = gather_clips(cases[:1], folder / "videos", out, limit_bytes=5_000_000, reporter=QUIET)
    clips.links |= gather_clips(cases[1:2], folder / "videos", out, limit_bytes=0, reporter=QUIET).links
    blocks = [
        Tile("clips", "53"),
        histogram("Durations", [1, 2, 3], unit="s"),
        small_histograms("Many", [f"feature {k}" for k in range(40)], [np.arange(9.0)] * 40, unit="Hz"),
        Table(HOSTILE, ("a", "b"), [(HOSTILE, 1)]),
        Table("Wide", [f"column {k}" for k in range(30)], [[0.5] * 30], folded=True),
    ]
    whole = Contribution(
        findings=[
            Finding(HOSTILE, KNOW, blocks[2]),
            Finding("look", CHECK, clips="anywrong"),
            Finding("folded", SPOILS, blocks[4]),
        ],
        sections=[Section(HOSTILE, 1, blocks)],
        cases=cases,
    )
    out.write_text(render("A report", whole, clips), encoding="utf-8")
    return out


@pytest.fixture
def opened(chromium: Any, page: Path) -> Any:
    width(chromium, "desktop")
    for log in ("browser", "performance"):
        chromium.get_log(log)
    chromium.get(page.as_uri())
    return chromium


def width(browser: Any, name: str) -> None:
    metrics = {"width": WIDTHS[name], "height": 900, "deviceScaleFactor": 1, "mobile": name == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def until(condition: Callable[[], object]) -> None:
    assert wait_until(condition), "did not happen"


def ids(browser: Any) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.case h3')].map((one) => one.firstChild.textContent)"
    )
    return found


def choose(browser: Any, field: str, value: str) -> None:
    browser.execute_script(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event('input', {bubbles: true}));",
        field,
        value,
    )


def test_it_renders_without_an_error_and_without_a_request(opened: Any, page: Path) -> None:
    assert opened.title == "A report"
    assert len(ids(opened)) == 24
    assert opened.execute_script("return document.querySelectorAll('figure svg[role=img] title').length") == 2
    until(lambda: opened.execute_script("return document.querySelector('video').readyState") >= 1)
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in urls  # the log is in force
    assert [url for url in urls if not url.startswith(("file:", "blob:", "data:"))] == []


def test_hostile_words_are_shown_and_do_nothing(opened: Any) -> None:
    assert HOSTILE in opened.execute_script("return document.querySelector('.case .said').textContent")
    heads = opened.execute_script("return [...document.querySelectorAll('h2')].map((one) => one.textContent)")
    assert heads == ["Findings", HOSTILE, "Clips"]
    assert HOSTILE in opened.execute_script("return document.querySelector('.findings').textContent")
    choose(opened, "show", "failed")
    assert ids(opened) == [HOSTILE]
    assert HOSTILE in opened.execute_script("return document.querySelector('.case').textContent")
    assert opened.execute_script("return document.images.length") == 0
    assert opened.title == "A report"


def test_an_injected_script_is_refused_by_the_page_s_policy(opened: Any) -> None:
    opened.execute_script(
        "const one = document.createElement('div'); one.innerHTML = '<img src=x onerror=\"document.title=1\">';"
        "document.body.append(one);"
        "const two = document.createElement('script'); two.textContent = 'document.title=2'; document.body.append(two);"
    )
    until(lambda: any("Content Security Policy" in entry["message"] for entry in opened.get_log("browser")))
    time.sleep(0.5)  # for what the page should not do
    assert opened.title == "A report"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"show": "anywrong"}, ["clip$_$00"]),
        ({"show": "wrong", "condition": "V"}, ["clip$_$00"]),
        ({"show": "wrong", "condition": "T"}, []),
        ({"show": "conflict"}, ["clip$_$00"]),
        ({"condition": "M", "class": "WP"}, ["clip$_$01"]),
        ({"condition": "A", "class": "WN"}, ["clip$_$00"]),
        ({"show": "clip", "order": "error"}, ["clip$_$00", "clip$_$01"]),
        ({"search": "sentence 49"}, ["more$_$49"]),
        ({"search": "SENTENCE more$_$07"}, ["more$_$07"]),
        ({"split": "test"}, ["clip$_$00"]),
    ],
)
def test_the_clips_are_filtered(opened: Any, filters: dict[str, str], expected: list[str]) -> None:
    for field, value in filters.items():
        choose(opened, field, value)
    assert ids(opened) == expected
    status = opened.execute_script("return document.getElementById('count').textContent")
    assert status == f"{len(expected)} of 53 clips"


def test_wrong_predictions_are_marked_in_words(opened: Any) -> None:
    rows = opened.execute_script(
        "return [...document.querySelectorAll('.case:first-child tr.wrong')].map((one) => one.textContent)"
    )
    assert rows == ["M1.00PS-0.20 ✗ wrong", "V0.00NU0.10 ✗ wrong"]


def test_pages_turn_by_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened.find_element(By.ID, "next").send_keys(Keys.ENTER)
    assert ids(opened)[0] == "more$_$21"
    assert opened.find_element(By.ID, "page").text == "page 2 of 3"
    opened.find_element(By.ID, "next").send_keys(Keys.SPACE)
    assert len(ids(opened)) == 5
    assert not opened.find_element(By.ID, "next").is_enabled()


@pytest.mark.parametrize("name", ["clip$_$00", "clip$_$01"])
def test_a_clip_plays_embedded_and_linked(opened: Any, name: str) -> None:
    choose(opened, "search", name)
    source = opened.execute_script("return document.querySelector('video').src")
    assert source.startswith("blob:" if name == "clip$_$00" else "file:")
    opened.execute_script("const one = document.querySelector('video'); one.muted = true; one.play();")
    until(lambda: opened.execute_script("return document.querySelector('video').currentTime") > 0.2)
    assert opened.execute_script("return document.querySelector('video').videoWidth") > 0


def test_findings_lead_to_what_is_folded_and_to_the_clips_they_are_about(opened: Any) -> None:
    links = opened.execute_script("return [...document.querySelectorAll('.findings a')].map((one) => one.hash)")
    assert len(links) == 3
    assert not opened.execute_script("return document.querySelector('details').open")
    opened.execute_script("location.hash = arguments[0]", links[0])
    until(lambda: opened.execute_script("return document.querySelector('details').open"))
    opened.execute_script("location.hash = arguments[0]", links[1])
    until(lambda: ids(opened) == ["clip$_$00"])
    assert opened.execute_script("return document.getElementById('show').value") == "anywrong"


@pytest.mark.parametrize("name", list(WIDTHS))
def test_what_is_wider_than_the_screen_says_so_until_its_end_is_seen(opened: Any, name: str) -> None:
    width(opened, name)
    opened.execute_script("document.querySelector('details').open = true")
    frame = "document.querySelector('details .frame')"
    until(lambda: opened.execute_script(f"return {frame}.className") == "frame overflows")
    assert opened.execute_script(f"return {frame}.querySelector('.hint').offsetHeight") > 0
    opened.execute_script(f"{frame}.querySelector('.scroll').scrollLeft = 1e6")
    until(lambda: opened.execute_script(f"return {frame}.className") == "frame overflows at-end")
    first = opened.execute_script(f"return {frame}.querySelector('td').getBoundingClientRect().left")
    assert 0 <= first < 300, "the first column stays"


def test_the_contents_stay_in_view_and_mark_what_is_read(opened: Any) -> None:
    opened.execute_script("scrollTo(0, document.body.scrollHeight)")
    marked = "return document.querySelector('.contents [aria-current]').textContent === 'Clips'"
    until(functools.partial(opened.execute_script, marked))
    box = "return document.querySelector('.contents').getBoundingClientRect().top"
    assert 0 <= opened.execute_script(box) < 100


def test_the_numbers_behind_a_chart_are_saved_as_csv(opened: Any, tmp_path: Path) -> None:
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    opened.execute_script("document.querySelector('figure a.csv').click()")
    until((tmp_path / "durations.csv").exists)
    lines = (tmp_path / "durations.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "s from,to,clips"
    assert sum(int(line.split(",")[2]) for line in lines[1:]) == 3


def seek(browser: Any, time_s: float) -> None:
    browser.execute_async_script(
        "const [time, done] = arguments; const video = document.querySelector('video');"
        "video.addEventListener('seeked', () => done(), { once: true }); video.currentTime = time;",
        time_s,
    )


@pytest.mark.parametrize(
    ("time_s", "left", "right"),
    [(0.1, 0.2, 0.4), (0.3, 0.3, 0.5), (2.92, 0.0, 0.1)],
    ids=["between two samples", "after the last of a span", "in another span"],
)
def test_the_speaker_s_box_goes_with_the_video(opened: Any, time_s: float, left: float, right: float) -> None:
    until(lambda: opened.execute_script("return document.querySelector('video').readyState") >= 2)
    seek(opened, time_s)
    found = opened.execute_script(
        "const video = document.querySelector('video'), box = document.querySelector('.face').getBoundingClientRect();"
        "const area = video.getBoundingClientRect(); const width = Math.min(area.width, area.height"
        " * video.videoWidth / video.videoHeight); const start = area.left + (area.width - width) / 2;"
        "return [(box.left - start) / width, (box.right - start) / width];"
    )
    assert found == pytest.approx([left, right], abs=0.02)


def test_the_box_is_hidden_where_the_speaker_s_face_is_not(opened: Any) -> None:
    until(lambda: opened.execute_script("return document.querySelector('video').readyState") >= 2)
    seek(opened, 1.5)
    assert opened.execute_script("return document.querySelector('.face').hidden")


def test_the_word_that_is_spoken_is_marked(opened: Any) -> None:
    until(lambda: opened.execute_script("return document.querySelector('video').readyState") >= 2)
    words = (
        "return [...document.querySelectorAll('.case:first-child .word')].map((one) =>"
        " [one.textContent, one.className])"
    )
    seek(opened, 0.2)
    assert opened.execute_script(words) == [["script", "word now"], ["title", "word"]]
    seek(opened, 0.7)
    assert opened.execute_script(words) == [["script", "word"], ["title", "word now"]]
    assert opened.execute_script("return document.querySelector('.case .said').textContent") == HOSTILE


def test_shots_people_and_the_speaker_are_on_a_timeline_that_seeks(opened: Any) -> None:
    names = opened.execute_script(
        "return [...document.querySelectorAll('.case:first-child .timeline svg')].map((one) => one.ariaLabel)"
    )
    assert names == [
        "shots: 0.0 to 2.0 s, 2.0 to 4.4 s",
        "person 0: 0.0 to 4.4 s",
        "person 3: 1.0 to 2.0 s",
        "speaker (asd, 80% of the speech): 0.0 to 3.0 s",
    ]
    choose(opened, "show", "people")
    assert ids(opened) == ["clip$_$00"]
    opened.execute_script(
        "const bar = document.querySelector('.timeline svg'), area = bar.getBoundingClientRect();"
        "bar.dispatchEvent(new MouseEvent('click', { clientX: area.left + area.width / 2 }));"
    )
    assert opened.execute_script("return document.querySelector('video').currentTime") == pytest.approx(2.2, abs=0.05)


def test_a_case_says_why_0_counts_and_what_each_modality_adds(opened: Any) -> None:
    text = opened.execute_script("return document.querySelector('.case:first-child').textContent")
    assert "A label of 0 counts as negative" in text
    adds = opened.execute_script(
        "return [...document.querySelectorAll('.case:first-child .adds tr')].map((one) =>"
        " [one.textContent, one.querySelector('.bar').className, one.querySelector('.bar').style.width])"
    )
    assert adds == [
        ["text+0.50", "bar", "60px"],
        ["audio-0.25", "bar less", "30px"],
        ["silent video0.00", "bar", "0px"],
    ]
    choose(opened, "search", "clip$_$01")
    head = "return document.querySelector('.case .scores tr').textContent"
    assert opened.execute_script(head) == "conditionlabelclasspredictedclass"
    first = "return document.querySelectorAll('.case .scores tr')[1].textContent"
    assert opened.execute_script(first) == "M0.60WP0.50WP"


def test_marks_are_made_by_keyboard_and_saved_as_a_table_that_exclude_reads(opened: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    opened.execute_script("document.querySelector('.case').focus()")
    opened.switch_to.active_element.send_keys("x")
    opened.switch_to.active_element.send_keys("n")
    assert opened.execute_script("return document.activeElement.querySelector('h3').firstChild.data") == "clip$_$01"
    opened.switch_to.active_element.send_keys("k")
    opened.switch_to.active_element.send_keys("p")
    reason = opened.execute_script("return document.querySelector('.case .marking input')")
    reason.send_keys('=two people, "nk"')
    choose(opened, "show", "marked")
    assert ids(opened) == ["clip$_$00", "clip$_$01"]
    opened.execute_script("document.getElementById('save').focus()")
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    until((tmp_path / "marks.csv").exists)
    clips = ClipList(Clip(*ids, tmp_path / "a.mp4") for ids in (("clip", "00"), ("clip", "01"), ("more", "00")))
    found = read_exclusions(clips, tmp_path / "marks.csv")
    assert found.reasons == {"clip$_$00": '\'=two people, "nk"'}  # no spreadsheet runs it
    opened.refresh()
    assert opened.find_element("id", "save").text == "Save marks as CSV (2)"
    opened.execute_script("localStorage.clear()")


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "dark"), ("phone", "light")])
def test_axe_finds_nothing_on_clips(chromium: Any, page: Path, size: str, scheme: str) -> None:
    show(chromium, page.as_uri(), size=size, scheme=scheme)
    assert violations(chromium) == []


def test_every_control_has_a_name_and_can_be_reached(opened: Any) -> None:
    unnamed = opened.execute_script(
        "return [...document.querySelectorAll('input, select, video, button, [role=region]')].filter("
        "(one) => !(one.closest('label') || one.getAttribute('aria-label') || one.textContent.trim()))"
        ".map((one) => one.outerHTML)"
    )
    assert unnamed == []
    assert opened.execute_script("return document.documentElement.lang") == "en"
    assert opened.execute_script("return document.querySelectorAll('[tabindex]').length") > 0


def test_a_chart_is_shown_in_its_whole_height(opened: Any) -> None:
    heights = opened.execute_script(
        "return [...document.querySelectorAll('figure .scroll')].map((one) => [one.scrollHeight, one.clientHeight])"
    )
    assert any(whole > 640 for whole, _ in heights), "one is higher than a table may be"
    assert all(whole <= shown + 1 for whole, shown in heights)


@pytest.mark.parametrize("name", list(WIDTHS))
def test_nothing_is_wider_than_the_screen(opened: Any, name: str) -> None:
    width(opened, name)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[name]


def test_dark_and_light_follow_the_system_and_the_button(opened: Any) -> None:
    from selenium.webdriver.common.by import By

    def background() -> str:
        colour: str = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        return colour

    found = {}
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        found[scheme] = background()
    assert found["light"] != found["dark"]
    opened.find_element(By.ID, "theme").click()
    assert background() == found["light"]
    opened.find_element(By.ID, "theme").click()
    assert background() == found["dark"]
