"""The whole way over a real Label Studio: clips, projects, five raters, ratings, labels."""

from __future__ import annotations

import io
import json

import av
import pytest

import fmltk.toolkit as toolkit
from fmltk.annotation.labelling.label_studio_client import Server
from fmltk.annotation.labelling.project import ProjectPlan
from fmltk.annotation.ratings import read_ratings
from fmltk.toolkit.cli.main import main
from fmltk.toolkit.conditions import CH_SIMS_SCALE
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.label_file import read_labels
from tests.annotation.dropped import dropped_lines
from tests.processes import LIMIT_S

pytestmark = pytest.mark.server

ADMIN_TOKEN = "0123456789abcdef0123456789abcdef01234567"
TEXTS = {"0001": "I loved every minute of this film.", "0002": "很好 <b>dull</b>", "0003": "It never gets anywhere."}
# What five raters answer to each clip in each condition; None is a skip.
ANSWERS = {
    "AT": {"0001": [1, 1, 1, 0, 1], "0002": [-1, -1, -1, -1, -1], "0003": [0, 0, 1, -1, 0]},
    "VT": {"0001": [1, 0, 1, 1, 0], "0002": [-1, 0, None, -1, -1], "0003": [0, 0, 0, 0, -1]},
    "AV": {"0001": [1, 1, 1, 1, 1], "0002": [0, -1, 0, -1, 0], "0003": [0, 1, 1, 0, 1]},
}
# Computed by hand from the answers; VT 0002 has four ratings and a skip, AV 0003 a changed and a repeated answer.
LABELS = {
    "AT": {"0001": (0.8, "PS"), "0002": (-1.0, "NG"), "0003": (0.0, "NU")},
    "VT": {"0001": (0.6, "WP"), "0002": (None, None), "0003": (-0.2, "WN")},
    "AV": {"0001": (1.0, "PS"), "0002": (-0.4, "WN"), "0003": (-0.2, "WN")},
}
TO_NAME = {"AT": "audio", "VT": "video", "AV": "video"}


@pytest.fixture
def fmltk(monkeypatch, capsys):
    """Run `fmltk annotation ... --json` with the administrator's token; return the document."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", ADMIN_TOKEN)

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["annotation", *map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert ADMIN_TOKEN not in captured.out + captured.err
        assert caught.value.code == 0, captured.err
        return json.loads(captured.out)

    return run


@pytest.fixture
def clips(tmp_path):
    """Three of the bundled clips with a table of what is said in them."""
    from pathlib import Path

    bundled = Path(next(iter(toolkit.__path__))) / "demo" / "videos" / "video_0001"
    folder = tmp_path / "clips" / "video_0001"
    folder.mkdir(parents=True)
    lines = ["video_id\tclip_id\ttext"]
    for clip, text in TEXTS.items():
        (folder / f"{clip}.mp4").symlink_to(bundled / f"{clip}.mp4")
        lines.append(f"video_0001\t{clip}\t{text}")
    (tmp_path / "text.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "clips", tmp_path / "text.tsv"


def tasks_of(server, title):
    """Return the tasks of a project: {clip_id: (task id, data)}."""
    (project,) = [
        entry for entry in server.ask("GET", "/api/projects?page_size=100")["results"] if entry["title"] == title
    ]
    tasks = server.ask("GET", f"/api/tasks?project={project['id']}&page_size=100")["tasks"]
    return {task["data"]["clip_id"]: (task["id"], task["data"]) for task in tasks}


def test_clips_become_labels_over_a_real_server(label_studio, clips, fmltk, tmp_path):
    videos, transcripts = clips
    stimuli = label_studio.document_root / "stimuli"
    document = fmltk("prepare", videos, "-o", stimuli, "--transcripts", transcripts, "--workers", 2)
    assert document["conditions"] == {"AT": 3, "VT": 3, "AV": 3}
    assert document["errors"] == []

    address = ("--url", label_studio.url, "--project-prefix", "films")
    arguments = ("push", stimuli, *address, "--document-root", label_studio.document_root, "--annotators", 5)
    pushed = fmltk(*arguments)["projects"]
    assert [(p["title"], p["created"], p["n_there"], p["n_added"]) for p in pushed] == [
        (f"films {name}", True, 0, 3) for name in ("AT", "VT", "AV")
    ]
    again = fmltk(*arguments)["projects"]
    assert [(p["created"], p["updated"], p["n_there"], p["n_added"]) for p in again] == [(False, [], 3, 0)] * 3

    raters = [label_studio.sign_up(f"rater{number}@example.com") for number in range(5)]
    for condition, answers in ANSWERS.items():
        tasks = tasks_of(label_studio, f"films {condition}")
        check_data(label_studio, condition, tasks)
        for clip, values in answers.items():
            task = tasks[clip][0]
            for rater, value in zip(raters, values, strict=True):
                if value is None:
                    rater.skip(task)
                else:
                    annotation = rater.rate(task, value, TO_NAME[condition])
                    if (condition, clip, rater) == ("AV", "0003", raters[2]):
                        rater.change(annotation, -1, TO_NAME[condition])
            if (condition, clip) == ("AV", "0003"):  # a second answer, and a skip after that
                raters[1].rate(task, -1, TO_NAME[condition])
                raters[1].skip(task)
            if (condition, clip) == ("VT", "0001"):
                raters[4].change(raters[4].rate(task, -1, TO_NAME[condition]), 0, TO_NAME[condition])
                raters[3].draft(task, -1, TO_NAME[condition])
    late = label_studio.sign_up("late@example.com")
    late.draft(tasks_of(label_studio, "films AT")["0001"][0], -1, "audio")

    status = fmltk("status", *address)
    progress = {entry["title"]: entry for entry in status["projects"]}
    assert {entry["flag"] for entry in status["flags"]} == {"two_bimodal"}
    assert {entry["rater"] for entry in status["flags"]} == {rater.identity for rater in raters}
    assert progress["films AT"]["n_complete"] == 3
    assert progress["films VT"]["n_complete"] == 2
    by_rater = {entry["rater"]: entry for entry in progress["films VT"]["raters"]}
    assert (by_rater[raters[2].identity]["rated"], by_rater[raters[2].identity]["skipped"]) == (2, 1)

    ratings = tmp_path / "ratings.parquet"
    report = fmltk("pull", *address, "-o", ratings, "--exports", tmp_path / "exports")
    assert report["conditions"] == {
        "AT": {"clips": 3, "raters": 6, "rated": 15, "skipped": 0, "empty": 0, "draft": 1, "rejected": 0},
        "AV": {"clips": 3, "raters": 5, "rated": 15, "skipped": 0, "empty": 0, "draft": 0, "rejected": 0},
        "VT": {"clips": 3, "raters": 5, "rated": 14, "skipped": 1, "empty": 0, "draft": 0, "rejected": 0},
    }
    assert report["dropped"] == {"repeated": 2, "skipped too": 2}
    assert sum(report["dropped"].values()) == len(list(dropped_lines(ratings)))
    rows = read_ratings(ratings).to_pylist()
    assert {row["annotator"] for row in rows} == {rater.identity for rater in (*raters, late)}
    flags = {(r["condition"], r["clip_id"], r["annotator"]): r["flags"].split() for r in rows if r["value"] is not None}
    assert all("two_bimodal" in own for own in flags.values())  # the same five people rated every condition
    others = {key: rest for key, own in flags.items() if (rest := [flag for flag in own if flag != "two_bimodal"])}
    assert others == {
        ("AV", "0003", raters[1].identity): ["repeated", "skipped_later"],
        ("VT", "0001", raters[4].identity): ["repeated"],
    }
    written = sorted(tmp_path.glob("ratings.*"))
    assert [path.name for path in written] == ["ratings.dropped.jsonl", "ratings.parquet", "ratings.report.json"]
    assert not any(b"example.com" in path.read_bytes() for path in written)

    check_labels(fmltk, ratings, tmp_path / "labels.parquet")
    imported = tmp_path / "imported.parquet"
    fmltk("import", *sorted((tmp_path / "exports").iterdir()), "-o", imported)
    assert read_ratings(imported).to_pylist() == rows
    first = ratings.read_bytes()
    assert fmltk("pull", *address, "-o", ratings)["read_again"] == len(rows)
    assert ratings.read_bytes() == first
    assert label_studio.calls_out() == []


def check_data(server, condition, tasks):
    """Each task holds what its condition shows and nothing else, and the files it names hold no more than that."""
    import requests

    shown = {"AT": {"audio", "text"}, "VT": {"video", "text"}, "AV": {"video", "audio"}}[condition]
    for clip, (_, data) in tasks.items():
        assert set(data) == {"utterance_id", "video_id", "clip_id", "condition", "scale"} | shown
        if "text" in data:
            assert data["text"] == TEXTS[clip]
        for name in shown - {"text"}:
            assert clip not in data[name].rsplit("/", 1)[1]
            headers = {"Authorization": f"Token {ADMIN_TOKEN}"}
            content = requests.get(server.url + data[name], headers=headers, timeout=LIMIT_S).content
            with av.open(io.BytesIO(content)) as container:
                assert [stream.type for stream in container.streams] == [name]


def check_labels(fmltk, ratings, output):
    fmltk("aggregate", ratings, "-o", output)
    for row in read_labels(output).table.to_pylist():
        for condition, labels in LABELS.items():
            found = row[f"label_{condition}"], row[f"class_{condition}"]
            assert found == labels[row["clip_id"]], (condition, row["clip_id"])
    rows = {row["clip_id"]: row for row in read_labels(output).table.to_pylist()}
    assert rows["0002"]["reason_VT"] == "4 of 5 ratings: 1 skipped"


def test_a_push_adds_only_what_is_new_and_updates_settings(label_studio):
    server = Server(label_studio.url, ADMIN_TOKEN)
    plan = ProjectPlan("T", CH_SIMS_SCALE, prefix="texts")
    tasks = [
        {
            "utterance_id": f"v$_${n}",
            "video_id": "v",
            "clip_id": str(n),
            "condition": "T",
            "scale": "-1..1",
            "text": "x",
        }
        for n in range(300)  # more than one batch
    ]
    first = server.push(plan, tasks[:260], n_annotators=5)
    assert (first.created, first.n_added) == (True, 260)
    second = server.push(plan, tasks, n_annotators=3)
    assert (second.created, second.updated, second.n_there, second.n_added) == (False, ["maximum_annotations"], 260, 40)
    stored = label_studio.ask("GET", f"/api/projects/{first.link.rsplit('/', 1)[1]}")
    assert (stored["maximum_annotations"], stored["task_number"]) == (3, 300)


def test_a_refused_token_is_one_line_without_the_token(label_studio):
    with pytest.raises(AnnotationError, match="refuses the token") as caught:
        Server(label_studio.url, "f" * 40).find_project("films AT")
    assert "f" * 40 not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_projects_of_one_title_are_named(label_studio):
    for _ in range(2):
        label_studio.ask("POST", "/api/projects", json={"title": "twins AT"})
    with pytest.raises(AnnotationError, match="several projects are called 'twins AT'"):
        Server(label_studio.url, ADMIN_TOKEN).find_project("twins AT")


def test_a_call_to_another_machine_would_be_noticed(label_studio):
    import contextlib

    import requests

    label_studio.calls_out()
    host, port = label_studio.outbound.getsockname()
    with contextlib.suppress(requests.RequestException):
        requests.get("http://example.com/", proxies={"http": f"http://{host}:{port}"}, timeout=0.5)
    assert label_studio.calls_out() == ["GET http://example.com/ HTTP/1.1"]


def test_files_on_a_web_server_need_no_storage(label_studio, fmltk, tmp_path):
    line = {"utterance_id": "v$_$1", "video_id": "v", "clip_id": "1", "text": "t", "files": {"audio": "audio/a b.wav"}}
    (tmp_path / "stimuli.jsonl").write_text(json.dumps({**line, "status": {"audio": "ok", "text": "ok"}}) + "\n")
    address = ("--url", label_studio.url, "--project-prefix", "web", "--conditions", "AT")
    (project,) = fmltk("push", tmp_path, *address, "--media-url", "https://media.example.org/x")["projects"]
    assert tasks_of(label_studio, "web AT")["1"][1]["audio"] == "https://media.example.org/x/audio/a%20b.wav"
    number = project["link"].rsplit("/", 1)[1]
    assert label_studio.ask("GET", f"/api/storages/localfiles?project={number}") == []


def test_a_pull_takes_the_condition_from_the_title_where_the_tasks_do_not_say_it(label_studio, fmltk, tmp_path):
    plan = ProjectPlan("AT", CH_SIMS_SCALE, prefix="loose")
    data = {"utterance_id": "v$_$1", "text": "t", "audio": "/a.wav"}
    Server(label_studio.url, ADMIN_TOKEN).push(plan, [data])
    (project,) = [
        p for p in label_studio.ask("GET", "/api/projects?page_size=100")["results"] if p["title"] == "loose AT"
    ]
    (task,) = label_studio.ask("GET", f"/api/tasks?project={project['id']}")["tasks"]
    label_studio.sign_up("loose@example.com").rate(task["id"], 1, "audio")
    address = ("--url", label_studio.url, "--project-prefix", "loose", "--conditions", "AT,VT")
    fmltk("pull", *address, "-o", tmp_path / "r.parquet")
    (row,) = read_ratings(tmp_path / "r.parquet").to_pylist()
    assert (row["condition"], row["value"]) == ("AT", 1)
