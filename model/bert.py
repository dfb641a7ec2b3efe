"""A BERT inside a network, so that it is trained with it: token ids to the last hidden state of every token.

The names of its weights are those of the transformers library, whose files it is filled from. Only tokens are computed,
no padding, but for the attention itself.

Source: Devlin et al. 2019, BERT; Liu et al. 2019, RoBERTa, whose positions are counted from its padding's number on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from fmltk.model.layers import Dropout
from fmltk.model.settings import choice, count
from fmltk.model.tensors import read_tensors
from fmltk.toolkit.errors import TextModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAX_LAYERS = 200  # far beyond any BERT: a damaged checkpoint cannot ask for more
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "gelu_new": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "relu": torch.relu,
}
FAMILIES = {"bert": False, "roberta": True, "xlm-roberta": True}  # whether positions are counted from the padding's
WITHOUT_DECAY = ("bias", "LayerNorm")


@dataclass(frozen=True)
class BertSettings:
    """Settings of a model with a BERT in it, next to those that all models have. It reads no padding.

    bert : how much of it learns: "all" is the published way; what is frozen takes no dropout and no backward pass
    bert_layers : how many of its layers "last" trains
    """

    frames: str = choice("valid")
    text_steps: str = choice("valid")
    missing: str = choice("drop")  # token numbers have no mean
    bert: str = choice("all", "last", "frozen")
    bert_layers: int = count(2)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a batch of clips, one clip after the other.

    ids : int64 (n_tokens,), numbers in the model's vocabulary, of [CLS] first and of [SEP] last
    lengths : int64 (B,), tokens per clip, 1 or more; on the CPU
    """

    ids: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, numbers: Tensor, offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> Self:
        """Return some clips' tokens, of numbers (n_tokens, 1), of which clip k has offsets[k] to offsets[k + 1]."""
        index = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])
        ids = numbers.index_select(0, torch.from_numpy(index).to(numbers.device)).squeeze(1).long()
        return cls(ids, torch.from_numpy(np.diff(offsets)[rows]))

    def places(self) -> Tensor:
        """Return where each token is among B * L places, L of the longest clip, int64 (n_tokens,)."""
        has = torch.arange(int(self.lengths.max())) < self.lengths[:, None]  # (B, L)
        return has.flatten().nonzero().squeeze(1).to(self.ids.device)


@dataclass(frozen=True, slots=True)
class BertShape:
    """The parts of a model's config.json that determine the network; the names are that file's."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    pad_token_id: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Return the shape of a configuration. Raises TextModelError if it is not of a BERT or a RoBERTa."""
        try:
            values = {name: config[name] for name in cls.__slots__}
        except KeyError as error:
            raise TextModelError(f"the text model's configuration has no {error}; it is not a BERT's") from error
        shape = cls(**values)
        if shape.model_type not in FAMILIES or shape.hidden_act not in ACTIVATIONS:
            raise TextModelError(
                f"the text model is of the type {shape.model_type!r} with {shape.hidden_act!r} units; a network can "
                f"train one of {', '.join(FAMILIES)} with {', '.join(ACTIVATIONS)}: choose another --text-model"
            )
        if not 0 < shape.num_hidden_layers <= MAX_LAYERS:
            raise TextModelError(f"the text model has {shape.num_hidden_layers} layers; expected 1 to {MAX_LAYERS}")
        return shape


class Bert(nn.Module):
    """Embeddings -> layers of attention and feed-forward -> the last hidden state of every token."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        d = shape.hidden_size
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(shape.vocab_size, d),
                "position_embeddings": nn.Embedding(shape.max_position_embeddings, d),
                "token_type_embeddings": nn.Embedding(shape.type_vocab_size, d),
                "LayerNorm": nn.LayerNorm(d, eps=shape.layer_norm_eps),
            }
        )
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(_Layer(shape) for _ in range(shape.num_hidden_layers))})
        self.dropout = Dropout(shape.hidden_dropout_prob)
        self.first_position = shape.pad_token_id + 1 if FAMILIES[shape.model_type] else 0
        self.d_out = d
        self.frozen: list[nn.Module] = []

    @property
    def layers(self) -> list[nn.Module]:
        """Its layers, from the embeddings up."""
        layers: Any = self.encoder["layer"]
        return list(layers)

    def freeze(self, settings: BertSettings) -> None:
        """Train what the settings say: all, the last layers, or nothing."""
        if settings.bert == "all":
            return
        n = 0 if settings.bert == "frozen" else min(settings.bert_layers, len(self.layers))
        self.frozen = [self.embeddings, self.dropout, *self.layers[: len(self.layers) - n]]
        for module in self.frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what is trained; what is frozen stays in eval mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def forward(self, tokens: Tokens) -> Tensor:
        """Return the last hidden states, (n_tokens, d)."""
        lengths = tokens.lengths.tolist()
        positions = torch.cat([torch.arange(n) for n in lengths]).to(tokens.ids.device) + self.first_position
        parts: Any = self.embeddings
        x: Tensor = parts["word_embeddings"](tokens.ids) + parts["token_type_embeddings"].weight[0]
        x = self.dropout(parts["LayerNorm"](x + parts["position_embeddings"](positions)))  # (n_tokens, d)
        places, n_clips, longest = tokens.places(), len(lengths), max(lengths)
        mask = torch.arange(longest) < tokens.lengths[:, None]  # (B, L), which tokens there are to look at
        blocked = torch.zeros(mask.shape).masked_fill_(~mask, -math.inf)[:, None, None].to(x.device)  # (B, 1, 1, L)
        for layer in self.layers:
            x = layer(x, places, blocked.expand(n_clips, 1, longest, longest))
        return x


class _Layer(nn.Module):
    """Attention and a feed-forward layer, each added to its input and normalised."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        d = shape.hidden_size
        norm = {"LayerNorm": nn.LayerNorm(d, eps=shape.layer_norm_eps)}
        projections = nn.ModuleDict({name: nn.Linear(d, d) for name in ("query", "key", "value")})
        attended = nn.ModuleDict({"dense": nn.Linear(d, d), **norm})
        self.attention = nn.ModuleDict({"self": projections, "output": attended})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(d, shape.intermediate_size)})
        norm = {"LayerNorm": nn.LayerNorm(d, eps=shape.layer_norm_eps)}
        self.output = nn.ModuleDict({"dense": nn.Linear(shape.intermediate_size, d), **norm})
        self.dropout = Dropout(shape.hidden_dropout_prob)
        self.attention_dropout = Dropout(shape.attention_probs_dropout_prob)
        self.activation = ACTIVATIONS[shape.hidden_act]
        self.n_heads = shape.num_attention_heads

    def forward(self, x: Tensor, places: Tensor, blocked: Tensor) -> Tensor:
        """Return (n_tokens, d) of tokens (n_tokens, d), each at one of B * L places; blocked : (B, 1, L, L)."""
        parts: Any = self.attention
        b, longest = blocked.shape[0], blocked.shape[2]

        def heads(projection: nn.Module) -> Tensor:
            padded = x.new_zeros(b * longest, x.shape[1]).index_copy(0, places, projection(x))
            return padded.view(b, longest, self.n_heads, -1).transpose(1, 2)  # (B, heads, L, d / heads)

        query, key, value = (heads(parts["self"][name]) for name in ("query", "key", "value"))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3]) + blocked  # (B, heads, L, L)
        attended = self.attention_dropout(torch.softmax(scores, dim=3)) @ value
        flat = attended.transpose(1, 2).reshape(b * longest, -1).index_select(0, places)  # (n_tokens, d)
        x = _added(parts["output"], flat, x, self.dropout)
        hidden: Any = self.intermediate["dense"]
        return _added(self.output, self.activation(hidden(x)), x, self.dropout)


def _added(parts: Any, new: Tensor, old: Tensor, dropout: Dropout) -> Tensor:
    """Return the normalised sum of what a sub-layer gives and its input."""
    result: Tensor = parts["LayerNorm"](dropout(parts["dense"](new)) + old)
    return result


@dataclass(frozen=True)
class TextNetwork:
    """A BERT as a run starts from it: its shape, and the safetensors file of its weights; None for sizes alone."""

    shape: BertShape
    weights: Path | None = None

    def make(self, settings: BertSettings) -> Bert:
        """Return the BERT, frozen as the settings say; without weights, what the default device makes."""
        if self.weights is None:
            bert = Bert(self.shape)
        else:
            with torch.device("meta"):  # nothing is drawn that the weights then replace
                bert = Bert(self.shape)
            bert.load_state_dict(read_tensors(self.weights)[0], assign=True)
        bert.freeze(settings)
        return bert


def decayed(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return what weight decay acts on, and what it spares: biases and layer norms. Frozen weights are in neither."""
    named = [(name, weight) for name, weight in net.named_parameters() if weight.requires_grad]
    spared = [weight for name, weight in named if any(part in name for part in WITHOUT_DECAY)]
    return [weight for name, weight in named if not any(part in name for part in WITHOUT_DECAY)], spared
