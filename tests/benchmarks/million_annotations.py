"""Import and aggregate a million synthetic annotations: wall time and peak memory of each step.

    python tests/benchmarks/million_annotations.py
    python tests/benchmarks/million_annotations.py --annotations 20000

Makes one JSON export as Label Studio writes it (about 560 bytes per annotation), with skips, drafts and repeated
answers, then runs `fmltk annotation import`, `aggregate` and `agreement` on it, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATERS = 5
CONDITIONS = ("AT", "VT", "AV")


def write_export(path: Path, n_annotations: int) -> dict[str, int]:
    """Write an export of `n_annotations` and return what an import must find in it."""
    random.seed(0)
    expected = {"rated": 0, "skipped": 0, "repeated": 0}
    annotation_id = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        task_id = 0
        while annotation_id < n_annotations:
            annotations = []
            for rater in range(RATERS):
                annotation_id += 1
                skipped = (7 * task_id + rater) % 50 == 0
                annotations.append(make_annotation(annotation_id, rater, random.choice("101"), skipped=skipped))
                expected["skipped" if skipped else "rated"] += 1
            if task_id % 100 == 0:  # the second rater, who never skips one of these
                annotation_id += 1
                annotations.append(make_annotation(annotation_id, 1, "-1", skipped=False, second=30))
                expected["repeated"] += 1
            file.write("," if task_id else "")
            file.write(json.dumps(make_task(task_id, annotations), ensure_ascii=False))
            task_id += 1
        file.write("]")
    return {**expected, "annotations": annotation_id, "tasks": task_id}


def make_task(number: int, annotations: list[dict[str, object]]) -> dict[str, object]:
    """Return one task with its data."""
    video, clip = f"video_{number // 3000:04d}", f"{number // 3 % 1000:04d}"
    data = {
        "utterance_id": f"{video}$_${clip}",
        "video_id": video,
        "clip_id": clip,
        "condition": CONDITIONS[number % 3],
    }
    data |= {"scale": "-1..1", "text": "今天的天气很一般", "audio": f"/data/local-files/?d=stimuli/{number:016x}.wav"}
    return {"id": number, "annotations": annotations, "drafts": [], "predictions": [], "data": data, "project": 1}


def make_annotation(number: int, rater: int, label: str, *, skipped: bool, second: int = 0) -> dict[str, object]:
    """Return one annotation, with the fields that a server of version 1.23 writes."""
    moment = f"2026-11-22T19:17:{second:02d}.{number % 1_000_000:06d}Z"
    choice = {"from_name": "sentiment", "to_name": "audio", "type": "choices", "value": {"choices": [label]}}
    return {
        **{"id": number, "completed_by": rater + 3, "result": [] if skipped else [{**choice, "origin": "manual"}]},
        **{"was_cancelled": skipped, "ground_truth": False, "created_at": moment, "updated_at": moment},
        **{"draft_created_at": None, "lead_time": 4.2, "prediction": {}, "result_count": 1, "updated_by": rater + 3},
        **{"unique_id": f"830eb2fd-1f9b-4d13-b1ab-{number:012x}", "last_action": None, "parent_prediction": None},
    }


def measure(step: str, *arguments: str) -> dict[str, object]:
    """Run `fmltk annotation STEP ...`, print what it took, and return its document."""
    started = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from fmltk.toolkit.cli.main import main; main()",
        "annotation",
        step,
        *arguments,
        "--json",
    ]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        _, code, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        if code:
            raise SystemExit(f"{step} failed")
        took = {"seconds": round(seconds, 1), "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1)}
        print(json.dumps({"step": step, **took, "peak_mb": round(usage.ru_maxrss / 1024)}), flush=True)
        return json.load(output)


def main() -> None:
    """Make the export, run the three commands, check the counts, print one line of JSON per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fmltk-") as folder:
        export, ratings, labels = (Path(folder) / name for name in ("export.json", "r.parquet", "l.parquet"))
        expected = write_export(export, options.annotations)
        print(json.dumps({"export_mb": round(export.stat().st_size / 1e6), **expected}))
        document = measure("import", str(export), "-o", str(ratings))
        assert document["dropped"] == {"repeated": expected["repeated"]}, document["dropped"]
        rated = sum(counts["rated"] for counts in document["conditions"].values())
        assert rated == expected["rated"], (rated, expected)
        measure("aggregate", str(ratings), "-o", str(labels), "--panel", "at-least-3")
        measure("agreement", str(ratings))


if __name__ == "__main__":
    main()
