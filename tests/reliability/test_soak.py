"""Five hundred clips with faults sprinkled in, the run killed twice: the end state is right row by row."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit import errors
from fmltk.toolkit.features.feature_set import read_features
from tests.processes import kill_session
from tests.reliability.page import write_section
from tests.reliability.soak_clips import MAX_DURATION_S, MAX_PIXELS, MODALITIES, Planned, make_clips

if TYPE_CHECKING:
    from collections.abc import Callable

FMLTK = str(Path(sys.executable).with_name("fmltk"))
DEMO = Path(__file__).parents[2] / "toolkit" / "demo" / "videos"
N_CLIPS = 500
CLIPS_VARIABLE = "FMLTK_SOAK_CLIPS"
ALONE_EVERY = 25  # one clip in so many is extracted again by itself


def command(folder: Path, out: Path) -> list[str]:
    return [
        FMLTK, "extract", str(folder / "videos"), "--transcripts", str(folder / "transcripts.csv"), "--exclude",
        str(folder / "exclude.csv"), "-o", str(out), "--text-model", "minilm", "--openface", "none", "--max-pixels",
        str(MAX_PIXELS), "--max-duration", str(MAX_DURATION_S), "--workers", "2",
    ]  # fmt: skip


def n_shards(out: Path) -> int:
    return len(list((out / "shards").glob("??/*.arrow")))


class EndedEarlyError(Exception):
    """A run ended before it could be killed: nothing is known from it."""


def killed(argv: list[str], out: Path, *, at: int, whole_session: bool) -> int:
    """Start a run and kill it when it has `at` shards: the command alone, or its workers too. Returns its shards."""
    program = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while n_shards(out) < at and program.poll() is None:
        time.sleep(0.02)
    if program.poll() is not None:
        raise EndedEarlyError
    if whole_session:
        kill_session(program.pid)
    else:
        program.kill()
    program.wait()
    return n_shards(out)


def killed_twice(folder: Path, n_clips: int) -> tuple[Path, int, int]:
    """Return a feature folder whose run was killed twice, and its shards each time."""
    for attempt in range(5):
        out = folder / f"features{attempt}"
        argv = command(folder, out)
        try:
            first = killed(argv, out, at=max(2, n_clips // 4), whole_session=True)
            second = killed(argv, out, at=max(first + 1, n_clips // 2), whole_session=False)
        except EndedEarlyError:  # few clips, and a machine that let this process wait
            continue
        return out, first, second
    pytest.fail("every run ended before it could be killed twice")


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.parquet")) if "shards" not in path.parts}


@pytest.mark.slow
def test_a_long_run_with_faults_and_two_kills_ends_with_every_row_right(
    test_data: Path, tmp_path: Path, sized: Callable[[int], int], request: pytest.FixtureRequest
) -> None:
    n_clips = int(os.environ.get(CLIPS_VARIABLE) or sized(N_CLIPS))
    shared = [path for path in (test_data / "videos").iterdir() if path.is_file()]
    sources = [*sorted(DEMO.rglob("*.mp4")), *sorted(shared)]
    planned = make_clips(tmp_path, sources, n_clips)
    assert len(planned) == n_clips
    started = time.monotonic()
    out, first, second = killed_twice(tmp_path, n_clips)
    argv = command(tmp_path, out)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr

    features = read_features(out)
    manifest = features.manifest().set_index("utterance_id")
    assert sorted(manifest.index) == sorted(one.utterance_id for one in planned)
    wrong = [complaint for one in planned for complaint in complaints(one, manifest.loc[one.utterance_id])]
    assert wrong == []
    for modality in MODALITIES:
        usable = manifest[manifest[f"{modality}_status"] == "ok"]
        table = features[modality]
        assert table.utterance_ids == list(usable.index)
        assert table.lengths.tolist() == usable[f"{modality}_length"].tolist()
        assert np.isfinite(table.features()).all()
    assert not list(out.rglob(".tmp-*"))

    before = tables(out)
    again = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert again.returncode == 3, again.stderr
    assert tables(out) == before
    n_alone = check_alone(tmp_path, planned, features)

    print(f"{n_clips} clips, killed with {first} and {second} shards, {seconds:.0f} s", file=sys.stderr)
    if request.config.getoption("--full-size"):
        write_section("soak", report(planned, manifest, (first, second), seconds, n_alone))


def complaints(one: Planned, row: Any) -> list[str]:
    """Return what is wrong with a clip's row."""
    about = f"{one.utterance_id} ({one.fault or 'good'})"
    found = [
        f"{about}: {column} is {row[column]!r}, not {value!r}"
        for column, value in one.expected.items()
        if row[column] != value
    ]
    for prefix in ("", *(f"{modality}_" for modality in MODALITIES)):
        status = row[f"{prefix}status"]
        if status not in ("ok", "missing", "failed", "skipped"):
            found.append(f"{about}: {prefix}status is {status!r}")
        if status == "failed":
            known = getattr(errors, str(row[f"{prefix}error_class"]), None)
            if known is None or not issubclass(known, errors.FmltkError):
                found.append(f"{about}: {prefix}error_class is {row[f'{prefix}error_class']!r}")
        message = row[f"{prefix}error_message"]
        # a clip that lacks one modality only, or has all, needs no reason of its own
        if status in ("failed", "skipped") and prefix == "" and not message:
            found.append(f"{about}: no reason why it is {status}")
        if status in ("failed", "missing") and prefix and not message:
            found.append(f"{about}: no reason why {prefix}features are {status}")
    return found


def check_alone(folder: Path, planned: list[Planned], features: Any) -> int:
    """Extract some good clips again, by themselves: the numbers are the same to the last bit."""
    chosen = [one for one in planned if not one.fault][::ALONE_EVERY]
    with (folder / "alone.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "video_id", "clip_id", "text"])
        writer.writerows(
            [f"videos/{one.video_id}/{one.clip_id}.mp4", one.video_id, one.clip_id, one.words] for one in chosen
        )
    argv = [FMLTK, "extract", str(folder / "alone.csv"), "-o", str(folder / "alone"), "--text-model", "minilm",
            "--openface", "none", "--workers", "1"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone = read_features(folder / "alone")
    for modality in MODALITIES:
        together = {key: values for key, values, _ in features[modality].sequences()}
        for key, values, _ in alone[modality].sequences():
            n_steps = min(len(values), len(together[key]))  # L differs between the two folders
            assert n_steps > 0
            assert values[:n_steps].tobytes() == together[key][:n_steps].tobytes(), f"{key} {modality}"
    return len(chosen)


def report(planned: list[Planned], manifest: Any, shards: tuple[int, int], seconds: float, n_alone: int) -> str:
    """Return what docs/reliability.md says of the run."""
    counts = Counter(manifest["status"])
    told = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    faults: dict[str, Counter[str]] = {}
    for one in planned:
        row = manifest.loc[one.utterance_id]
        says = row["error_class"] if row["status"] == "failed" else row["status"]
        lacking = [modality for modality in MODALITIES if row[f"{modality}_status"] == "missing"]
        says = says if len(lacking) in (0, 3) else f"{says}, no {lacking[0]}"
        faults.setdefault(one.fault or "none", Counter())[says] += 1
    lines = [
        f"{len(planned)} clips, of which {sum(bool(one.fault) for one in planned)} with a fault; killed when "
        f"{shards[0]} and {shards[1]} were done, then finished: {seconds / 60:.1f} minutes on two workers. End state: "
        f"{told}; every row as planned, the same command once more changed no byte, and {n_alone} clips extracted by "
        "themselves gave the same numbers to the last bit.",
        "",
        "| fault | clips | end state |",
        "|---|---:|---|",
    ]
    lines += [
        f"| {name} | {sum(states.values())} | {'; '.join(f'{state} ({n})' for state, n in sorted(states.items()))} |"
        for name, states in faults.items()
    ]
    return "\n".join(lines)
