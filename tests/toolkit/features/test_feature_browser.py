"""What a feature folder shows in a notebook, in Chromium: readable in light and in dark, and nobody's script runs.

The picture of it is feature-set.png in the test's folder: pytest -m browser --basetemp=shots -k feature_set
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.browser

HOSTILE = "<script>document.title = 'executed'</script>"
THEMES = {"light": ("#ffffff", "#111111"), "dark": ("#111111", "#eeeeee")}  # background and text


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The HTML of one folder on a light and on a dark background."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "features"
    rows = [
        {"utterance_id": f"video_0001$_${number:04d}", "status": "ok"}
        | {f"{name}_status": "ok" for name in ("text", "audio", "vision")}
        for number in range(1, 8)
    ]
    rows[2] |= {"vision_status": "missing", "vision_error_message": "no face in any frame"}
    rows[5] |= {"audio_status": "failed", "audio_error_class": "MediaError", "audio_error_message": HOSTILE}
    with ManifestWriter(folder / "manifest.parquet", {}) as manifest:
        for row in rows:
            manifest.append(ClipRow.from_columns(row))
    rng = np.random.default_rng(0)
    for name, dimension, length in (("text", 384, 19), ("audio", 33, 261), ("vision", 33, 181)):
        with ModalityWriter(folder / f"{name}.parquet", ModalitySpec(name, dimension, length, False)) as writer:
            for row in rows:
                if row[f"{name}_status"] == "ok":
                    writer.append(
                        row["utterance_id"], np.zeros((rng.integers(length // 2, length), dimension), np.float32)
                    )
    html = read_features("features")._repr_html_()
    sections = "".join(
        f'<section id="{name}" style="background:{background};color:{color};padding:1.5em 2em">{html}</section>'
        for name, (background, color) in THEMES.items()
    )
    style = (
        "body{font:14px sans-serif;margin:0} td,th{padding:.3em .8em;text-align:right} table{border-collapse:collapse}"
    )
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><title>features</title><style>{style}</style>{sections}", encoding="utf-8")
    return path


@pytest.mark.parametrize("theme", THEMES)
def test_a_feature_set_has_the_colours_of_the_page(chromium: Any, page: Path, theme: str) -> None:
    chromium.get(page.as_uri())
    colors = chromium.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} :is(p, td, th, summary)`)]"
        ".map((one) => { const style = getComputedStyle(one); return [style.color, style.backgroundColor] })",
        theme,
    )
    red = int(THEMES[theme][1][1:3], 16)
    assert {tuple(one) for one in colors} == {(f"rgb({red}, {red}, {red})", "rgba(0, 0, 0, 0)")}


def test_a_feature_set_shows_what_failed_and_runs_no_script(chromium: Any, page: Path) -> None:
    metrics = {"width": 900, "height": 500, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chromium.get(page.as_uri())
    chromium.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert chromium.title == "features"
    assert HOSTILE in chromium.execute_script("return document.querySelector('details table').textContent")
    assert chromium.save_screenshot(str(page.with_name("feature-set.png")))
