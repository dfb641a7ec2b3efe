"""A disk that is full at some moment of a command: one line, exit 1, and no file is half written under its name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.model.folders import planted, small_settings, write_clips
from tests.program import fmltk_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK_BYTES = 16 << 20
SETTINGS = " ".join(f"--set {one}" for one in small_settings("max_epochs=10", "lr=0.01", "bs=8"))
COMMANDS = {
    "import": "annotation import {inputs}/AT.csv -o {disk}/ratings.parquet",
    "aggregate": "annotation aggregate {inputs}/ratings.parquet -o {disk}/labels.parquet",
    "report": "report {inputs}/features {inputs}/ratings.parquet -o {disk}/report.html",
    "export": "dataset export {inputs}/features -o {disk}/all.pkl",
    "dataset import": "dataset import {inputs}/all.pkl -o {disk}/imported",
    "train": f"train {{inputs}}/features -o {{disk}}/run -j 0 --preset ch-sims {SETTINGS}",
}
TIMED = ("history.parquet", ".json")  # how long an epoch took: of these only the beginning is compared


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    rows = [f"v{clip % 9}$_${clip},AT,rater {rater},{clip % 3 - 1}" for clip in range(3_000) for rater in range(5)]
    (folder / "AT.csv").write_text("\n".join(["utterance_id,condition,annotator,value", *rows]) + "\n")
    write_clips(planted(n=60, n_videos=10), folder / "features")
    for line in (COMMANDS["import"], COMMANDS["export"]):
        done = fmltk_here(*line.format(inputs=folder, disk=folder).split())
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        refusal = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError as error:
        refusal = str(error)
    if refusal:
        pytest.skip(f"a small disk cannot be mounted here: {refusal}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(disk: Path, left: int) -> None:
    """Leave so many bytes of the disk free."""
    with (disk / "ballast").open("wb") as ballast:
        ballast.write(bytes(DISK_BYTES - left))


def test_a_small_disk_is_in_force(disk: Path) -> None:
    fill(disk, left=4096)
    with pytest.raises(OSError, match="No space left"):
        (disk / "file").write_bytes(bytes(1 << 20))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_is_full_at_some_moment_is_one_line_and_leaves_whole_files(
    command: str, inputs: Path, disk: Path, tmp_path: Path
) -> None:
    free = tmp_path / "free"
    free.mkdir()
    assert fmltk_here(*COMMANDS[command].format(inputs=inputs, disk=free).split()).returncode == 0
    whole = contents(free)
    n_bytes = sum(4096 * -(-len(content) // 4096) for content in whole.values())
    full = 0
    for share in (0.0, 0.4, 0.9):
        fill(disk, left=int(share * n_bytes) // 4096 * 4096)
        done = fmltk_here(*COMMANDS[command].format(inputs=inputs, disk=disk).split())
        (disk / "ballast").unlink()
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        assert done.returncode == (1 if errors else 0), done.stderr
        if errors:
            full += 1
            assert len(errors) == 1
            assert "no space left" in errors[0]
        found = contents(disk)
        assert set(found) <= set(whole), "neither temporary files nor locks"
        assert [name for name, content in found.items() if content != whole[name] and not name.endswith(TIMED)] == [], (
            f"half written with {share:.0%} of the space"
        )
        assert all(content for name, content in found.items() if whole[name])
    assert full >= 2
    done = fmltk_here(*COMMANDS[command].format(inputs=inputs, disk=disk).split())
    assert done.returncode == 0, "the same command, once there is space"
    assert set(contents(disk)) == set(whole)
