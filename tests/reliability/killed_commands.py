"""Commands that are killed at random moments: what each starts from, what it writes, and a server that it writes to."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from fmltk.annotation.clip_list import STIMULI_FILE
from fmltk.annotation.labelling.stimuli import Stimulus
from fmltk.toolkit.io.documents import json_text
from tests.ffmpeg import run_ffmpeg
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from collections.abc import Iterator

FMLTK = str(Path(sys.executable).with_name("fmltk"))
MEDIUM = bytes(range(256)) * 40
DEMO = Path(__file__).parents[2] / "toolkit" / "demo" / "videos"
# Files whose content tells when something was done, or how long it took.
TIMED = ("history.parquet", "summary.json", "metrics.json", "stage_av.json", "stage_at.json", "stage_vt.json",
         "stage_fusion.json", "ratings.report.json")  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command line that works in a folder which holds `inputs`; what it writes are all other files there.

    needs : the commands whose outputs it reads, which are made once
    """

    name: str
    line: str
    needs: tuple[str, ...] = ()

    def argv(self, server: str) -> list[str]:
        return [FMLTK, *self.line.format(server=server).split()]


COMMANDS = (
    Command("import", "annotation import AT.csv VT.csv -o ratings.parquet"),
    Command("aggregate", "annotation aggregate ratings.parquet -o labels.parquet --panel at-least-3", ("import",)),
    Command("report", "report planted ratings.parquet -o report.html", ("import",)),
    Command("push", "annotation push stimuli --url {server} --conditions AT,VT --media-url {server}/media"),
    Command("train", "train planted -o run -j 2 --preset ch-sims --set max_epochs=400 --set patience=400 --set bs=8"),
    Command("predict", "predict run planted -o scores.csv", ("train",)),
    Command("extract", "extract videos -o features --modalities audio,vision --openface none --workers 2"),
    Command("pad", "pad features --max-length 5", ("extract",)),
)


def write_inputs(folder: Path, names: set[str]) -> None:
    """Write what the commands of these names start from: sheets of ratings, features, stimuli, clips."""
    for condition in ("AT", "VT"):
        answers = [(clip, rater) for clip in range(4_000) for rater in range(5)]
        rows = [f"v$_${clip},{condition},rater {rater},{(clip + rater) % 3 - 1}" for clip, rater in answers]
        (folder / f"{condition}.csv").write_text("\n".join(["utterance_id,condition,annotator,value", *rows]) + "\n")
    if names & {"report", "train", "predict"}:
        write_clips(planted(n=60, n_videos=12), folder / "planted")
    (folder / "stimuli").mkdir()
    status = dict.fromkeys(("audio", "text", "silent"), "ok")
    stimuli = [
        Stimulus(f"v$_${clip}", "v", str(clip), "words", "en", 2.0, {p: f"{p}/any.wav" for p in status}, status)
        for clip in range(600)
    ]
    (folder / "stimuli" / STIMULI_FILE).write_text("".join(json_text(asdict(one)) + "\n" for one in stimuli))
    for part in ("audio", "silent"):
        (folder / "stimuli" / "media" / part).mkdir(parents=True)
        (folder / "stimuli" / "media" / part / "any.wav").write_bytes(MEDIUM)
    if names & {"extract", "pad"}:
        for number, source in enumerate(sorted(DEMO.rglob("*.mp4"))[:4]):
            target = folder / "videos" / "v" / f"{number}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            run_ffmpeg("-t", "1", "-i", source, "-vf", "scale=-2:180", target)


def end_state(folder: Path, inputs: set[str]) -> dict[str, bytes]:
    """Return what a command wrote below a folder, hidden files too; the content of `TIMED` does not count."""
    return {
        name: b"" if path.name in TIMED else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (name := str(path.relative_to(folder))) not in inputs
    }


@dataclass
class Projects:
    """What a server of annotation projects holds: each project's settings and its tasks' data."""

    settings: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[list[dict[str, Any]]] = field(default_factory=list)

    def state(self) -> list[tuple[Any, ...]]:
        """Return titles, settings and tasks, in an order that does not depend on when they came."""
        pairs = zip(self.settings, self.tasks, strict=True)
        named = [(one["title"], json.dumps(one, sort_keys=True), own) for one, own in pairs]
        return sorted((title, text, [task["utterance_id"] for task in own]) for title, text, own in named)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ProjectServer

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(where.query).items()}
        held, page = self.server.held, int(query.get("page", 1))
        if where.path.startswith("/media/"):
            self._send_medium(self.headers.get("Range"))
        elif where.path == "/api/projects/":
            found = [{"id": n, **one} for n, one in enumerate(held.settings) if query.get("title", "") in one["title"]]
            self._send({"count": len(found), "results": found if page == 1 else []})
        else:
            tasks = held.tasks[int(query["project"])]
            own = [{"id": number, "data": data} for number, data in enumerate(tasks)]
            size = int(query.get("page_size", 100))
            self._send({"total": len(own), "tasks": own[(page - 1) * size : page * size]})

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        held = self.server.held
        with self.server.lock:
            if self.path == "/api/projects/":
                held.settings.append(document)
                held.tasks.append([])
                self._send({"id": len(held.settings) - 1, **document})
            else:
                held.tasks[int(self.path.split("/")[3])].extend(task["data"] for task in document)
                self._send({"task_count": len(document)})

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _send_medium(self, part: str | None) -> None:
        first, last = map(int, part.removeprefix("bytes=").split("-")) if part else (0, len(MEDIUM) - 1)
        self.send_response(206 if part else 200)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(MEDIUM)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(MEDIUM[first : last + 1])

    def _send(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ProjectServer(ThreadingHTTPServer):
    """As much of Label Studio as a push asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.held, self.lock = Projects(), threading.Lock()

    def handle_error(self, *args: object) -> None:
        """Say nothing of a client that was killed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def project_server() -> Iterator[ProjectServer]:
    server = ProjectServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
