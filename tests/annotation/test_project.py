"""What is sent to Label Studio: pages, instructions, tasks; and what a server must be."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from fmltk.annotation.labelling.label_studio_client import Server
from fmltk.annotation.labelling.progress import read_progress
from fmltk.annotation.labelling.project import (
    ProjectPlan,
    instructions,
    labelling_config,
    local_media_url,
    ordered_tasks,
)
from fmltk.annotation.labelling.pushing import push_projects
from fmltk.annotation.labelling.stimuli import PARTS, Stimulus
from fmltk.annotation.pages import parse_page
from fmltk.toolkit.cli.main import main
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, MOSI_SCALE, Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError

TAGS = {"T": {"Text"}, "A": {"Audio"}, "V": {"Video"}, "M": {"Video", "Text"}}
TAGS |= {"AT": {"Audio", "Text"}, "VT": {"Video", "Text"}, "AV": {"Audio", "Video"}}


def stimulus(number, *, text="t"):
    files = {"silent": f"silent/{number}s.mp4", "audio": f"audio/{number}a.wav", "full": f"full/{number}f.mp4"}
    return Stimulus(f"v$_${number}", "v", str(number), text, files=files, status=dict.fromkeys((*files, "text"), "ok"))


@pytest.mark.parametrize("scale", ["0..100:continuous", "-1..1:continuous", "nominal"])
def test_a_scale_without_choices_has_no_page(scale):
    with pytest.raises(ConfigError, match=f"the scale {scale} has none; name words by --scale"):
        ProjectPlan("AT", Scale.parse(scale))


def test_the_words_of_a_nominal_scale_are_the_choices():
    config = labelling_config(ProjectPlan("AT", Scale.parse("happy|sad|angry")))
    choices = list(ET.fromstring(config).iter("Choice"))
    assert [(one.get("value"), one.get("alias"), one.get("hotkey")) for one in choices] == [
        *(("happy", "happy", "1"), ("sad", "sad", "2"), ("angry", "angry", "3")),
    ]
    assert parse_page(config) == {"sentiment": Scale.parse("happy|sad|angry")}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("scale", [CH_SIMS_SCALE, MOSI_SCALE, Scale(1, 12)])
@pytest.mark.parametrize("language", ["en", "zh", "both"])
def test_a_page_has_its_conditions_media_and_one_required_choice(condition, scale, language):
    root = ET.fromstring(labelling_config(ProjectPlan(condition, scale, language)))
    media = [element for element in root if element.tag in ("Text", "Audio", "Video")]
    assert {element.tag for element in media} == TAGS[condition]
    (choices,) = root.findall("Choices")
    assert (choices.get("name"), choices.get("choice"), choices.get("required")) == (
        "sentiment",
        "single-radio",
        "true",
    )
    assert choices.get("toName") == media[0].get("name")
    assert [int(choice.get("alias")) for choice in choices] == list(scale.values)
    assert [choice.get("hotkey") for choice in choices][:9] == [str(n + 1) for n in range(min(len(choices), 9))]
    assert len({choice.get("value") for choice in choices}) == len(scale.values)
    assert len({element.get("sync") for element in media if element.get("sync")}) == (condition == "AV")
    assert sum(element.get("sync") is not None for element in media) == (2 if condition == "AV" else 0)


def test_captions_come_in_the_language_that_was_asked_for():
    for language, english, chinese in (("en", True, False), ("zh", False, True), ("both", True, True)):
        plan = ProjectPlan("AT", CH_SIMS_SCALE, language)
        for text in (labelling_config(plan), instructions(plan)):
            assert ("only" in text.lower()) == english
            assert ("判断" in text) == chinese
        assert ("Negative" in labelling_config(plan)) == english
        assert ("消极" in labelling_config(plan)) == chinese


def test_tasks_hold_what_is_shown_and_never_what_is_not():
    for condition in CONDITIONS:
        (task,) = ordered_tasks([stimulus(1)], ProjectPlan(condition, CH_SIMS_SCALE), "/m/", seed=0)
        assert ("text" in task) == ("text" in PARTS[condition])
        named = {value for key, value in task.items() if key in ("audio", "video")}
        assert named == {f"/m/{stimulus(1).files[part]}" for part in PARTS[condition] if part != "text"}
        assert not {"id", "annotator", "sentiment", "lead_time"} & set(task)  # fields that collide in CSV exports


def test_each_project_has_its_own_order_drawn_by_the_seed_and_new_tasks_do_not_change_it():
    def order(n, condition, seed):
        plan = ProjectPlan(condition, CH_SIMS_SCALE)
        return [task["clip_id"] for task in ordered_tasks([stimulus(k) for k in range(n)], plan, "", seed=seed)]

    orders = [order(40, condition, seed) for condition in ("AT", "VT") for seed in (0, 1)]
    assert len({tuple(one) for one in orders}) == 4
    assert all(sorted(one, key=int) == [str(k) for k in range(40)] for one in orders)
    assert [clip for clip in order(60, "AT", 0) if int(clip) < 40] == orders[0]
    plan = ProjectPlan("AT", CH_SIMS_SCALE)
    shuffled = ordered_tasks([stimulus(k) for k in reversed(range(40))], plan, "", seed=0)
    assert [task["clip_id"] for task in shuffled] == orders[0]


def test_clips_that_cannot_be_shown_are_left_out():
    lacking = stimulus(1)
    lacking.status["text"] = "missing"
    assert ordered_tasks([lacking], ProjectPlan("AT", CH_SIMS_SCALE), "", seed=0) == []
    assert len(ordered_tasks([lacking], ProjectPlan("AV", CH_SIMS_SCALE), "", seed=0)) == 1


def test_local_files_must_lie_below_what_the_server_serves(tmp_path):
    media = tmp_path / "root" / "a b" / "media"
    media.mkdir(parents=True)
    assert local_media_url(media, tmp_path / "root") == "/data/local-files/?d=a%20b/media/"
    for root in (tmp_path / "other", media):
        with pytest.raises(ConfigError, match="below"):
            local_media_url(media, root)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "http://user:secret@host", ""])
def test_an_address_that_is_none_is_refused_without_repeating_a_password(url):
    with pytest.raises(ConfigError, match="is not the address of a server") as caught:
        Server(url, "token")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line_and_the_token_is_not_in_it():
    server = Server("http://127.0.0.1:9", "very-secret-token", timeout_s=5)
    assert "secret" not in repr(server)
    with pytest.raises(AnnotationError, match=r"cannot reach http://127\.0\.0\.1:9") as caught:
        server.find_project("x AT")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"[1]", "answers otherwise than Label Studio"),
        (200, b"<html>\nwelcome\n</html>", r"the answer of http://127\.0\.0\.1:\d+ is not JSON"),
        (404, b"<html>\nnot\n\nhere</html>", "answered 404 .*<html> not here</html>"),
        (401, b"{}", "refuses the token"),
    ],
)
def test_what_is_no_label_studio_is_one_line(status, body, message):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(AnnotationError, match=message) as caught:
            Server(f"http://127.0.0.1:{other.server_port}", "very-secret-token").find_project("x AT")
        other.shutdown()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_push_needs_to_know_where_the_files_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "t")
    monkeypatch.delenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", raising=False)
    (tmp_path / "stimuli.jsonl").write_text("")
    for extra, message in (
        ((), "--document-root (local files) or --media-url"),
        (("--media-url", "https://m", "--document-root", str(tmp_path)), "one"),
        (("--media-url", "https://m"), "no clip of"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["annotation", "push", str(tmp_path), "--url", "http://127.0.0.1:9", *extra])
        assert caught.value.code == 1
        assert message in capsys.readouterr().err


def test_the_token_is_asked_for_where_the_environment_has_none(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    asked = []
    monkeypatch.setattr("click.prompt", lambda *args, **kwargs: asked.append(kwargs) or "typed-token")
    with pytest.raises(SystemExit) as caught:
        main(["annotation", "status", "--url", "http://127.0.0.1:9", "--timeout", "5"])
    captured = capsys.readouterr()
    assert caught.value.code == 1
    assert asked[0]["hide_input"]
    assert "typed-token" not in captured.out + captured.err


def test_a_token_that_nobody_can_be_asked_for_is_one_line(capsys, monkeypatch):
    def nobody(_):
        raise EOFError

    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    monkeypatch.setattr("click.termui.hidden_prompt_func", nobody)
    with pytest.raises(SystemExit) as caught:
        main(["annotation", "status", "--url", "http://127.0.0.1:9"])
    assert caught.value.code == 1
    assert "LABEL_STUDIO_API_KEY is not set, and nobody is there to ask" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["tok\u00e9n", "a\nb"])
def test_a_token_that_can_be_none_is_refused_without_being_shown(capsys, monkeypatch, token):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    with pytest.raises(SystemExit) as caught:
        main(["annotation", "status", "--url", "http://127.0.0.1:9"])
    err = capsys.readouterr().err
    assert (caught.value.code, "contains characters that no token has" in err, token in err) == (1, True, False)


class _Client:
    """A server with one project, whose tasks are rated on -1..1."""

    def __init__(self, plan):
        self.projects = self.tasks = self
        self._plan = plan

    def list(self, *, title=None, **_):
        if title is not None:
            return [SimpleNamespace(id=1, title=self._plan.title)]
        return [SimpleNamespace(id=7, data={"utterance_id": "v$_$1", "scale": str(self._plan.scale)})]


def test_a_project_is_not_given_another_scale_than_its_tasks_have(monkeypatch):
    plan = ProjectPlan("AT", CH_SIMS_SCALE)
    server = Server("http://127.0.0.1:9", "t")
    monkeypatch.setattr(server, "client", _Client(plan))  # that has no way to change anything
    with pytest.raises(AnnotationError, match=r"'fmltk AT' are rated on -1\.\.1, not on -3\.\.3"):
        push_projects(server, [(ProjectPlan("AT", MOSI_SCALE), [])])


def test_a_rater_who_answered_a_clip_twice_has_rated_it_once(exports, tmp_path):
    task = exports.task(exports.annotation(3), exports.annotation(3), exports.annotation(4))
    (tmp_path / "export.json").write_text(json.dumps([task]))
    complete = {}
    for n in (2, 3):
        progress = read_progress("x", tmp_path / "export.json", link="", n_annotators=n)
        complete[n] = progress.n_complete
    assert {rater.rater: rater.rated for rater in progress.raters} == {"3": 1, "4": 1}
    assert complete == {2: 1, 3: 0}


def test_no_option_takes_a_token():
    from fmltk.annotation.commands.group import annotation

    names = {option for command in annotation.commands.values() for p in command.params for option in p.opts}
    assert not {name for name in names if "token" in name or "key" in name or "password" in name}
    assert Path("--url").name in names


def test_a_broken_download_is_tried_again_and_at_last_given_up(tmp_path, monkeypatch):
    server = Server("http://127.0.0.1:9", "t")
    monkeypatch.setattr("fmltk.annotation.labelling.label_studio_client.POLL_S", 0.0)
    calls = []

    def fail(times):
        def download(project_id, target):
            calls.append(project_id)
            if len(calls) <= times:
                raise AnnotationError("broken off")
            target.write_text("[]")

        return download

    monkeypatch.setattr(server, "_download_once", fail(2))
    server.download(5, tmp_path / "export.json")
    assert (calls, (tmp_path / "export.json").read_text()) == ([5, 5, 5], "[]")
    calls.clear()
    monkeypatch.setattr(server, "_download_once", fail(3))
    with pytest.raises(AnnotationError, match="broken off"):
        server.download(5, tmp_path / "export.json")
    assert len(calls) == 3


def test_the_commands_are_listed_in_the_order_of_work():
    from fmltk.annotation.commands.group import annotation

    listed = annotation.list_commands(None)
    assert listed == ["prepare", "push", "status", "pull", "import", "aggregate", "agreement", "summary", "publish"]
    assert set(listed) == set(annotation.commands)
