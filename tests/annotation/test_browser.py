"""What a rater gets in Chromium: exactly the condition's modalities, silent video, hotkeys, answers that arrive."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import fmltk.toolkit as toolkit
from fmltk.annotation.importing.import_files import import_ratings
from fmltk.annotation.labelling.label_studio_client import Server
from fmltk.annotation.labelling.project import ProjectPlan, local_media_url, ordered_tasks
from fmltk.annotation.labelling.pushing import push_projects
from fmltk.annotation.labelling.stimuli import prepare_stimuli
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import StimuliOptions
from fmltk.toolkit.clip import Clip
from fmltk.toolkit.conditions import CH_SIMS_SCALE, MOSI_SCALE
from tests.processes import LIMIT_S

pytestmark = [pytest.mark.server, pytest.mark.browser]

ADMIN_TOKEN = "0123456789abcdef0123456789abcdef01234567"
SCREENSHOTS = os.environ.get("FMLTK_SCREENSHOTS")  # a folder: write the pictures of docs/annotation-guide.md there
CONDITIONS = ("AT", "VT", "AV", "T", "A", "V", "M")
TEXT = "I loved every minute of this film, and I would watch it again tomorrow."
HOSTILE = "Not <img src=x onerror=\"document.title='executed'\"> a good film."


@pytest.fixture(scope="module")
def pages(label_studio):
    """One project per condition with one clip; returns its number by condition."""
    video = Path(next(iter(toolkit.__path__))) / "demo" / "videos" / "video_0001" / "0001.mp4"
    folder = label_studio.document_root / "browser"
    clip = Clip("video_0001", "0001", video, text=TEXT, source="0001.mp4")
    stimuli = prepare_stimuli([clip], folder, StimuliOptions(conditions=CONDITIONS))
    hostile = prepare_stimuli([Clip("h", "0", None, text=HOSTILE)], folder, StimuliOptions(conditions=("T",)))
    assert stimuli[0].errors == hostile[0].errors == {}
    before = local_media_url(folder / "media", label_studio.document_root)
    server = Server(label_studio.url, ADMIN_TOKEN)
    numbers = {}
    for condition in CONDITIONS:
        scale = MOSI_SCALE if condition == "T" else CH_SIMS_SCALE
        plan = ProjectPlan(condition, scale, "en", "browser")
        tasks = ordered_tasks(stimuli, plan, before, seed=0)
        (pushed,) = push_projects(server, [(plan, tasks)], local_path=str((folder / "media").resolve()))
        numbers[condition] = int(pushed.link.rsplit("/", 1)[1])
    plan = ProjectPlan("T", CH_SIMS_SCALE, "en", "hostile")
    (pushed,) = push_projects(server, [(plan, ordered_tasks(hostile, plan, before, seed=0))])
    numbers["hostile"] = int(pushed.link.rsplit("/", 1)[1])
    return numbers


@pytest.fixture(scope="module")
def rater(label_studio):
    return label_studio.sign_up("browser@example.com")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory, label_studio, rater):
    """A headless browser in which the rater has logged in.

    It asks for no tips: whenever a page does, the server fetches them from GitHub, at once or seconds later, and no
    setting turns that off. Whatever else the pages ask for is in the browser's log.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.add_argument("--window-size=1200,860")
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--autoplay-policy=no-user-gesture-required")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_script_timeout(LIMIT_S)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/heidi-tips*"]})
    browser.get(f"{label_studio.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(rater.email)
    browser.find_element(By.NAME, "password").send_keys("a-long-enough-password-1" + Keys.ENTER)
    until(browser, lambda: "login" not in browser.current_url)
    yield browser
    browser.quit()


def until(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, LIMIT_S).until(lambda _: condition())


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(browser)
    for key in keys[:-1]:
        actions.key_down(key)
    actions.send_keys(keys[-1])
    for key in keys[:-1]:
        actions.key_up(key)
    actions.perform()


def press_until(browser, keys, condition):
    """Press until it has taken effect: a page on a busy machine may not listen yet."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{keys} had no effect"
        press(browser, *keys)
        with contextlib.suppress(TimeoutException):
            WebDriverWait(browser, 5).until(lambda _: condition())


def show(browser, label_studio, number):
    """Open a project's labelling page as raters do, and close the instructions."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{label_studio.url}/projects/{number}/data?labeling=1")
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "input[type=radio]"))
    until(browser, lambda: "Labeling Instructions" in text_of(browser))
    press_until(browser, (Keys.ESCAPE,), lambda: "Labeling Instructions" not in text_of(browser))


def text_of(browser):
    return browser.execute_script("return document.body.innerText")


def media_of(browser):
    """Return the sources of what a page can play: {"video": [...], "audio": [...]}."""
    return browser.execute_script(
        "const found = {video: [], audio: []};"
        "for (const tag of Object.keys(found))"
        "  for (const player of document.querySelectorAll(tag)) found[tag].push(player.currentSrc);"
        "return found;"
    )


PLAY = """
const done = arguments[arguments.length - 1];
const video = document.querySelector('video');
const finish = () => done({
  time: video.currentTime, width: video.videoWidth, duration: video.duration, error: video.error && video.error.message,
  audioBytes: video.webkitAudioDecodedByteCount, videoBytes: video.webkitVideoDecodedByteCount,
});
const wait = () => video.currentTime > 0.5 || video.error ? finish() : setTimeout(wait, 100);
video.play().then(wait, reason => done({error: String(reason)}));
"""

# Presses the player's own button: a video that is started by itself leaves the sound behind until its end.
PLAY_TOGETHER = """
const done = arguments[arguments.length - 1];
const [video, audio] = ['video', 'audio'].map(tag => document.querySelector(tag));
const distances = [], deadline = performance.now() + 15000;
const watch = () => {
  const [seen, heard] = [video.currentTime, audio.currentTime];
  if (Math.min(seen, heard) > 0.3 && !video.paused && !audio.paused) distances.push(Math.abs(seen - heard));
  if (distances.length == 20 || performance.now() > deadline) done(distances);
  else setTimeout(watch, 50);
};
document.querySelector("[data-testid='playback-button:play']").click();
watch();
"""


def screenshot(browser, name):
    if not SCREENSHOTS:
        return
    import io

    from PIL import Image

    time.sleep(2)  # for the page's animations; nothing is tested after this

    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture.quantize(64).save(Path(SCREENSHOTS) / f"label-studio-{name}.png", optimize=True)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_page_shows_its_condition_and_nothing_else(chromium, label_studio, pages, condition):
    show(chromium, label_studio, pages[condition])
    shown = {"T": (), "A": ("audio",), "V": ("video",), "AT": ("audio",), "VT": ("video",), "AV": ("audio", "video")}
    wanted = set(shown.get(condition, ("video",)))
    until(chromium, lambda: {tag for tag, sources in media_of(chromium).items() if sources} >= wanted)
    media = media_of(chromium)
    assert {tag for tag, sources in media.items() if sources} == wanted
    has_text = "T" in condition or condition == "M"
    source = chromium.execute_script("return document.documentElement.outerHTML")
    assert (TEXT in text_of(chromium)) == has_text
    assert (TEXT in source) == has_text
    for sources in media.values():
        assert all("0001" not in url.rsplit("/", 1)[1] for url in sources)
    for tag in wanted:  # every player has what it needs to play
        until(
            chromium, lambda tag=tag: chromium.execute_script(f"return document.querySelector('{tag}').readyState >= 2")
        )
    screenshot(chromium, condition)


def test_a_transcript_is_text_whatever_it_holds(chromium, label_studio, pages):
    show(chromium, label_studio, pages["hostile"])
    until(chromium, lambda: HOSTILE in text_of(chromium))
    assert chromium.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    assert chromium.title != "executed"


@pytest.mark.parametrize("condition", ["VT", "AV", "V"])
def test_the_silent_video_plays_and_no_sound_is_decoded(chromium, label_studio, pages, condition):
    show(chromium, label_studio, pages[condition])
    until(chromium, lambda: chromium.execute_script("return document.querySelector('video')?.readyState >= 2"))
    played = chromium.execute_async_script(PLAY)
    assert played["error"] is None
    assert played["videoBytes"] > 0
    assert played["width"] > 0
    assert played["audioBytes"] == 0


def test_the_whole_clip_of_m_is_heard(chromium, label_studio, pages):
    """The counterpart: on a video with sound the same counter rises, so that its zero above means silence."""
    show(chromium, label_studio, pages["M"])
    until(chromium, lambda: chromium.execute_script("return document.querySelector('video')?.readyState >= 2"))
    played = chromium.execute_async_script(PLAY)
    assert played["audioBytes"] > 0


def test_sound_and_silent_video_of_av_play_together(chromium, label_studio, pages):
    ready = (
        "return document.querySelector('video')?.readyState >= 2 && document.querySelector('audio')?.readyState >= 2"
    )
    distances = []
    for _ in range(3):  # a busy machine may hold one of them up
        show(chromium, label_studio, pages["AV"])
        until(chromium, lambda: chromium.execute_script(ready))
        distances += chromium.execute_async_script(PLAY_TOGETHER)
        if min(distances, default=1) < 0.25:
            return
    pytest.fail(f"apart by {distances} s")


@pytest.mark.parametrize(
    ("condition", "key", "value"), [("AT", "1", -1), ("VT", "2", 0), ("AV", "3", 1), ("T", "7", 3)]
)
def test_an_answer_by_hotkey_arrives_in_the_ratings(
    chromium, label_studio, pages, rater, tmp_path, condition, key, value
):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    show(chromium, label_studio, pages[condition])
    number = pages[condition]
    press_until(chromium, (key,), lambda: chromium.find_elements(By.CSS_SELECTOR, "input[type=radio]:checked"))
    press(chromium, Keys.CONTROL, Keys.ENTER)
    until(chromium, lambda: label_studio.ask("GET", f"/api/projects/{number}")["total_annotations_number"] == 1)
    export = tmp_path / "export.json"
    Server(label_studio.url, ADMIN_TOKEN).download(number, export)
    import_ratings([export], tmp_path / "ratings.parquet")
    (row,) = [r for r in read_ratings(tmp_path / "ratings.parquet").to_pylist() if r["status"] == "rated"]
    assert (row["condition"], row["annotator"], row["value"]) == (condition, rater.identity, value)
    assert row["lead_time_s"] > 0


def test_nothing_is_submitted_without_a_choice(chromium, label_studio, pages):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    show(chromium, label_studio, pages["V"])
    submit = chromium.find_element(By.XPATH, "//button[contains(., 'Submit')]")
    assert not submit.is_enabled()
    press(chromium, Keys.CONTROL, Keys.ENTER)
    press(chromium, "1")  # comes after the first keys, and takes effect: those had their time
    until(chromium, lambda: chromium.find_elements(By.CSS_SELECTOR, "input[type=radio]:checked"))
    until(chromium, submit.is_enabled)
    assert label_studio.ask("GET", f"/api/projects/{pages['V']}")["total_annotations_number"] == 0


def test_a_rater_skips_by_ctrl_space(chromium, label_studio, pages, tmp_path):
    from selenium.webdriver.common.keys import Keys

    show(chromium, label_studio, pages["A"])
    press(chromium, Keys.CONTROL, Keys.SPACE)
    until(chromium, lambda: label_studio.ask("GET", f"/api/projects/{pages['A']}")["skipped_annotations_number"] == 1)
    export = tmp_path / "export.json"
    Server(label_studio.url, ADMIN_TOKEN).download(pages["A"], export)
    report = import_ratings([export], tmp_path / "ratings.parquet")
    assert report.conditions["A"]["skipped"] == 1


def test_the_pages_ask_for_nothing_from_other_machines(chromium, label_studio):
    asked = set()
    for entry in chromium.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(urlsplit(message["params"]["request"]["url"]))
    hosts = {address.netloc for address in asked if address.scheme not in ("blob", "data", "chrome")}
    assert hosts == {urlsplit(label_studio.url).netloc}
    assert label_studio.calls_out() == []
