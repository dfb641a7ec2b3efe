"""LR-ASD's network gives what its authors' own code gives, and refuses what is not its weights."""

from __future__ import annotations

import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.vision.active_speaker import weights as weights_module
from fmltk.toolkit.vision.active_speaker.network import ActiveSpeakerNetwork
from fmltk.toolkit.vision.active_speaker.scoring import running_mean, talking_scores
from fmltk.toolkit.vision.active_speaker.weights import find_weights, load_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_scores_are_those_of_the_authors(test_data: Path) -> None:
    weights = find_weights(test_data / "asd/finetuning_TalkSet.model")
    reference = np.load(test_data / "asd/reference.npz")
    network = load_network(weights)
    with torch.inference_mode():
        faces = torch.from_numpy(reference["video"]).float()[None]
        scores = network(faces, torch.from_numpy(reference["audio"])[None])[0]
    assert weights.known
    np.testing.assert_allclose(scores, reference["score"], atol=1e-4)


def test_tensors_have_the_names_of_the_file() -> None:
    names = list(ActiveSpeakerNetwork().state_dict())
    assert len(names) == 168
    assert {"model.visualEncoder.block2.t_norm_1.running_var", "model.detector.attention.bn.bias", "lossV.FC.bias"} <= {
        *names
    }


@pytest.mark.parametrize("n_frames", [0, 1, 60])
def test_pieces_of_all_durations_are_those_judged_one_by_one(n_frames: int) -> None:
    torch.manual_seed(4)
    network = ActiveSpeakerNetwork().eval()
    draw = np.random.default_rng(n_frames)
    faces = draw.integers(0, 256, (n_frames, 112, 112)).astype(np.uint8)
    coefficients = draw.standard_normal((4 * n_frames, 13)).astype(np.float32)

    total = np.zeros(n_frames)
    for seconds in (1, 2, 3, 4, 5, 6):
        for k in range(0, n_frames, 25 * seconds):
            piece = slice(k, k + 25 * seconds)
            with torch.inference_mode():
                seen = torch.from_numpy(faces[piece]).float()[None]
                heard = torch.from_numpy(coefficients[4 * k : 4 * (k + 25 * seconds)])[None]
                total[piece] += network(seen, heard)[0].numpy()

    expected = [total[max(k - 2, 0) : k + 3].mean() / 6 for k in range(n_frames)]
    np.testing.assert_allclose(talking_scores(network, faces, coefficients), expected, atol=1e-5)


def test_smoothing_keeps_a_constant() -> None:
    assert running_mean(np.full(7, 1.5), 5).tolist() == [1.5] * 7
    assert running_mean(np.zeros(0), 5).shape == (0,)


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('the file was run')",))


def _of_another_network() -> dict[str, torch.Tensor]:
    return {**ActiveSpeakerNetwork().state_dict(), "lossAV.FC.weight": torch.zeros(3, 128)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><title>Not Found</title>",
        pickle.dumps({"a": 1}),
        pickle.dumps(_Harmful()),
        {"weight": torch.zeros(2)},
        [1, 2],
        _of_another_network(),
    ],
    ids=["empty", "a web page", "a pickle", "a program", "other tensors", "a list", "another shape"],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: object) -> None:
    file = tmp_path / "lr-asd.model"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(FeatureError, match=r"lr-asd.model: not LR-ASD's weights.*curl -L") as refusal:
        load_network(find_weights(file))
    assert "\n" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


def test_a_cut_off_file_is_refused(test_data: Path, tmp_path: Path) -> None:
    whole = (test_data / "asd/finetuning_TalkSet.model").read_bytes()
    (tmp_path / "half.model").write_bytes(whole[: len(whole) // 2])
    weights = find_weights(tmp_path / "half.model")
    assert not weights.known
    with pytest.raises(FeatureError, match=r"half.model: not LR-ASD's weights"):
        load_network(weights)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the file does not exist; get the weights with: curl"):
        find_weights(tmp_path / "none.model")
    with pytest.raises(ConfigError, match="Is a directory; --asd takes a file"):
        find_weights(tmp_path)


@pytest.fixture
def published() -> Iterator[tuple[str, list[bytes]]]:
    """A server in the place of the authors' repository: its address, and the answers that it gives, one each time."""
    answers: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.pop(0) if answers else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/lr-asd.model", answers
        server.shutdown()


def test_the_published_weights_are_fetched_once_and_checked(
    published: tuple[str, list[bytes]], test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = published
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights_module, "WEIGHTS_URL", url)
    file = tmp_path / "fmltk" / "lr-asd.model"
    for body, said in ((b"", "404"), (b"<html>", "gave other bytes than LR-ASD's weights")):
        answers[:] = [body]
        with pytest.raises(
            ConfigError, match=rf"--asd lr-asd: .*{said}.*on a machine with the internet get the weights"
        ):
            find_weights("lr-asd")
        assert not file.exists()
    answers[:] = [(test_data / "asd/finetuning_TalkSet.model").read_bytes()]
    assert find_weights("lr-asd").known
    assert find_weights("lr-asd").path == file, "the server has no other answer"
    file.write_bytes(b"damaged")
    answers[:] = [(test_data / "asd/finetuning_TalkSet.model").read_bytes()]
    assert find_weights("lr-asd").known


def test_without_the_internet_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "WEIGHTS_URL", "http://127.0.0.1:1/lr-asd.model")
    with pytest.raises(ConfigError, match=r"cannot be fetched \(.+\); on a machine with the internet") as refusal:
        weights_module.fetch_weights(tmp_path / "lr-asd.model")
    assert "\n" not in str(refusal.value)
