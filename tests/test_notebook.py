"""The notebook of the documentation runs, shows what it says, and its page is what the notebook shows."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

import fmltk
from tests.ffmpeg import copy_short_demo
from tests.tools.make_notebook import PAGE, page, read_notebook, run_cells, source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    return read_notebook()


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def html(outputs: list[dict[str, Any]]) -> str:
    return "".join(line for output in outputs for line in output.get("data", {}).get("text/html", []))


@pytest.mark.filterwarnings("ignore:the labels name no splits", "ignore:constant predictions")
def test_the_notebook_runs_from_clips_to_a_report(
    notebook: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On half a second of each clip, an eighth of the cost."""
    copy_short_demo(tmp_path / "bundled" / "demo")
    files = resources.files
    bundled = {"fmltk.toolkit": tmp_path / "bundled"}
    monkeypatch.setattr(resources, "files", lambda package: bundled.get(package) or files(package))
    monkeypatch.chdir(tmp_path)
    shown = dict(zip(map(source, code_cells(notebook)), run_cells(notebook), strict=True))
    by_end = {code.splitlines()[-1]: outputs for code, outputs in shown.items()}
    features = html(by_end["features"])
    assert "<strong>features</strong>: 6 clips (6 ok)" in features
    assert re.search(r"<td>audio</td>\s*(<td>\d+</td>\s*){4}<td>33</td>", features)
    assert by_end["X.shape, mask.sum(axis=1).tolist()"][0]["data"]["text/plain"][0].startswith("((6, ")
    assert "<td>M</td>" in html(by_end["run"])
    assert len(by_end["run.model()"][0]["data"]["text/plain"]) == 3
    assert (tmp_path / "report.html").stat().st_size > 50_000
    lengths = {name: table.length for name, table in fmltk.read_features("features").modalities.items()}
    fmltk.pad(str(tmp_path / "features"), max_length={"audio": 10})
    shorter = {name: table.length for name, table in fmltk.read_features("features").modalities.items()}
    assert shorter == {**lengths, "audio": 10}
    fmltk.pad(fmltk.read_features("features"), max_length={})
    assert fmltk.read_features("features")["audio"].length == lengths["audio"] > 10
    # What the file shows has the same form as what it shows now: numbers differ between processors.
    for cell in code_cells(notebook):
        kept, now = cell["outputs"], shown[source(cell)]
        assert [sorted(output.get("data", output)) for output in kept] == [sorted(one.get("data", one)) for one in now]
        assert re.findall(r"<th>(.*?)</th>", html(kept)) == re.findall(r"<th>(.*?)</th>", html(now))


def test_the_page_is_the_notebook_s(notebook: dict[str, Any]) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(notebook), "run python tests/tools/make_notebook.py"


def test_the_file_is_a_notebook_of_its_format(notebook: dict[str, Any]) -> None:
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in code_cells(notebook):
        assert {"cell_type", "execution_count", "id", "metadata", "outputs", "source"} == set(cell)
