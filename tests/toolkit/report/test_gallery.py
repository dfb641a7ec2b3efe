"""The gallery of clips to look at: pictures, reasons, decisions, and nothing that users wrote as markup."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from fmltk.toolkit.console import Reporter
from fmltk.toolkit.curation.findings import Finding
from fmltk.toolkit.curation.table import merge_decisions, write_curation
from fmltk.toolkit.io.printable import printable
from fmltk.toolkit.report.clips import picture_strip
from fmltk.toolkit.report.curation import MAX_PICTURES, curation_sections
from fmltk.toolkit.report.document import Case, Gallery, Remark, ReportRequest, Tile
from fmltk.toolkit.report.render import write_report

from .conftest import DEMO, HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.report.document import Contribution

QUIET = Reporter(quiet=True)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    findings = [
        Finding("v1$_$1", "several-people", "3 people"),
        Finding("v1$_$1", "no-speech", HOSTILE),
        Finding("v1$_$2", "same-content", "the audio of v1$_$1"),
        Finding("v3$_$1", "low-coverage", "no face"),
    ]
    rows = merge_decisions(findings, tmp_path / "c.csv")
    rows[1]["decision"], rows[2]["decision"] = "exclude", "keep"
    write_curation(rows, tmp_path / "c.csv")
    return tmp_path / "c.csv"


def made(paths: list[Path], videos: Path | None) -> tuple[Contribution, Gallery, list[Any]]:
    contribution = curation_sections(ReportRequest(paths, QUIET, videos))
    (section,) = contribution.sections
    (gallery,) = [block for block in section.blocks if isinstance(block, Gallery)]
    return contribution, gallery, list(section.blocks)


def test_each_clip_has_its_pictures_reasons_and_decision(features: Path, table: Path) -> None:
    contribution, gallery, blocks = made([features, table], DEMO)
    assert contribution.used == [table]
    assert [(one.name, one.tag) for one in gallery.pictures] == [
        ("v1$_$1", "exclude"), ("v1$_$2", "keep"), ("v3$_$1", ""),
    ]  # fmt: skip
    assert gallery.pictures[0].lines == ["several-people: 3 people", f"no-speech: {printable(HOSTILE)}"]
    assert [bool(one.image) for one in gallery.pictures] == [True, True, False]  # v3 has no file
    assert [(one.name, one.value) for one in blocks if isinstance(one, Tile)] == [
        ("clips to look at", "3"), ("decided: keep", "1"), ("decided: exclude", "1"),
    ]  # fmt: skip
    assert {case.utterance_id: case.look for case in contribution.cases}["v1$_$1"] == ["several-people", "no-speech"]


def test_without_videos_it_says_how_to_get_pictures(features: Path, table: Path) -> None:
    _, gallery, blocks = made([features, table], None)
    assert not any(one.image for one in gallery.pictures)
    assert any("--videos" in one.text for one in blocks if isinstance(one, Remark))


def test_a_long_table_shows_some_and_counts_the_others(tmp_path: Path) -> None:
    findings = [Finding(f"v$_${k:03d}", "no-speech", "") for k in range(MAX_PICTURES + 7)]
    write_curation(merge_decisions(findings, tmp_path / "c.csv"), tmp_path / "c.csv")
    _, gallery, _ = made([tmp_path / "c.csv"], None)
    assert (len(gallery.pictures), gallery.note) == (MAX_PICTURES, "7 more clips are in the table.")


def test_other_tables_are_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("video_id,clip_id,label\na,1,0.5\n")
    (tmp_path / "empty.csv").write_text("")
    assert curation_sections(ReportRequest([tmp_path / "labels.csv", tmp_path / "empty.csv"], QUIET)).used == []


@pytest.mark.parametrize(("start_s", "end_s"), [(None, None), (1.0, 2.0), (3.5, None)])
def test_a_strip_has_three_different_pictures(start_s: float | None, end_s: float | None) -> None:
    path = DEMO / "video_0001" / "0001.mp4"
    case = Case("c", source="0001.mp4", start_s=start_s, end_s=end_s, duration_s=(end_s or 4.0) - (start_s or 0.0))
    data = picture_strip(case, path)
    assert data is not None
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.format == "JPEG"
    assert picture.height == 120
    third = picture.width // 3
    parts = {picture.crop((k * third + 4, 0, (k + 1) * third - 4, 120)).tobytes() for k in range(3)}
    assert len(parts) == 3


def test_a_file_without_a_picture_has_no_strip(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    assert picture_strip(Case("c", source="a.mp4", duration_s=1.0), tmp_path / "a.mp4") is None


@pytest.mark.browser
def test_the_pictures_are_there_and_the_clips_can_be_chosen(
    chromium: Any, features: Path, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.html"
    write_report([features, table], out, title="T", videos=DEMO, embed_bytes=0, reporter=QUIET)
    chromium.get_log("browser")
    chromium.get(out.as_uri())
    script = (
        "return [...document.querySelectorAll('.gallery img')].map((one) => one.decode().then(() => one.naturalWidth))"
    )
    widths = chromium.execute_async_script(
        f"const done = arguments[0]; Promise.all((() => {{ {script} }})()).then(done, (e) => done(String(e)))"
    )
    assert len(widths) == 2
    assert all(width > 300 for width in widths)
    assert chromium.title == "T"  # what users wrote is text
    shown = chromium.execute_script(
        "const show = document.getElementById('show'); show.value = 'look';"
        "show.dispatchEvent(new Event('input', {bubbles: true}));"
        "return document.getElementById('count').textContent"
    )
    assert shown == "3 of 4 clips"
    assert chromium.get_log("browser") == []
