"""Two commands that write one file or folder: nothing is lost, and the second says who writes there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from fmltk.annotation.importing import import_files
from fmltk.toolkit.io.outputs import hold_file, hold_folder
from tests.model.folders import planted, write_clips
from tests.program import fmltk_here

if TYPE_CHECKING:
    from collections.abc import Sequence

FMLTK = str(Path(sys.executable).with_name("fmltk"))
CONDITIONS = ("AT", "VT", "AV")


def sheet(folder: Path, condition: str, n_clips: int = 300) -> Path:
    """Write the ratings of one condition: five raters, `n_clips` clips."""
    rows = [f"v$_${clip},{condition},rater {rater},{rater % 3 - 1}" for clip in range(n_clips) for rater in range(5)]
    path = folder / f"{condition}.csv"
    path.write_text("\n".join(["utterance_id,condition,annotator,value", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features, their labels, and ratings."""
    folder = tmp_path_factory.mktemp("made")
    write_clips(planted(n=40, n_videos=10), folder / "features")
    sheet(folder, "AT", 9)
    (folder / "videos").mkdir()
    (folder / "videos" / "clip.mp4").write_text("nothing that is looked at before the folder is held")
    return folder


def test_three_imports_at_once_lose_no_rating(tmp_path: Path) -> None:
    sheets = [sheet(tmp_path, condition) for condition in CONDITIONS]
    argv = [FMLTK, "annotation", "import", "-o", str(tmp_path / "ratings.parquet")]
    running = [subprocess.Popen([*argv, str(one)], stderr=subprocess.PIPE, text=True) for one in sheets]
    messages = [one.communicate()[1] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], messages
    counts = pq.read_table(tmp_path / "ratings.parquet", columns=["condition"])["condition"].value_counts().to_pylist()
    assert {entry["values"]: entry["counts"] for entry in counts} == dict.fromkeys(CONDITIONS, 1500)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("annotation import AT.csv -o ratings.parquet", "ratings.parquet"),
        ("annotation aggregate --labels features/labels.parquet -o labels.parquet", "labels.parquet"),
        ("annotation prepare videos -o stimuli", "stimuli/"),
        ("dataset export features -o all.pkl", "all.pkl"),
        ("dataset export features -o all.pkl --label-csv table.csv", "table.csv"),
        ("dataset import all.pkl -o imported", "imported/"),
        ("train features -o runs/first -j 0 --set max_epochs=1", "runs/first/"),
        ("report features -o report.html", "report.html"),
        ("extract videos -o extracted --modalities audio", "extracted/"),
    ],
)
def test_the_second_command_says_who_writes_there(
    command: str, output: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    monkeypatch.setattr(import_files, "LONGEST_WAIT_S", 0.1)
    path = Path(output)
    before = listed(made)
    with hold_folder(path) if output.endswith("/") else hold_file(path):
        done = fmltk_here(*command.split())
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert f"is writing {path}; wait for it, or choose another output with -o" in line
    assert [name for name in listed(made) if name not in before and not Path(name).is_dir()] == []


def listed(folder: Path) -> Sequence[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
