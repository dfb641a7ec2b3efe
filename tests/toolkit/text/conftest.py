"""A small BERT made by the tests: random weights, a real vocabulary file, the layout of the hub's models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ["i", "love", "this", "film", "not", "really", "##ly", "##s", "good", "bad", ".", ",", "!", "word"]
CHARACTERS = list("我很喜欢这部电影不好看太了的是你他她们")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *CHARACTERS]


def make_bert_folder(folder: Path, *, dimension: int = 768, safe: bool = True, max_positions: int = 512) -> Path:
    """Save a two-layer BertModel with its vocabulary, as a user's own model folder would hold it."""
    from fmltk.toolkit.compat import guard_torchvision

    guard_torchvision()
    import torch
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=dimension,
        num_hidden_layers=2,
        num_attention_heads=12,
        intermediate_size=96,
        max_position_embeddings=max_positions,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config)
    if safe:
        model.save_pretrained(folder)
    else:
        config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": max_positions}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 768-dimensional BERT that knows some Chinese characters; tests only read it."""
    return make_bert_folder(tmp_path_factory.mktemp("models") / "tiny-bert")
