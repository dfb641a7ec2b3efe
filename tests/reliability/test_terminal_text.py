"""No command writes what a terminal would obey, whoever chose the words: on a terminal, in a pipe, in a log."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.io.printable import printable, printable_json
from tests.model.folders import planted, write_clips
from tests.processes import on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

# Window title, clipboard, clear screen, overwriting, the same of C1, DEL, a name shown backwards; and a line end.
HOSTILE = "\x1b]0;title\x07\x1b]52;c;aGk\x07\x1b[2J\rFORGED\x9b2J\x7f\u202egpj\u2066\nend"
# What rich itself writes on a terminal: colours, and cursor movements of a bar.
OWN = re.compile(r"\x1b\[[0-9;]*m|\r?\x1b\[\??[0-9]*[AKlh]|\r\n|\r(?=\x1b\[2K)")
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WAYS = ("piped", "on a terminal")


def run_fmltk(way: str, *arguments: object, **environment: str) -> tuple[int, str]:
    """Run fmltk; return the exit code and all that it wrote."""
    return run(way, [str(Path(sys.executable).with_name("fmltk")), *map(str, arguments)], **environment)


def run(way: str, argv: list[str], **environment: str) -> tuple[int, str]:
    """Run a program; return the exit code and all that it wrote."""
    if way == "on a terminal":
        return on_terminal(argv, **environment)
    env = {**os.environ, **environment}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False)
    return done.returncode, done.stdout.decode()


def assert_shown_and_not_obeyed(written: str, *, way: str) -> None:
    """The hostile words are there, written out."""
    text = OWN.sub("", written) if way == "on a terminal" else written
    assert "FORGED" in text, written
    assert OBEYED.findall(text) == [], repr(written)


@contextmanager
def hostile_server() -> Iterator[str]:
    """Run a server that answers every request with an error in hostile words; give its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"detail": HOSTILE}).encode()
            self.send_response(400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_every_character_that_a_terminal_obeys_is_written_out() -> None:
    everything = "".join(map(chr, range(0x11000)))
    shown = printable(everything)
    assert OBEYED.findall(shown + "\n") == []
    assert "\n" not in shown
    shown.encode()  # no half of a surrogate pair is left
    kept = "你好 👨\u200d👩\u200d👧 नमस्ते שלום \u200fعربي é\\n"
    assert printable(kept) == kept


def test_json_keeps_its_content() -> None:
    written = printable_json(json.dumps({HOSTILE: HOSTILE}, ensure_ascii=False, indent=2))
    assert json.loads(written) == {HOSTILE: HOSTILE}
    assert OBEYED.findall(written) == []


@pytest.mark.parametrize("way", WAYS)
def test_extract_shows_hostile_names_of_videos(way: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in (HOSTILE, "plain"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"no video")
    rows = f'plain,0,x,train\n"no video {HOSTILE}",1,x,"{HOSTILE}"\n'
    (tmp_path / "transcripts.csv").write_text(f"video_id,clip_id,text,mode\n{rows}")
    code, written = run_fmltk(
        *(way, "extract", tmp_path / "videos", "-o", tmp_path / "features", "--text-model", "minilm"),
        *("--openface", "none", "--transcripts", tmp_path / "transcripts.csv"),
    )
    assert code in (1, 3), written
    assert_shown_and_not_obeyed(written, way=way)
    log = (tmp_path / "features" / "problems.csv").read_text(encoding="utf-8")
    assert_shown_and_not_obeyed(log, way="in a log")


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("way", WAYS)
def test_import_shows_hostile_ids_and_raters(way: str, options: list[str], tmp_path: Path) -> None:
    export = tmp_path / f"{HOSTILE}.json"
    data = {"utterance_id": f"v$_${HOSTILE}", "condition": HOSTILE}
    annotation = {"id": 1, "completed_by": {"email": HOSTILE}, "result": []}
    export.write_text(json.dumps([{"id": HOSTILE, "data": data, "annotations": [annotation]}]))
    code, written = run_fmltk(way, "annotation", "import", export, "-o", tmp_path / "ratings.parquet", *options)
    assert code in (0, 1), written
    assert_shown_and_not_obeyed(written, way=way)
    for path in tmp_path.glob("ratings*.json*"):
        assert OBEYED.findall(path.read_text(encoding="utf-8")) == [], path


@pytest.mark.parametrize("way", WAYS)
def test_train_shows_hostile_names_of_labels(way: str, tmp_path: Path) -> None:
    features = write_clips(planted(n=20, n_videos=5), tmp_path / "features")
    labels = tmp_path / f"{HOSTILE}.csv"
    labels.write_text(f'utterance_id,label,"{HOSTILE}"\n"{HOSTILE}",{HOSTILE!r},1\n', encoding="utf-8")
    code, written = run_fmltk(way, "train", features, "--labels", labels, "-o", tmp_path / "run")
    assert code == 1
    assert_shown_and_not_obeyed(written, way=way)


@pytest.mark.parametrize("way", WAYS)
def test_dataset_import_shows_hostile_names(way: str, tmp_path: Path) -> None:
    path = tmp_path / f"{HOSTILE}.pkl"
    path.write_bytes(b"cos\nsystem\n" + b"(S'x'\ntR.")
    code, written = run_fmltk(way, "dataset", "import", path, "-o", tmp_path / "features")
    assert code == 1
    assert_shown_and_not_obeyed(written, way=way)


@pytest.mark.parametrize("way", WAYS)
def test_doctor_shows_hostile_paths(way: str) -> None:
    _, written = run_fmltk(way, "doctor", FMLTK_OPENFACE=f"/{HOSTILE}")
    assert_shown_and_not_obeyed(written, way=way)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_does_not_reach_the_terminal(way: str) -> None:
    with hostile_server() as url:
        code, written = run_fmltk(way, "annotation", "status", "--url", url, LABEL_STUDIO_API_KEY="token")
    assert code == 1
    assert_shown_and_not_obeyed(written, way=way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (1, ["extract", HOSTILE]),
        (1, ["report", HOSTILE]),
        (2, [HOSTILE]),
        (2, ["extract", "videos", f"--{HOSTILE}"]),
        (2, ["pad", HOSTILE, "--lambda", HOSTILE]),
    ],
)
def test_errors_show_hostile_arguments(way: str, code: int, arguments: list[str]) -> None:
    ended, written = run_fmltk(way, *arguments)
    assert ended == code, written
    assert_shown_and_not_obeyed(written, way=way)
    if code == 1:
        assert written.count("\n") == 1, "an expected error is one line"


@pytest.mark.parametrize("way", WAYS)
def test_the_traceback_of_a_bug_is_written_out(way: str) -> None:
    program = (
        "import sys\n"
        "from fmltk.toolkit.cli import main, doctor\n"
        f"def broken(*arguments, **options): raise ValueError({HOSTILE!r})\n"
        "doctor.check_machine = broken\n"
        "main.main(['doctor'])\n"
    )
    code, written = run(way, [sys.executable, "-c", program])
    assert code == 1
    assert "ValueError: " in written
    assert_shown_and_not_obeyed(written, way=way)


@pytest.mark.parametrize("way", WAYS)
def test_tables_bars_and_remarks_show_hostile_words(way: str) -> None:
    program = (
        "from fmltk.toolkit.console import Reporter\n"
        f"reporter, hostile = Reporter(), {HOSTILE!r}\n"
        "reporter.say(hostile)\n"
        "reporter.warn(hostile)\n"
        "reporter.table((hostile, 'b', 'c'), [(hostile, hostile, 1)], title=hostile)\n"
        "with reporter.progress(hostile, 2, unit='[bold]clips') as progress:\n"
        "    progress.advance(note=hostile)\n"
        "    reporter.warn('then ' + hostile)\n"
        "    progress.advance(note=hostile)\n"
    )
    code, written = run(way, [sys.executable, "-c", program])
    assert code == 0
    assert_shown_and_not_obeyed(written, way=way)
