"""Reports of every kind in Chromium: axe-core finds nothing, nothing is too wide, findings lead to their evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pytest

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.importing.import_files import import_ratings
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import ImportOptions, Policy
from fmltk.model.attribution import write_attribution
from fmltk.model.benchmark.result_file import RESULT_FILE
from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.robustness import robustness_table, write_robustness
from fmltk.model.run import train
from fmltk.model.tuning.run import TuningOptions, tune
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.features.label_file import write_labels
from fmltk.toolkit.io.documents import write_json
from fmltk.toolkit.report.render import write_report
from tests.accessibility import SIZES, show, violations
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.browser

KINDS = ("features", "annotation", "runs", "benchmark", "tuning")
QUIET = Reporter(quiet=True)
SPACE = "[max_epochs]\nchoices = [1, 2]\n[lr]\nlow = 0.001\nhigh = 0.01\n"


def rated(folder: Path) -> list[Path]:
    """Ratings of 20 clips by five raters, of whom one answers at random, and the labels of them."""
    rng = np.random.default_rng(0)
    lines = ["utterance_id,condition,annotator,value"]
    for clip in range(20):
        for condition in ("T", "A", "V", "M"):
            value = int(rng.integers(-1, 2))
            answers = [value] * 4 + [int(rng.integers(-1, 2))]
            lines += [f"v{clip}$_$0,{condition},r{k},{one}" for k, one in enumerate(answers)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    import_ratings([folder / "table.csv"], folder / "ratings.parquet", ImportOptions())
    labels = join_labels(aggregate_ratings(read_ratings(folder / "ratings.parquet"), Policy()), None)
    write_labels(labels, folder / "labels.parquet")
    return [folder / "ratings.parquet", folder / "labels.parquet"]


def trained(features: Path, out: Path, lr: str) -> Path:
    config = load_config("ch-sims", settings=small_settings("max_epochs=40", lr))
    train(features, out=out, config=config, options=RunOptions(seeds=(0, 1), jobs=0))
    return out


def scores(mean: float, *, width: float = 0.2) -> dict[str, Any]:
    return {"mean": mean, "std": 0.01, "low": mean - width, "high": mean + width, "values": [mean - 0.01, mean + 0.01]}


def benchmarked(folder: Path) -> Path:
    """What a benchmark of three systems writes: two alike, one that did not train."""
    folder.mkdir()
    systems = [
        {"name": name, "model": name, "seeds": [0, 1], "seconds_per_epoch": cost, "metrics": {"MAE": scores(error)}}
        for name, error, cost in (("fmlmsn", 0.4, 2.0), ("lmf", 0.45, 0.3))
    ]
    for system in systems:
        system["metrics"]["Acc-2"] = scores(0.8)
    table = {"key": "systems", "title": "Systems compared", "columns": ["system", "MAE"], "bold": [], "note": "A note."}
    document = {
        "family": "ch-sims",
        "split": "test",
        "preset": "ch-sims-aligned",
        "n_clips": 40,
        "n_labelled": 40,
        "systems": systems,
        "tests": [],
        "left_out": {"mult": "the features have no text"},
        "collapsed": {},
        "tables": [{**table, "rows": [["fmlmsn", "0.400 ± 0.010"], ["lmf", "0.450 ± 0.010"]]}],
    }
    write_json(folder / RESULT_FILE, document)
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    clips = planted(60)
    clips.sequences["V"][3] = None
    features = write_clips(clips, folder / "features")
    first = trained(features, folder / "first", "lr=0.01")
    second = trained(features, folder / "second", "lr=0.02")
    table = robustness_table(first, drops=["A"], noises=[0.5], split="test")[1]
    write_robustness(first, table)
    write_attribution(first, seed=0, split="test")
    (folder / "space.toml").write_text(SPACE)
    options = TuningOptions(model="late-fusion", n_trials=3, space=folder / "space.toml", jobs=1)
    tune(features, out=folder / "tuning", options=options)
    paths = {
        "features": [features],
        "annotation": rated(folder),
        "runs": [first, second],
        "benchmark": [benchmarked(folder / "bench")],
        "tuning": [folder / "tuning"],
    }
    for kind, own in paths.items():
        write_report(own, folder / f"{kind}.html", title=kind, videos=None, embed_bytes=0, reporter=QUIET)
    return {kind: folder / f"{kind}.html" for kind in paths}


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    chromium: Any, pages: dict[str, Path], kind: str, size: str, scheme: str
) -> None:
    show(chromium, pages[kind].as_uri(), size=size, scheme=scheme)
    assert violations(chromium) == []
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= SIZES[size][0]


def test_axe_is_in_force(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<html><body><img src=x><p style='color:#ccc'>pale</p></body></html>")
    show(chromium, (tmp_path / "bad.html").as_uri(), size="desktop", scheme="light")
    found = {line.split()[0] for line in violations(chromium)}
    assert {"image-alt", "color-contrast", "html-has-lang"} <= found


@pytest.mark.parametrize("kind", KINDS)
def test_every_chart_says_how_to_read_it_and_gives_its_numbers(
    chromium: Any, pages: dict[str, Path], kind: str
) -> None:
    show(chromium, pages[kind].as_uri(), size="desktop", scheme="light")
    figures = chromium.execute_script(
        "return [...document.querySelectorAll('figure')].map((one) =>"
        " [one.querySelector('figcaption').textContent, one.querySelector('.note').textContent,"
        "  one.querySelector('a.csv').getAttribute('href')])"
    )
    assert figures
    for title, reading, url in figures:
        assert len(reading.split()) > 6, title
        lines = unquote(url.partition(",")[2]).splitlines()
        assert url.startswith("data:text/csv")
        assert len(lines) > 1, title
        assert len(lines[0].split(",")) > 1, title


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_charts_is_full(chromium: Any, pages: dict[str, Path], kind: str) -> None:
    show(chromium, pages[kind].as_uri(), size="desktop", scheme="light")
    holes = chromium.execute_script(
        "return [...document.querySelectorAll('.charts')].map((grid) => { const rows = new Map();"
        " for (const one of grid.children) { const box = one.getBoundingClientRect();"
        "  rows.set(Math.round(box.top), (rows.get(Math.round(box.top)) ?? -14) + 14 + box.width); }"
        " return Math.max(...[...rows.values()].map((width) => grid.clientWidth - width)); })"
    )
    assert all(abs(hole) <= 2 for hole in holes), holes


@pytest.mark.parametrize("kind", KINDS)
def test_every_finding_leads_to_its_evidence(chromium: Any, pages: dict[str, Path], kind: str) -> None:
    show(chromium, pages[kind].as_uri(), size="desktop", scheme="light")
    links = chromium.execute_script(
        "return [...document.querySelectorAll('.findings a')].map((one) => one.getAttribute('href'))"
    )
    assert links
    for link in links:
        chromium.execute_script("location.hash = arguments[0]", link)
        target = "#cases" if link.startswith("#cases=") else link
        top = chromium.execute_async_script(
            "const [id, done] = arguments; requestAnimationFrame(() => requestAnimationFrame(() => {"
            " const box = document.querySelector(id).getBoundingClientRect();"
            " done([box.top, box.bottom, innerHeight]); }))",
            target,
        )
        assert top[0] < top[2], link
        assert top[1] > 0, link


def test_what_stands_out_is_said_worst_first(chromium: Any, pages: dict[str, Path]) -> None:
    said = {}
    for kind, page in pages.items():
        show(chromium, page.as_uri(), size="desktop", scheme="light")
        said[kind] = chromium.execute_script(
            "return [...document.querySelectorAll('.findings li')].map((one) => one.textContent.trim())"
        )
        weights = ["spoils results", "to check", "good to know"]
        places = [weights.index(next(word for word in weights if line.startswith(word))) for line in said[kind]]
        assert places == sorted(places)
    assert any("1 clip of 60 lacks vision" in line for line in said["features"])
    assert any("of 12 test clips" in line for line in said["runs"])
    assert any("12 test clips, so scores say little" in line for line in said["runs"])
    assert any("without audio the error of M" in line for line in said["runs"])
    assert any("mult has no result: the features have no text" in line for line in said["benchmark"])
    assert any("40 clips do not tell it from lmf" in line for line in said["benchmark"])


def test_a_report_prints_whole(chromium: Any, pages: dict[str, Path]) -> None:
    show(chromium, pages["runs"].as_uri(), size="desktop", scheme="dark")
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 688, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    chromium.execute_script("dispatchEvent(new Event('beforeprint'))")
    state = chromium.execute_script(
        "return [document.querySelectorAll('details:not([open])').length,"
        " getComputedStyle(document.querySelector('.contents')).display,"
        " getComputedStyle(document.body).color, document.documentElement.scrollWidth,"
        " [...document.querySelectorAll('.scroll')].every((one) => one.scrollWidth <= one.clientWidth + 1)]"
    )
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert state[:3] == [0, "none", "rgb(27, 36, 48)"]
    assert state[3] <= 690
    assert state[4], "a table is cut off on paper"
