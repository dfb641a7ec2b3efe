"""Paths through emissions whose answer is known, and a tiny model as an aligner."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.alignment import ctc
from fmltk.toolkit.alignment.forced import find_aligner
from fmltk.toolkit.alignment.viterbi import token_frames
from fmltk.toolkit.errors import ConfigError, FeatureError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BLANK = 0
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "S", "E", "T", "W", "H", "I", "'", "很", "好"]


def emissions(path: str) -> NDArray[np.float32]:
    """Frames that say one token each: "-" is the blank, a digit that token; all but surely."""
    probabilities = np.full((len(path), 5), 0.02)
    for frame, one in enumerate(path):
        probabilities[frame, BLANK if one == "-" else int(one)] = 0.92
    return np.log(probabilities).astype(np.float32)


@pytest.mark.parametrize(
    ("path", "tokens", "expected"),
    [
        ("--1122-3--", [1, 2, 3], [(2, 4), (4, 6), (7, 8)]),
        ("111-1--", [1, 1], [(0, 3), (4, 5)]),  # two equal tokens need a blank between them
        ("1234", [1, 2, 3, 4], [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("----2", [2], [(4, 5)]),
        ("2----", [2], [(0, 1)]),
        ("1-2-1-2", [1, 2, 1, 2], [(0, 1), (2, 3), (4, 5), (6, 7)]),
    ],
)
def test_tokens_are_found_where_the_emissions_say_them(
    path: str, tokens: list[int], expected: list[tuple[int, int]]
) -> None:
    assert token_frames(emissions(path), tokens, blank=BLANK) == expected


def by_trying_all(log_probs: NDArray[np.float32], tokens: list[int]) -> float:
    """The score of the most probable of all paths that spell the tokens."""
    best = -np.inf
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [one for one, _ in itertools.groupby(path) if one != BLANK] == tokens:
            best = max(best, float(sum(log_probs[frame, one] for frame, one in enumerate(path))))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_path_is_the_most_probable_of_all(seed: int) -> None:
    chance = np.random.default_rng(seed)
    log_probs = np.log(chance.dirichlet([0.5, 0.5, 0.5], size=6)).astype(np.float32)
    tokens = chance.integers(1, 3, size=chance.integers(1, 4)).tolist()
    found = token_frames(log_probs, tokens, blank=BLANK)
    path = [BLANK] * 6
    for token, (first, last) in zip(tokens, found, strict=True):
        path[first:last] = [token] * (last - first)
    assert [one for one, _ in itertools.groupby(path) if one != BLANK] == tokens
    score = float(sum(log_probs[frame, one] for frame, one in enumerate(path)))
    assert score == pytest.approx(by_trying_all(log_probs, tokens), abs=1e-4)


def test_too_few_frames_for_the_letters_are_refused() -> None:
    with pytest.raises(FeatureError, match="has 3 frames of audio, too few for 4 letters"):
        token_frames(emissions("1-1"), [1, 1, 2], blank=BLANK)
    assert token_frames(emissions("1-12"), [1, 1, 2], blank=BLANK) == [(0, 1), (2, 3), (3, 4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav2vec 2.0 of random weights that writes a few letters, as a user's folder would hold it."""
    from fmltk.toolkit.compat import guard_torchvision

    guard_torchvision()
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("models") / "tiny-ctc"
    folder.mkdir()
    config = Wav2Vec2Config(
        vocab_size=len(LETTERS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Wav2Vec2ForCTC(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({one: n for n, one in enumerate(LETTERS)}), encoding="utf-8")
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "pad_token": "<pad>", "word_delimiter_token": "|"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def noise(seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Set, white this", ["Set", "white", "this"]),
        ("it's 很好!", ["it's", "很", "好"]),
        ("这很好", ["这", "很", "好"]),
    ],
)
def test_each_word_is_found_in_order_within_the_sound(model: Path, text: str, expected: list[str]) -> None:
    aligner = find_aligner(f"hf:{model}")
    found = aligner.words(noise(2), text, None)
    assert [one.text for one in found] == expected
    known = [(one.start_s, one.end_s) for one in found if one.start_s is not None and one.end_s is not None]
    assert len(known) == len(expected) - expected.count("这")
    edges = [time for own in known for time in own]
    assert edges == sorted(edges)
    assert 0 <= edges[0] < edges[-1] <= 2
    assert aligner.words(noise(2), text, None) == found
    assert aligner.name.startswith("hf:tiny-ctc ")


def test_the_times_are_those_of_the_models_own_emissions(model: Path) -> None:
    import torch
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    own = Wav2Vec2ForCTC.from_pretrained(model).eval()
    heard = Wav2Vec2FeatureExtractor.from_pretrained(model)(noise(2), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        log_probs = own(heard["input_values"]).logits[0].log_softmax(-1).numpy()
    letters = [LETTERS.index(one) for one in "SET|HI"]
    frames = token_frames(log_probs, letters, blank=0)
    found = find_aligner(f"hf:{model}").words(noise(2), "set hi", "en")
    assert [(one.start_s, one.end_s) for one in found] == [
        (pytest.approx(frames[0][0] / 50), pytest.approx(frames[2][1] / 50)),
        (pytest.approx(frames[4][0] / 50), pytest.approx(frames[5][1] / 50)),
    ]


def test_long_sound_is_heard_in_pieces_without_losing_a_frame(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligner = find_aligner(f"hf:{model}")
    assert isinstance(aligner, ctc.CtcAligner)
    whole = aligner._log_probs(noise(5))
    monkeypatch.setattr(ctc, "PIECE_S", 2)
    monkeypatch.setattr(ctc, "CONTEXT_S", 1)
    pieces = aligner._log_probs(noise(5))
    assert pieces.shape == whole.shape
    np.testing.assert_allclose(np.exp(pieces).sum(axis=1), 1, rtol=1e-5)


def test_what_is_not_a_ctc_model_or_not_of_the_language_is_one_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="knows no letter of the transcript"):
        find_aligner(f"hf:{model}").words(noise(1), "ляля", None)
    for change, said in (
        ("code", "brings its own Python code"),
        ("weights", "cannot be loaded"),
        ("tokenizer", "has no vocabulary"),
        ("absent", "is neither a folder that exists nor a hub name"),
        ("head", "lacks 2 of its weights, first lm_head"),
    ):
        folder = tmp_path / change
        if change != "absent":
            shutil.copytree(model, folder)
        if change == "code":
            config = json.loads((folder / "config.json").read_text()) | {"auto_map": {"AutoModel": "x.Y"}}
            (folder / "config.json").write_text(json.dumps(config))
        elif change == "weights":
            (folder / "model.safetensors").write_bytes(b"nothing")
        elif change == "tokenizer":
            (folder / "vocab.json").unlink()
        elif change == "head":
            from transformers import Wav2Vec2Model

            Wav2Vec2Model.from_pretrained(model).save_pretrained(folder)
        with pytest.raises(ConfigError, match=said) as caught:
            find_aligner(f"hf:{folder}")
        assert "\n" not in str(caught.value)
