"""A published BERT without transformers: the same bits and tokens; an unusual folder is left to transformers."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.toolkit.hf_folder import SAFE
from fmltk.toolkit.text.bert import TextEncoder, _OfTransformers
from fmltk.toolkit.text.folder import find_text_model
from fmltk.toolkit.text.plain_bert import PlainBert, load_plain_bert
from tests.toolkit.text.conftest import make_bert_folder

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [
    *("i", "love", "this", "film", "not", "reallyly", "words", "good", "Übung", "naïve", "我很喜欢", "电影", "xyz"),
    *("😀", ".", "don't", "[MASK]", "[SEP]é", "a-b", "\t", ""),
]


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with both files of its tokenizer, as the hub's have them."""
    folder = make_bert_folder(tmp_path_factory.mktemp("plain") / "bert", dimension=24, max_positions=40)
    return with_tokenizer(folder, lower=True)


def with_tokenizer(folder: Path, *, lower: bool) -> Path:
    from transformers import AutoTokenizer

    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"do_lower_case": lower}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    AutoTokenizer.from_pretrained(folder, **SAFE).save_pretrained(folder)
    return folder


def texts(n: int) -> list[str]:
    draw = random.Random(n)
    return [" ".join(draw.choice(WORDS) for _ in range(size)) for size in range(2, n)]


@pytest.mark.parametrize("kind", ["minilm", "lower", "cased", "masked-lm", "old-names", "float16"])
def test_tokens_and_bits_are_those_of_transformers(kind: str, plain_folder: Path, tmp_path: Path) -> None:
    folder = find_text_model("minilm").folder if kind == "minilm" else shutil.copytree(plain_folder, tmp_path / "m")
    if kind == "cased":
        with_tokenizer(folder, lower=False)
    if kind in ("masked-lm", "old-names", "float16"):
        rewrite_weights(folder, kind)
    own, reference = TextEncoder(str(folder)), TextEncoder(str(folder))
    assert isinstance(own._model, PlainBert)
    reference._model = _OfTransformers(reference._source, "cpu", None)
    reference.dimension, reference.max_tokens = reference._model.dimension, min(512, reference._model.max_tokens)
    assert (own.dimension, own.max_tokens) == (reference.dimension, reference.max_tokens)
    assert own.identity == reference.identity
    for text in texts(60):
        mine, theirs = own.encode(text), reference.encode(text)
        assert mine.features.tobytes() == theirs.features.tobytes(), text
        assert (mine.ids.tolist(), mine.tokens, mine.n_truncated) == (
            theirs.ids.tolist(),
            theirs.tokens,
            theirs.n_truncated,
        )
        assert mine.spans is not None
        assert theirs.spans is not None
        assert mine.spans.tolist() == theirs.spans.tolist()
        assert mine.unknown_share == theirs.unknown_share


def rewrite_weights(folder: Path, kind: str) -> None:
    """Write the weights as a checkpoint of another time or training has them."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = {f"bert.{name}": value for name, value in load_file(path).items()}
    weights["cls.predictions.bias"] = torch.zeros(3)
    if kind == "old-names":
        renamed = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
        weights = {name.replace(*renamed[0]).replace(*renamed[1]): value for name, value in weights.items()}
    if kind == "float16":
        weights = {name: value.half() for name, value in weights.items()}
    save_file(weights, path, metadata={"format": "pt"})


UNUSUAL: dict[str, tuple[str, dict[str, Any]]] = {
    "another activation": ("config.json", {"hidden_act": "gelu_new"}),
    "another family": ("config.json", {"model_type": "roberta"}),
    "a key that is not known": ("config.json", {"quantization_config": {"bits": 4}}),
    "fewer layers than weights": ("config.json", {"num_hidden_layers": 1}),
    "more layers than weights": ("config.json", {"num_hidden_layers": 3}),
    "another width": ("config.json", {"intermediate_size": 95}),
    "two opinions of case": ("tokenizer_config.json", {"do_lower_case": False}),
    "two opinions of accents": ("tokenizer_config.json", {"strip_accents": True}),
    "another tokenizer": ("tokenizer_config.json", {"tokenizer_class": "BertJapaneseTokenizer"}),
    "special tokens of its own": ("tokenizer_config.json", {"unk_token": "<unk>"}),
    "another normalizer": ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}),
    "another cut into words": ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}),
    "no frame": ("tokenizer.json", {"post_processor": None}),
    "a token of its own": ("tokenizer.json", {"added_tokens": []}),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_folder_is_left_to_transformers(name: str, plain_folder: Path, tmp_path: Path) -> None:
    file, change = UNUSUAL[name]
    folder = shutil.copytree(plain_folder, tmp_path / "m")
    assert load_plain_bert(folder, "cpu") is not None
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert load_plain_bert(folder, "cpu") is None


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["absent", "empty", "cut"])
def test_a_folder_that_is_not_whole_is_left_to_transformers(
    file: str, damage: str, plain_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(plain_folder, tmp_path / "m")
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if damage != "absent":
        (folder / file).write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    assert load_plain_bert(folder, "cpu") is None


def test_a_published_bert_does_not_import_transformers() -> None:
    program = (
        "import sys; from fmltk.toolkit.text.bert import TextEncoder; TextEncoder('minilm').encode('a film'); "
        "print('transformers' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
