"""Finding a text model: folders, the MiniLM package, and the hub, which here is a server on loopback."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.errors import TextModelError
from fmltk.toolkit.text.folder import find_text_model

from .conftest import make_bert_folder

if TYPE_CHECKING:
    from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def loopback_hub(models: dict[str, Path]):
    """Serve model folders as the hub does; yields its address and the list of paths asked for."""
    asked: list[str] = []

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self):
            path = self.path.split("?")[0]
            asked.append(path)
            for name, folder in models.items():
                files = sorted(file.name for file in folder.iterdir())
                if path.startswith(f"/api/models/{name}/tree/"):
                    entries = [
                        {"type": "file", "path": f, "size": (folder / f).stat().st_size, "oid": f"{k:040x}"}
                        for k, f in enumerate(files)
                    ]
                    return self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")
                if path.startswith(f"/api/models/{name}"):
                    info = {"id": name, "sha": REVISION, "siblings": [{"rfilename": file} for file in files]}
                    return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
                if path.startswith(f"/{name}/resolve/"):
                    file = path.rsplit("/", 1)[1]
                    return self.answer(
                        200,
                        (folder / file).read_bytes(),
                        ETag=f'"{files.index(file):040x}"',
                        X_Repo_Commit=REVISION,
                    )
            return self.answer(404, b"{}", X_Error_Code="RepoNotFound")

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def find_in_process(model: str, home: Path, **environment: str) -> str:
    """Run find_text_model in a process of its own, as the hub's settings are read once; return its answer."""
    probe = f"""
import sys
from fmltk.toolkit.errors import TextModelError
from fmltk.toolkit.text.folder import find_text_model
try:
    found = find_text_model({model!r})
    print("found", found.name, found.revision, sorted(path.name for path in found.folder.iterdir()))
except TextModelError as error:
    print("refused", error)
assert not {{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)
"""
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    answer = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **settings},
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert answer.stdout.count("\n") == 1
    return answer.stdout.strip()


def test_minilm_is_found_without_importing_its_package():
    found = find_text_model("minilm")
    assert (found.folder / "model.safetensors").is_file()
    assert "sentence_transformers" not in sys.modules
    assert (found.name, found.revision, len(found.sha256)) == ("minilm", None, 64)


def test_a_hub_model_is_fetched_once_and_found_offline_afterwards(tmp_path):
    folder = make_bert_folder(tmp_path / "source", dimension=24)
    (folder / "flax_model.msgpack").write_bytes(b"x" * 1000)
    (folder / "pytorch_model.bin").write_bytes(b"x" * 1000)
    home = tmp_path / "home"
    files = ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]  # and no other weights
    expected = f"found lab/tiny-bert {REVISION} {files}"
    with loopback_hub({"lab/tiny-bert": folder}) as (address, asked):
        assert find_in_process("lab/tiny-bert", home, HF_ENDPOINT=address) == expected
        assert f"/lab/tiny-bert/resolve/{REVISION}/model.safetensors" in asked
        assert not any("msgpack" in path or ".bin" in path for path in asked)
    assert find_in_process("lab/tiny-bert", home, HF_ENDPOINT=address) == expected  # that server is gone
    assert find_in_process("lab/tiny-bert", home, HF_HUB_OFFLINE="1") == expected


def test_a_hub_model_with_pickled_weights_only_is_fetched_too(tmp_path):
    folder = make_bert_folder(tmp_path / "source", dimension=24, safe=False)
    with loopback_hub({"old-bert": folder}) as (address, _):
        answer = find_in_process("old-bert", tmp_path / "home", HF_ENDPOINT=address)
    assert "pytorch_model.bin" in answer


def test_an_unknown_hub_model_is_named(tmp_path):
    with loopback_hub({}) as (address, asked):
        answer = find_in_process("lab/no-such-bert", tmp_path, HF_ENDPOINT=address)
    assert asked
    assert answer.startswith("refused the hub has no text model 'lab/no-such-bert'")
    assert "minilm" in answer


def test_offline_mode_is_respected_and_answers_at_once(tmp_path):
    with loopback_hub({}) as (address, asked):
        answer = find_in_process("bert-base-chinese", tmp_path, HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert asked == []
    assert answer.startswith("refused text model 'bert-base-chinese' is not a local folder")
    assert "give --text-model a local folder; for English, minilm" in answer


def test_a_hub_that_refuses_connections_is_said_in_one_line(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        answer = find_in_process("bert-base-uncased", tmp_path, HF_ENDPOINT=address)
    assert "the hub cannot be reached" in answer
    assert "Connection refused" in answer
    assert "minilm" in answer


def test_a_hub_that_never_answers_is_given_up_after_one_try(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answer = find_in_process("bert-base-uncased", tmp_path, HF_ENDPOINT=address)
        silent.setblocking(False)
        asked = []
        with suppress(BlockingIOError):
            while True:
                with silent.accept()[0] as connection:
                    asked.append(connection.recv(4096).split()[1])
    assert "the hub cannot be reached" in answer
    assert asked.count(b"/api/models/bert-base-uncased") == 1


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "a b", "lab/group/model", ""])
def test_a_missing_folder_is_not_looked_for_on_the_hub(name):
    with pytest.raises(TextModelError, match="neither a folder that exists nor a hub name"):
        find_text_model(name)


def test_incomplete_folders_say_what_is_missing(tmp_path):
    folder = make_bert_folder(tmp_path / "model", dimension=24)
    (folder / "model.safetensors").rename(tmp_path / "weights")
    with pytest.raises(TextModelError, match=r"has no weights: expected model\.safetensors or pytorch_model\.bin"):
        find_text_model(str(folder))
    (tmp_path / "weights").rename(folder / "model.safetensors")
    (folder / "vocab.txt").rename(tmp_path / "vocabulary")
    with pytest.raises(TextModelError, match=r"has no vocabulary: expected one of tokenizer\.json, vocab\.txt"):
        find_text_model(str(folder))
    (tmp_path / "vocabulary").rename(folder / "vocab.txt")
    (folder / "config.json").unlink()
    with pytest.raises(
        TextModelError, match=r"cannot read .*model/config\.json: No such file or directory; give --text-model"
    ):
        find_text_model(str(folder))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_model_with_its_own_code_is_refused_and_the_code_not_run(tmp_path, file):
    folder = make_bert_folder(tmp_path / "model", dimension=24)
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**settings, "auto_map": {"AutoModel": "evil.Evil"}}))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(TextModelError, match="brings its own Python code"):
        find_text_model(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_local_folder_wins_over_a_hub_name(tmp_path, monkeypatch):
    make_bert_folder(tmp_path / "bert-base-chinese", dimension=24)
    monkeypatch.chdir(tmp_path)
    assert find_text_model("bert-base-chinese").revision is None
