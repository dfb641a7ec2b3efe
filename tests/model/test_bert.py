"""The BERT inside a network against the transformers library, and how much of it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmltk.model.bert import Bert, BertSettings, BertShape, TextNetwork, Tokens, decayed
from fmltk.model.inputs import StageInputs
from fmltk.model.network import make_network, text_network_of
from fmltk.model.registry import StageSpec
from fmltk.model.settings import Settings
from fmltk.model.tensors import write_tensors
from fmltk.model.training import StageData, train_stage
from fmltk.toolkit.errors import ConfigError, TextModelError

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZES |= {"intermediate_size": 40, "max_position_embeddings": 40}
LENGTHS = [3, 7, 1, 5]
SHAPE = BertShape("bert", 50, 24, 3, 4, 40, "gelu", 0.1, 0.1, 40, 2, 1e-12, 0)


def by_transformers(kind: str, **more: Any) -> Any:
    """A model of the library with random weights that are not small."""
    from fmltk.toolkit.compat import guard_torchvision

    guard_torchvision()
    from transformers import AutoConfig, AutoModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(kind, **SIZES, **more)).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def some_tokens() -> tuple[Tokens, Tensor, Tensor]:
    """Return a batch, and the same as the library reads it: padded ids and mask."""
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    padded = torch.randint(3, 50, mask.shape, generator=torch.Generator().manual_seed(1)) * mask
    return Tokens(padded[mask], torch.tensor(LENGTHS)), padded, mask


@pytest.mark.parametrize(
    ("kind", "more"),
    [("bert", {}), ("bert", {"hidden_act": "relu"}), ("roberta", {"pad_token_id": 1}), ("xlm-roberta", {})],
)
def test_it_gives_the_librarys_states_and_gradients(kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    library = by_transformers(kind, **more)
    weights = {name: value for name, value in library.state_dict().items() if not name.startswith("pooler.")}
    write_tensors(tmp_path / "bert.safetensors", weights, {})
    network = TextNetwork(BertShape.of(library.config.to_dict()), tmp_path / "bert.safetensors")
    bert = network.make(BertSettings()).eval()
    tokens, padded, mask = some_tokens()
    padded = torch.where(mask, padded, library.config.pad_token_id)
    expected = library(input_ids=padded, attention_mask=mask.long()).last_hidden_state[mask]
    found = bert(tokens)
    assert expected.std() > 0.3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    expected.pow(3).sum().backward()
    found.pow(3).sum().backward()
    theirs = dict(library.named_parameters())
    for name, weight in bert.named_parameters():
        torch.testing.assert_close(weight.grad, theirs[name].grad, atol=1e-3, rtol=1e-4, msg=name)


class Average(nn.Module):
    """The mean of all states of a clip -> linear."""

    def __init__(self, dims: Any, _: Any, bert: Bert) -> None:
        super().__init__()
        self.bert = bert
        self.output = nn.Linear(bert.d_out, 1)

    def forward(self, inputs: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        tokens: Tokens = inputs["T_ids"]
        parts = torch.split(self.bert(tokens), tokens.lengths.tolist())
        h = torch.stack([part.mean(dim=0) for part in parts])
        return {"M": self.output(h).squeeze(-1)}, h


AVERAGE = StageSpec("M", ("T_ids",), ("M",), Average)


@dataclass(frozen=True)
class Own(BertSettings, Settings):
    """Settings of a model with a BERT in it."""


def settings(**own: Any) -> Own:
    return Own(bs=2, max_epochs=1, lr=0.01, **own)


@pytest.mark.parametrize(
    ("own", "trained"),
    [
        ({"bert": "all"}, {"embeddings", "0", "1", "2"}),
        ({"bert": "last", "bert_layers": 2}, {"1", "2"}),
        ({"bert": "last", "bert_layers": 9}, {"0", "1", "2"}),
        ({"bert": "frozen"}, set()),
    ],
)
def test_what_is_frozen_keeps_its_weights_and_takes_no_dropout(
    own: dict[str, Any], trained: set[str], tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = Bert(SHAPE).state_dict()
    write_tensors(tmp_path / "bert.safetensors", weights, {})
    network = TextNetwork(SHAPE, tmp_path / "bert.safetensors")
    ids = torch.randint(3, 50, (12, 1), dtype=torch.int32)
    inputs = StageInputs({}, ids, np.array([0, 3, 7, 9, 12]))
    labels = {"M": torch.tensor([5.0, -5.0, 5.0, -5.0])}
    data = StageData(inputs, labels, np.arange(4), np.arange(4), text_network=network)
    net = train_stage(AVERAGE, settings(**own), data, seed=0).net
    found = net.bert.state_dict()  # type: ignore[operator, union-attr]
    changed = {name for name, value in weights.items() if not torch.equal(found[name], value)}
    assert {"embeddings" if name.startswith("embeddings") else name.split(".")[2] for name in changed} == trained
    net.train()
    batch = inputs.batch(("T_ids",), np.arange(4))
    assert torch.equal(net(batch)[1], net(batch)[1]) == (not trained)


def test_decay_spares_biases_and_layer_norms_and_what_is_frozen() -> None:
    bert = Bert(SHAPE)
    matrices, spared = decayed(bert)
    assert {weight.ndim for weight in matrices} == {2}
    assert {weight.ndim for weight in spared} == {1}
    assert len(matrices) == 3 + 3 * 6
    assert len(matrices) + len(spared) == len(list(bert.parameters()))
    bert.freeze(BertSettings(bert="last", bert_layers=1))
    assert [len(part) for part in decayed(bert)] == [6, 6 + 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "distilbert"}, r"is of the type 'distilbert' .* train one of bert, roberta, xlm-roberta"),
        ({"hidden_act": "silu"}, r"with 'silu' units; .* choose another --text-model"),
        ({"num_hidden_layers": 10**9}, "has 1000000000 layers; expected 1 to 200"),
        ({"num_hidden_layers": 0}, "has 0 layers"),
    ],
)
def test_a_model_that_cannot_be_trained_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TextModelError, match=message) as refused:
        BertShape.of({**asdict(SHAPE), **change})
    assert "\n" not in str(refused.value)


def test_a_configuration_that_is_not_a_berts_is_named() -> None:
    values = asdict(SHAPE)
    del values["type_vocab_size"]
    with pytest.raises(TextModelError, match="has no 'type_vocab_size'; it is not a BERT's"):
        BertShape.of(values)


def test_a_stage_that_reads_tokens_needs_a_text_model() -> None:
    assert text_network_of({"T": {"length": 5}}) is None
    with pytest.raises(ConfigError, match="trains a text model, and none is given: name one with --text-model"):
        make_network(AVERAGE, {"T_ids": 1}, settings(), None)
    without = replace(AVERAGE, inputs=("A",), build=lambda *_: nn.Identity())
    assert isinstance(make_network(without, {"A": 1}, settings(), None), nn.Identity)
