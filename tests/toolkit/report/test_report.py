"""What a report holds: every count and reason of the folder, nothing that users wrote as markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from fmltk.toolkit.cli.report import report
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.report.cases import case_document, is_conflict, merge_cases, script_json
from fmltk.toolkit.report.charts import histogram, stacked_shares
from fmltk.toolkit.report.clips import gather_clips
from fmltk.toolkit.report.document import Case, Contribution, Section, Table, Tile
from fmltk.toolkit.report.render import render, write_report

from .conftest import DEMO, HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

QUIET = Reporter(quiet=True)


class Page(HTMLParser):
    """The elements and the words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def made(paths: list[Path], out: Path, **options: object) -> str:
    defaults = {"title": "T", "videos": None, "embed_bytes": 10_000_000, "reporter": QUIET}
    write_report(paths, out, **(defaults | options))  # type: ignore[arg-type]
    return out.read_text(encoding="utf-8")


def cases_of(html: str) -> list[dict[str, object]]:
    match = re.search(r'<script type="application/json" id="case-data">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    documents: list[dict[str, object]] = json.loads(match[1])
    return documents


def test_a_folder_s_counts_reasons_and_truncation_are_shown(features: Path, tmp_path: Path) -> None:
    page = Page(made([features], tmp_path / "r.html"))
    text = "\n".join(page.words)
    assert "no face in any frame" in text
    assert "UnreadableMediaError" in text
    at = page.words.index("clips cut")
    cells = [word for word in page.words[at:] if word][2:]
    audio = cells.index("audio")
    assert cells[audio : audio + 10] == ["audio", "3", "0", "1", "0", "3", "8 – 30", "12", "1", "18"]
    assert "audio: 1 features never change: audio_2" in text
    assert "L = 12" in text


def test_nothing_that_users_wrote_becomes_markup(features: Path, tmp_path: Path) -> None:
    hostile, clean = tmp_path / "r.html", tmp_path / "clean.html"
    page = Page(made([features], hostile, title=HOSTILE))
    assert page.count("script") == 2  # the data and the page's own
    assert page.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in [case.get("text") for case in cases_of(hostile.read_text(encoding="utf-8"))]
    assert Page(made([features], clean)).count("script") == 2


def test_charts_keep_hostile_names_as_text() -> None:
    chart = stacked_shares(HOSTILE, {HOSTILE: {HOSTILE: 1}})
    tags = [tag for tag, _ in Page(chart.svg).tags]
    assert "script" not in tags
    assert "img" not in tags
    assert "$\\x$" in chart.svg  # and no formula of matplotlib's


def test_a_chart_is_described_and_takes_the_page_s_colours() -> None:
    chart = histogram("Lengths", [1, 2, 3, 4], unit="steps", reference=(3.5, "L = 3"))
    assert "<title" in chart.svg
    assert "4 values from 1 to 4 steps, median 2.5. L = 3 is at 3.5." in chart.svg
    assert "var(--series-1)" in chart.svg
    assert "#f0a0" not in chart.svg
    ids = re.findall(r'\bid="([^"]+)"', chart.svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', chart.svg)) <= set(ids)


def test_the_same_input_gives_the_same_bytes(features: Path, tmp_path: Path) -> None:
    assert made([features], tmp_path / "a.html") == made([features], tmp_path / "b.html")


def test_the_page_refers_to_nothing_outside_itself(features: Path, tmp_path: Path) -> None:
    page = Page(made([features], tmp_path / "r.html"))
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)


def test_clips_are_embedded_up_to_the_limit_and_linked_beyond_it(features: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    by_id = {case["id"]: case for case in cases_of(made([features], out, videos=DEMO))}
    assert [by_id[name].get("clip") for name in ("v1$_$1", "v1$_$2", "v2$_$1")] == [True, True, None]
    linked = {case["id"]: case for case in cases_of(made([features], out, videos=DEMO, embed_bytes=0))}
    assert linked["v1$_$1"].get("clip") is None
    link = str(linked["v1$_$2"]["link"])
    assert link.endswith("video_0001/0002.mp4#t=1.000,2.000")
    assert (out.parent / link.partition("#")[0]).resolve() == (DEMO / "video_0001/0002.mp4").resolve()


def test_an_embedded_clip_is_cut_to_its_part(tmp_path: Path) -> None:
    import base64

    from fmltk.toolkit.media.probe import probe_media

    case = Case("a$_$0", source="video_0001/0002.mp4", start_s=1.0, end_s=2.0)
    data = gather_clips([case], DEMO, tmp_path / "r.html", limit_bytes=1_000_000, reporter=QUIET).previews["a$_$0"]
    (tmp_path / "clip.mp4").write_bytes(base64.b64decode(data))
    info = probe_media(tmp_path / "clip.mp4")
    assert info.duration_s == pytest.approx(1.0, abs=0.1)
    assert info.has_audio
    assert info.height == 270


@pytest.mark.parametrize("source", ["../secret.mp4", "/etc/hostname", "video_0001", "no.mp4", "a\0b.mp4"])
def test_a_source_outside_the_folder_of_videos_is_not_read(source: str, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes((DEMO / "video_0001/0001.mp4").read_bytes())
    (tmp_path / "videos").mkdir()
    clips = gather_clips(
        [Case("a", source=source)], tmp_path / "videos", tmp_path / "r.html", limit_bytes=1_000_000, reporter=QUIET
    )
    assert (clips.previews, clips.links) == ({}, {})


def test_a_video_that_cannot_be_played_is_linked(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    case = Case("a", source="broken.mp4")
    clips = gather_clips([case], tmp_path, tmp_path / "r.html", limit_bytes=1_000_000, reporter=QUIET)
    assert (clips.previews, clips.links) == ({}, {"a": "broken.mp4"})


def test_cases_are_joined_by_id_and_the_first_to_know_counts() -> None:
    first = Case("b", truths={"M": 1.0}, split="test")
    second = Case("b", text="words", split="train")
    joined = merge_cases([first, second, Case("a")])
    assert [case.utterance_id for case in joined] == ["a", "b"]
    assert (joined[1].text, joined[1].split, joined[1].truths) == ("words", "test", {"M": 1.0})


@pytest.mark.parametrize(
    ("truths", "conflict"),
    [
        ({"T": 1.0, "A": 0.2, "V": 0.6}, False),
        ({"T": 1.0, "A": 0.0, "V": 0.6}, True),
        ({"T": -1.0, "A": 1.0}, True),
        ({"M": 1.0}, False),
        ({}, False),
    ],
)
def test_modalities_conflict_where_their_signs_differ(truths: dict[str, float], conflict: bool) -> None:
    assert is_conflict(Case("a", truths=truths)) is conflict


def test_numbers_that_json_cannot_hold_are_left_out() -> None:
    nan = float("nan")
    document = case_document(Case("a", truths={"M": nan, "T": 0.5}, predictions={"M": nan}), None)
    assert document == {"id": "a", "truth": {"T": 0.5}}
    assert json.loads(script_json([document])) == [document]


def test_script_json_survives_lone_surrogates() -> None:
    assert script_json(["\udcff"]) == '["\\udcff"]'


def test_a_table_shows_missing_numbers_as_a_dash() -> None:
    blocks = [Tile("n", "1"), Table("t", ("a",), [(None,), (float("nan"),), (0.25,)])]
    html = render("T", Contribution(sections=[Section("S", 1, blocks)]), None)
    assert re.findall(r"<td[^>]*>(.*?)</td>", html) == ["–", "–", "0.25"]


def test_inputs_that_share_no_clip_and_videos_that_are_elsewhere_are_told(features: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("utterance_id,label\nx$_$1,0\nx$_$2,1\n")
    (tmp_path / "empty").mkdir()
    reporter = Reporter(quiet=True)
    made([features, tmp_path / "labels.csv"], tmp_path / "r.html", videos=tmp_path / "empty", reporter=reporter)
    messages = "\n".join(reporter.warnings)
    assert "no clip is in two of the inputs" in messages
    assert "empty holds none of the" in messages
    reporter = Reporter(quiet=True)
    made([features], tmp_path / "r.html", reporter=reporter)
    assert reporter.warnings == []


def test_paths_that_no_part_knows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match=r"notes\.txt: neither a feature folder"):
        made([tmp_path / "notes.txt"], tmp_path / "r.html")
    with pytest.raises(ConfigError, match="absent does not exist"):
        made([tmp_path / "absent"], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.installed
def test_the_command_writes_the_report_and_says_what_is_in_it(features: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    done = CliRunner().invoke(report, [str(features), "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["clips"] == 4
    assert document["bytes"] == out.stat().st_size
    assert document["sections"] == ["Data: features", "Features: features"]
