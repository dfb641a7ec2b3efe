"""The whole way over a real Label Studio: clips, projects, five raters, ratings, labels."""

from __future__ import annotations

import io
import json
import re
from urllib.parse import unquote

import av
import pytest

import fmltk.toolkit as toolkit
from fmltk.annotation.labelling.label_studio_client import Server
from fmltk.annotation.labelling.project import ProjectPlan
from fmltk.annotation.labelling.pushing import push_projects
from fmltk.annotation.ratings import read_ratings
from fmltk.toolkit.cli.main import main
from fmltk.toolkit.conditions import CH_SIMS_SCALE
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.label_file import read_labels
from tests.annotation.dropped import dropped_lines
from tests.annotation.hostile import hostile
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

    def run(*arguments, fails=False, dead=False):
        with pytest.raises(SystemExit) as caught:
            main(["annotation", *map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert ADMIN_TOKEN not in captured.out + captured.err
        assert caught.value.code == int(fails or dead), captured.err
        assert captured.err.count("\n") == 1 or not (fails or dead), captured.err
        assert not (fails and captured.out)
        return captured.err if fails else json.loads(captured.out)

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
    refuse_other_addresses(fmltk, label_studio, stimuli, address)
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
    assert [(entry["media"]["n_checked"], entry["media"]["dead"]) for entry in progress.values()] == [
        (3, []),
        (3, []),
        (6, []),
    ]
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
    check_reports(fmltk, ratings, tmp_path)
    imported = tmp_path / "imported.parquet"
    fmltk("import", *sorted((tmp_path / "exports").iterdir()), "-o", imported)
    assert read_ratings(imported).to_pylist() == rows
    first = ratings.read_bytes()
    assert fmltk("pull", *address, "-o", ratings)["read_again"] == len(rows)
    assert ratings.read_bytes() == first
    assert label_studio.calls_out() == []


def refuse_other_addresses(fmltk, server, stimuli, address):
    """A second push under other addresses stops before it changes anything; where it may, it changes nothing else."""
    before = tasks_of(server, "films AV")
    with hostile(serve_below(stimuli / "media")) as site:
        elsewhere = ("push", stimuli, *address, "--conditions", "AV,AT", "--media-url", site.url)
        said = fmltk(*elsewhere, fails=True)
        assert re.search(
            r"3 of 3 tasks of 'films AV' have media addresses other .*: video_0001\S+ has /data/local-files", said
        )
        assert f", not {site.url}/" in said
        assert "--update-addresses" in said
        assert site.seen == []
        assert tasks_of(server, "films AV") == before
        moved = fmltk(*elsewhere, "--update-addresses")["projects"]
        assert [(p["n_there"], p["n_moved"], p["n_added"]) for p in moved] == [(3, 3, 0), (3, 3, 0)]
        assert ADMIN_TOKEN not in "".join(site.seen)
        for clip, (number, data) in tasks_of(server, "films AV").items():
            changed = {name for name in data if data[name] != before[clip][1][name]}
            assert (number, changed) == (before[clip][0], {"video", "audio"})
            assert data["video"].startswith(f"{site.url}/silent/")
    back = ("push", stimuli, *address, "--conditions", "AV,AT", "--document-root", server.document_root)
    fmltk(*back, "--update-addresses")
    assert tasks_of(server, "films AV") == before


def check_reports(fmltk, ratings, folder):
    """The ratings of the server go through agreement and the report."""
    agreement = fmltk("agreement", ratings, "--bootstrap", 10)
    assert {"AT", "VT", "AV"} <= set(json.dumps(agreement).replace('"', " ").split())
    with pytest.raises(SystemExit) as caught:
        main(["report", str(ratings), "-o", str(folder / "report.html")])
    assert caught.value.code == 0
    assert "video_0001" in (folder / "report.html").read_text(encoding="utf-8")


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
    (first,) = push_projects(server, [(plan, tasks[:260])], n_annotators=5)
    assert (first.created, first.n_added) == (True, 260)
    (second,) = push_projects(server, [(plan, tasks)], n_annotators=3)
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


def write_stimuli(folder, clips=("1",)):
    """Write stimuli of one sound and one silent video for each clip."""
    files = {"audio": "audio/{} b.wav", "silent": "silent/{}.mp4"}
    lines = []
    for clip in clips:
        own = {part: name.format(clip) for part, name in files.items()}
        for name in own.values():
            (folder / "media" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "media" / name).write_bytes(b"RIFF" + clip.encode() * 30_000)
        status = {"audio": "ok", "silent": "ok", "text": "ok"}
        line = {"utterance_id": f"v$_${clip}", "video_id": "v", "clip_id": clip, "text": "t"}
        lines.append(json.dumps({**line, "files": own, "status": status}) + "\n")
    (folder / "stimuli.jsonl").write_text("".join(lines))
    return folder


def serve_below(folder):
    """Answer with the files of a folder, whole or in part, as a web server does."""

    def answer(handler):
        content = (folder / unquote(handler.path.lstrip("/"))).read_bytes()
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range") or "")
        headers = {"Content_Type": "audio/wav", "Access_Control_Allow_Origin": "*"}
        if part is None:
            handler.send(content, **headers)
        else:
            first, last = int(part[1]), min(int(part[2]), len(content) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
            handler.send(content[first : last + 1], 206, **headers)

    return answer


def titles(server):
    return {entry["title"] for entry in server.ask("GET", "/api/projects?page_size=100")["results"]}


def test_files_on_a_web_server_need_no_storage(label_studio, fmltk, tmp_path):
    stimuli = write_stimuli(tmp_path)
    address = ("--url", label_studio.url, "--project-prefix", "web", "--conditions", "AT")
    with hostile(serve_below(stimuli / "media")) as site:
        (project,) = fmltk("push", stimuli, *address, "--media-url", f"{site.url}/")["projects"]
        assert tasks_of(label_studio, "web AT")["1"][1]["audio"] == f"{site.url}/audio/1%20b.wav"
        number = project["link"].rsplit("/", 1)[1]
        assert label_studio.ask("GET", f"/api/storages/localfiles?project={number}") == []
        n_seen = len(site.seen)
        (progress,) = fmltk("status", *address)["projects"]
        assert len(site.seen) == n_seen  # a server may name any host
        assert (progress["media"]["n_elsewhere"], progress["media"]["n_checked"]) == (1, 0)
        (progress,) = fmltk("status", *address, "--media-url", site.url)["projects"]
        assert (progress["media"]["n_elsewhere"], progress["media"]["n_checked"]) == (0, 1)
        site.answer = lambda handler: handler.send(b"<html>", Content_Type="text/html")
        document = fmltk("status", *address, "--media-url", site.url, dead=True)
        (dead,) = document["projects"][0]["media"]["dead"]
        assert (dead["utterance_id"], "text/html" in dead["fault"]) == ("v$_$1", True)


def sabotage(name, label_studio, folder):
    """Return what is wrong with a push of `folder`, and what is said of it."""
    root = label_studio.document_root
    if name == "root too high":
        return ("--document-root", root.parent), f"the server serves {root}: give --document-root {root}"
    if name == "root too low":
        return ("--document-root", folder.parent), f"the server serves {root}: give --document-root {root}"
    if name == "another folder":
        return ("--document-root", folder.parent.parent), f'LOCAL_FILES_DOCUMENT_ROOT="{root}"'
    if name == "lost file":
        (folder / "media" / "silent" / "1.mp4").unlink()
        return ("--document-root", root), "1 of 1 files of"
    return ("--media-url", f"{label_studio.url}/user/login/?next="), "text/html"


@pytest.mark.parametrize("name", ["root too high", "root too low", "another folder", "lost file", "a login page"])
def test_a_push_whose_media_would_not_load_leaves_nothing_on_the_server(label_studio, fmltk, tmp_path, name):
    inside = tmp_path if name == "another folder" else label_studio.document_root
    stimuli = write_stimuli(inside / name.replace(" ", "-") / "deep" / "stimuli")
    arguments, expected = sabotage(name, label_studio, stimuli)
    before = titles(label_studio)
    said = fmltk("push", stimuli, "--url", label_studio.url, "--project-prefix", "sabotaged", *arguments, fails=True)
    assert expected in said
    assert titles(label_studio) == before


def test_a_push_that_fails_takes_back_only_what_it_made(label_studio, fmltk):
    root = label_studio.document_root
    stimuli = write_stimuli(root / "taken-back" / "stimuli")
    arguments = ("push", stimuli, "--url", label_studio.url, "--project-prefix", "back")
    fmltk(*arguments, "--conditions", "AT", "--document-root", root)
    (storage,) = storages_of(label_studio, "back AT")
    tasks = tasks_of(label_studio, "back AT")
    moved = root / "moved-there" / "stimuli"
    moved.parent.mkdir()
    stimuli.rename(moved)
    said = fmltk(
        "push", moved, *arguments[2:], "--conditions", "AT,VT", "--document-root", root.parent, "--update-addresses",
        fails=True,
    )  # fmt: skip
    assert f"give --document-root {root}" in said
    assert "back VT" not in titles(label_studio)
    assert storages_of(label_studio, "back AT") == [storage]
    assert tasks_of(label_studio, "back AT") == tasks


def test_a_personal_access_token_fetches_the_media_too(label_studio, fmltk, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.ask("POST", "/api/token/")["token"])
    root = label_studio.document_root
    stimuli = write_stimuli(root / "personal" / "stimuli")
    address = ("--url", label_studio.url, "--project-prefix", "personal", "--conditions", "AV")
    (project,) = fmltk("push", stimuli, *address, "--document-root", root)["projects"]
    assert (project["created"], project["n_added"]) == (True, 1)
    assert fmltk("status", *address)["projects"][0]["media"]["n_checked"] == 2


def storages_of(server, title):
    (project,) = [p for p in server.ask("GET", "/api/projects?page_size=100")["results"] if p["title"] == title]
    return server.ask("GET", f"/api/storages/localfiles?project={project['id']}")


def test_status_names_the_tasks_whose_media_do_not_load(label_studio, fmltk):
    root = label_studio.document_root
    clips = [str(number) for number in range(1, 8)]
    stimuli = write_stimuli(root / "dying" / "stimuli", clips)
    address = ("--url", label_studio.url, "--project-prefix", "dying", "--conditions", "AV")
    fmltk("push", stimuli, *address, "--document-root", root)
    (progress,) = fmltk("status", *address)["projects"]
    assert progress["media"] == {"n_media": 14, "n_elsewhere": 0, "n_checked": 14, "dead": []}
    (stimuli / "media" / "silent" / "3.mp4").unlink()
    (stimuli / "media" / "audio" / "5 b.wav").unlink()
    (stimuli / "media" / "audio" / "5 b.wav").mkdir()  # is there and cannot be opened, as a file without permission
    numbers = {clip: number for clip, (number, _) in tasks_of(label_studio, "dying AV").items()}
    document = fmltk("status", *address, dead=True)
    dead = document["projects"][0]["media"]["dead"]
    assert sorted((one["utterance_id"], one["task"], one["fault"]) for one in dead) == [
        ("v$_$3", str(numbers["3"]), "the answer is 404"),
        ("v$_$5", str(numbers["5"]), "the answer is 404"),
    ]
    assert {one["link"].rsplit("/", 1)[1] for one in dead} == {f"data?task={numbers[c]}" for c in "35"}
    assert fmltk("status", *address, "--check-media", 0)["projects"][0]["media"] is None
    sampled = fmltk("status", *address, "--check-media", 1)["projects"][0]["media"]
    assert (sampled["n_media"], sampled["n_checked"]) == (14, 1)


def test_a_pull_takes_the_condition_from_the_title_where_the_tasks_do_not_say_it(label_studio, fmltk, tmp_path):
    plan = ProjectPlan("AT", CH_SIMS_SCALE, prefix="loose")
    data = {"utterance_id": "v$_$1", "text": "t", "audio": "/a.wav"}
    push_projects(Server(label_studio.url, ADMIN_TOKEN), [(plan, [data])])
    (project,) = [
        p for p in label_studio.ask("GET", "/api/projects?page_size=100")["results"] if p["title"] == "loose AT"
    ]
    (task,) = label_studio.ask("GET", f"/api/tasks?project={project['id']}")["tasks"]
    label_studio.sign_up("loose@example.com").rate(task["id"], 1, "audio")
    address = ("--url", label_studio.url, "--project-prefix", "loose", "--conditions", "AT,VT")
    fmltk("pull", *address, "-o", tmp_path / "r.parquet")
    (row,) = read_ratings(tmp_path / "r.parquet").to_pylist()
    assert (row["condition"], row["value"]) == ("AT", 1)
