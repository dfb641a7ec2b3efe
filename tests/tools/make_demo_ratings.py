"""Make toolkit/demo/ratings/: exports of all seven conditions from a real Label Studio server on this machine.

    python -m tests.tools.make_demo_ratings toolkit/demo/ratings

The answers are demonstration data: this script gives them, nobody has rated the clips. They are drawn so that the five
of a clip and condition add up to a total that is plausible for the sentence (TOTALS), with some disagreement. The way
is the real one: `fmltk annotation prepare` and `push`, 25 users who sign up and answer through the server, its exports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.annotation.conftest import ADMIN_TOKEN, CACHE, LABEL_STUDIO, LabelStudio, label_studio_program

DEMO = Path(__file__).parents[2] / "toolkit" / "demo"
PREFIX = "Demonstration data, not real ratings"
SEED = 0
# Five raters' answers of -1, 0 and 1, added up, in the conditions T, A, V, AT, VT, AV, M. The face never changes and
# smiles a little; in 0002/0001, 0003/0001 and 0004/0002 words and tone conflict.
CONDITIONS = ("T", "A", "V", "AT", "VT", "AV", "M")
TOTALS = {
    ("video_0001", "0001"): (5, 3, 4, 5, 5, 4, 5),
    ("video_0001", "0002"): (-5, -3, 0, -5, -3, -1, -4),
    ("video_0001", "0003"): (-1, -1, 3, -1, 1, 1, -1),
    ("video_0002", "0001"): (-1, -4, 2, -4, 0, -2, -4),
    ("video_0002", "0002"): (5, 3, 5, 5, 5, 4, 5),
    ("video_0002", "0003"): (0, 0, 1, 0, 1, 1, 0),
    ("video_0003", "0001"): (5, -2, 4, 2, 5, 0, 3),
    ("video_0003", "0002"): (-4, -3, -1, -5, -3, -2, -4),
    ("video_0003", "0003"): (-1, 0, 2, -1, 0, 1, -1),
    ("video_0004", "0001"): (5, 4, 5, 5, 5, 5, 5),
    ("video_0004", "0002"): (-1, -4, 0, -4, 1, -2, -4),
    ("video_0004", "0003"): (2, 2, 4, 3, 3, 3, 3),
}
# Who sees what (paper, section 3): a group per bimodal condition, one for text, then sound, then silent video.
GROUPS = {"T": 0, "A": 0, "V": 0, "AT": 1, "VT": 2, "AV": 3, "M": 4}
TO_NAME = {"T": "text", "A": "audio", "V": "video", "AT": "audio", "VT": "video", "AV": "video", "M": "video"}


def answers(total: int, rng: np.random.Generator) -> list[int]:
    """Return five answers that add up to `total`; the first raters lean to the positive side, but not always.

    >>> sum(answers(-3, np.random.default_rng(0)))
    -3
    """
    values = [int(np.sign(total))] * abs(total) + [0] * (5 - abs(total))
    if values.count(0) >= 2 and rng.random() < 0.25:
        first = values.index(0)
        values[first : first + 2] = [1, -1]
    places = np.argsort(np.arange(5) + rng.normal(0, 1.2, 5))
    return [value for _, value in sorted(zip(places.tolist(), sorted(values, reverse=True), strict=True))]


def fmltk(*arguments: object) -> None:
    program = Path(sys.executable).with_name("fmltk")
    environment = {**os.environ, "LABEL_STUDIO_API_KEY": ADMIN_TOKEN}
    subprocess.run([program, "annotation", *map(str, arguments)], env=environment, check=True)


def rate(server: LabelStudio) -> None:
    """Let 25 users sign up and answer."""
    rng = np.random.default_rng(SEED)
    groups = [[server.sign_up(f"rater{5 * group + k:02d}@example.com") for k in range(5)] for group in range(5)]
    projects = {one["title"]: one["id"] for one in server.ask("GET", "/api/projects?page_size=100")["results"]}
    for index, condition in enumerate(CONDITIONS):
        listed = server.ask("GET", f"/api/tasks?project={projects[f'{PREFIX} {condition}']}&page_size=100")["tasks"]
        for task in listed:
            total = TOTALS[task["data"]["video_id"], task["data"]["clip_id"]][index]
            for rater, value in zip(groups[GROUPS[condition]], answers(total, rng), strict=True):
                choice = {"from_name": "sentiment", "to_name": TO_NAME[condition], "type": "choices"}
                result = [{**choice, "value": {"choices": [str(value)]}}]
                seconds = round(float(rng.lognormal(1.9, 0.35)), 3)
                body = {"result": result, "lead_time": seconds}
                server.ask("POST", f"/api/tasks/{task['id']}/annotations/", rater.token, json=body)


def main(out: Path) -> None:
    """Write one export per condition into `out`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["cp", "-r", CACHE / f"label-studio-{LABEL_STUDIO}-empty", folder / "data"], check=True)
        server = LabelStudio(label_studio_program(), folder / "run", folder / "data")
        try:
            stimuli = server.document_root / "stimuli"
            chosen = ("--conditions", ",".join(CONDITIONS))
            address = ("--url", server.url, "--project-prefix", PREFIX, *chosen)
            fmltk("prepare", DEMO / "videos", "-o", stimuli, "--transcripts", DEMO / "transcripts.csv", *chosen)
            fmltk("push", stimuli, *address, "--document-root", server.document_root, "--language", "en")
            rate(server)
            fmltk("pull", *address, "--exports", folder / "exports", "-o", folder / "ratings.parquet")
            out.mkdir(parents=True, exist_ok=True)
            for condition in CONDITIONS:
                tasks = json.loads((folder / "exports" / f"{PREFIX} {condition}.json").read_text(encoding="utf-8"))
                text = json.dumps(tasks, ensure_ascii=False, separators=(",", ":"))
                (out / f"demonstration_{condition}.json").write_text(text + "\n", encoding="utf-8")
        finally:
            server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
