"""Running OpenFace, with stand-ins for its program: OpenFace itself cannot be installed by a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fmltk.toolkit.errors import ConfigError, OpenFaceError, ProcessError
from fmltk.toolkit.vision.openface.program import find_openface, openface_version, run_openface
from fmltk.toolkit.vision.openface.table import read_openface
from tests.processes import LIMIT_S

CSV = "frame,success,pose_Tx\n1,1,2\n"
# What FeatureExtraction does with its arguments: -f FILE -out_dir DIR, and the CSV is DIR/<stem of FILE>.csv.
READ_ARGUMENTS = """#!/bin/sh
here=$(dirname "$0")
echo "$@" > "$here/arguments"
while [ $# -gt 0 ]; do
  case "$1" in
    -f) file=$2; shift ;;
    -out_dir) out=$2; shift ;;
  esac
  shift
done
name=$(basename "$file"); csv="$out/${name%.*}.csv"
"""


def stand_in(folder: Path, script: str, name: str = "FeatureExtraction") -> Path:
    """Write an executable that reads OpenFace's arguments into $file, $out and $csv and runs the script."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(READ_ARGUMENTS + script)
    program.chmod(0o755)
    return program


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"pictures")
    return path


# Running


def test_a_run_gives_the_csv_that_openface_wrote(test_data: Path, video: Path, tmp_path: Path) -> None:
    recorded = test_data / "openface" / "grid_bbaf2n.csv"
    program = stand_in(tmp_path / "openface", f'mkdir -p "$out"; cp "{recorded}" "$csv"')
    csv = run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)
    assert csv == tmp_path / "out" / "clip.csv"
    assert csv.read_bytes() == recorded.read_bytes()
    assert read_openface(csv).values.shape == (75, 709)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.csv"]


def test_openface_is_asked_for_all_groups_and_nothing_else(video: Path, tmp_path: Path) -> None:
    program = stand_in(tmp_path / "openface", f'mkdir -p "$out"; printf "{CSV}" > "$csv"')
    run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)
    arguments = (tmp_path / "openface" / "arguments").read_text().split()
    assert arguments[0] == "-f"
    assert arguments[1].endswith("/video.mp4")
    assert arguments[2] == "-out_dir"
    assert arguments[4:] == ["-gaze", "-pose", "-2Dfp", "-3Dfp", "-pdmparams", "-aus"]


@pytest.mark.parametrize(
    "name", ["-f.mp4", "a b.mp4", 'it\'s "so".mp4', "视频.mp4", "a\nb.mp4", "$(touch x).mp4", "clip"]
)
def test_no_character_of_the_video_s_name_matters(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"pictures")
    program = stand_in(tmp_path / "openface", f'cat "$file" > /dev/null && mkdir -p "$out" && printf "{CSV}" > "$csv"')
    csv = run_openface(program, tmp_path / name, tmp_path / "out", timeout_s=LIMIT_S)
    assert csv == tmp_path / "out" / f"{Path(name).stem}.csv"
    assert csv.read_text() == CSV


def test_a_relative_program_and_video_are_found(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, f'cat "$file" > /dev/null && mkdir -p "$out" && printf "{CSV}" > "$csv"')
    monkeypatch.chdir(tmp_path)
    csv = run_openface("./FeatureExtraction", "clip.mp4", "out", timeout_s=LIMIT_S)
    assert csv.read_text() == CSV


def test_a_failure_carries_what_openface_said(video: Path, tmp_path: Path) -> None:
    program = stand_in(tmp_path / "openface", "echo 'ERROR: Could not load the landmark detector' >&2; exit 3")
    with pytest.raises(ProcessError, match=r"OpenFace on clip\.mp4.*3.*Could not load the landmark detector"):
        run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_openface_says_on_stdout_is_carried_where_stderr_is_empty(video: Path, tmp_path: Path) -> None:
    program = stand_in(tmp_path / "openface", "echo 'ERROR: Could not load the landmark detector'; exit 1")
    with pytest.raises(ProcessError, match=r"ended with status 1; it said: ERROR: Could not load the landmark"):
        run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)


@pytest.mark.parametrize("status", [0, 1])
def test_a_failure_is_told_in_the_same_words_each_time(video: Path, tmp_path: Path, status: int) -> None:
    program = stand_in(tmp_path / "openface", f'echo "cannot open $file" >&2; exit {status}')
    messages = set()
    for _ in range(2):
        with pytest.raises((ProcessError, OpenFaceError), match=r"cannot open video\.mp4") as caught:
            run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_failure_leaves_an_older_csv_as_it_was(video: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clip.csv").write_text(CSV)
    program = stand_in(tmp_path / "openface", 'mkdir -p "$out"; echo half > "$csv"; exit 1')
    with pytest.raises(ProcessError):
        run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)
    assert (tmp_path / "out" / "clip.csv").read_text() == CSV


def test_a_hanging_openface_is_stopped(video: Path, tmp_path: Path) -> None:
    program = stand_in(tmp_path / "openface", f"echo $$ > {tmp_path}/pid; sleep 3600")
    with pytest.raises(ProcessError, match=r"OpenFace on clip\.mp4 did not end within 5 s"):
        run_openface(program, video, tmp_path / "out", timeout_s=5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Could not open the video file'", "wrote no CSV.*Could not open the video file"),
        ("echo 'no faces' >&2", "wrote no CSV.*no faces"),
        ('mkdir -p "$out"; : > "$csv"', "wrote an empty CSV"),
        ('mkdir -p "$csv"', "wrote no CSV"),
    ],
)
def test_ending_well_without_a_csv_is_an_error(video: Path, tmp_path: Path, script: str, message: str) -> None:
    program = stand_in(tmp_path / "openface", script)
    with pytest.raises(OpenFaceError, match=rf"clip\.mp4.*{message}"):
        run_openface(program, video, tmp_path / "out", timeout_s=LIMIT_S)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_run_is_an_error(video: Path, tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="OpenFace on clip"):
        run_openface(tmp_path / "absent", video, tmp_path / "out", timeout_s=LIMIT_S)
    program = stand_in(tmp_path / "openface", "exit 0")
    with pytest.raises(OpenFaceError, match=r"absent\.mp4.*No such file"):
        run_openface(program, tmp_path / "absent.mp4", tmp_path / "out", timeout_s=LIMIT_S)
    with pytest.raises(OpenFaceError, match="could not be run"):
        run_openface(program, video, video / "out", timeout_s=LIMIT_S)


# Finding


@pytest.fixture
def no_openface(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FMLTK_OPENFACE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("no_openface")
def test_there_may_be_no_openface() -> None:
    assert find_openface() is None


@pytest.mark.usefixtures("no_openface")
def test_openface_is_found_on_path_behind_its_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = stand_in(tmp_path / "OpenFace" / "bin", "exit 0")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "FeatureExtraction").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert find_openface() == program.resolve()


@pytest.mark.usefixtures("no_openface")
@pytest.mark.parametrize("folder", ["", "bin", "build/bin"])
def test_the_variable_may_name_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    program = stand_in(tmp_path / "OpenFace" / folder, "exit 0")
    monkeypatch.setenv("FMLTK_OPENFACE", str(tmp_path / "OpenFace"))
    assert find_openface() == program.resolve()


@pytest.mark.usefixtures("no_openface")
def test_the_variable_may_name_the_program_and_goes_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "other", "exit 0")
    program = stand_in(tmp_path / "mine", "exit 0", name="my-openface")
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    monkeypatch.setenv("FMLTK_OPENFACE", str(program))
    assert find_openface() == program.resolve()


@pytest.mark.usefixtures("no_openface")
def test_a_wrong_variable_is_an_error_even_with_openface_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = stand_in(tmp_path / "other", "exit 0")
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("FMLTK_OPENFACE", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"FMLTK_OPENFACE is .*absent.* cannot be run"):
        find_openface()
    program.chmod(0o644)
    monkeypatch.setenv("FMLTK_OPENFACE", str(program.parent))
    with pytest.raises(ConfigError, match=r"bin/FeatureExtraction.* cannot be run"):
        find_openface()


# The version


def test_the_version_changes_with_the_program_and_with_its_models(tmp_path: Path) -> None:
    program = stand_in(tmp_path / "bin", "exit 0")
    first = openface_version(program)
    assert openface_version(program) == first
    model = tmp_path / "bin" / "model" / "patch_experts" / "cen_patches_1.00_of.dat"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    with_model = openface_version(program)
    assert with_model.split(", ")[0] == first.split(", ")[0]
    assert with_model != first
    program.write_text("#!/bin/sh\n")
    assert openface_version(program).split(", ")[0] != first.split(", ")[0]
    with pytest.raises(OpenFaceError, match="cannot be read"):
        openface_version(tmp_path / "absent")
