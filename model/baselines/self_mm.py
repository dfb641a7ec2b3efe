"""Self-MM: unimodal tasks whose labels the network makes for itself, epoch by epoch, from the multimodal ones.

Text is the [CLS] state of a BERT, which is trained as well; audio and vision are the last states of LSTMs. Four heads
predict; only M has labels. Those of T, A and V start as M's and move, after each batch from the second epoch on, by how
much nearer a clip's representation is to the clips labelled positive than to those labelled negative.

Source: Yu et al. 2021, Self-MM; MMSA 2.2.1, models/multiTask/SELF_MM.py, trains/multiTask/SELF_MM.py and
config_regression.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.bert import BertSettings, decayed
from fmltk.model.layers import Dropout
from fmltk.model.objective import Objective
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import amount, choice, count, positive, share
from fmltk.toolkit.conditions import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fmltk.model.bert import Bert, Tokens
    from fmltk.model.sequences import Padded

HEADS = ("M", *UNIMODAL)
SMALL = 1e-8


@dataclass(frozen=True)
class SelfMmSettings(BertSettings, PublishedSettings):
    """Self-MM's. lr and weight_decay are those of what belongs to neither the BERT nor the LSTMs.

    tlr, alr, vlr, twd, awd, vwd : learning rates and decays of the BERT, whose biases and layer norms have none, and of
        the networks of audio and vision
    ahid, vhid, aout, vout : units of the LSTMs, and what is made of their last states
    fdim, tdim, adim, vdim, fdrp, tdrp, adrp, vdrp : hidden units of the heads of M, T, A, V; dropout in front of them
    label_limit : the labels that the network makes are between this and its negative
    """

    accumulate: int = count(4)
    accumulate_rest: str = choice("drop", "step")
    tlr: float = positive(5e-5)
    alr: float = positive(0.005)
    vlr: float = positive(0.005)
    twd: float = amount(0.001)
    awd: float = amount(0.01)
    vwd: float = amount(0.01)
    ahid: int = count(16)
    vhid: int = count(64)
    aout: int = count(16)
    vout: int = count(32)
    fdim: int = count(128)
    tdim: int = count(64)
    adim: int = count(16)
    vdim: int = count(32)
    fdrp: float = share()
    tdrp: float = share(0.1)
    adrp: float = share(0.1)
    vdrp: float = share()
    label_limit: float = positive(1.0)


class SequenceNet(nn.Module):
    """An LSTM's last state -> linear."""

    def __init__(self, d_in: int, d_hidden: int, d_out: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_in, d_hidden, batch_first=True)
        self.output = nn.Linear(d_hidden, d_out)

    def forward(self, x: Padded) -> Tensor:
        """Return (B, d_out)."""
        packed = pack_padded_sequence(x.values, x.lengths.cpu(), batch_first=True, enforce_sorted=False)
        result: Tensor = self.output(self.lstm(packed)[1][0][0])
        return result


class Head(nn.Module):
    """Dropout -> hidden ReLU layer, whose activations are the representation -> another -> intensity."""

    def __init__(self, d_in: int, d_hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.first = nn.Linear(d_in, d_hidden)
        self.second = nn.Linear(d_hidden, d_hidden)
        self.output = nn.Linear(d_hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (intensity (B,), representation (B, d_hidden))."""
        representation = torch.relu(self.first(self.dropout(x)))
        return self.output(torch.relu(self.second(representation))).squeeze(-1), representation


class SelfMmNet(nn.Module):
    """Text, audio and vision -> a head each, and one on all three."""

    def __init__(self, dims: Mapping[str, int], settings: SelfMmSettings, bert: Bert) -> None:
        super().__init__()
        self.bert = bert
        self.audio = SequenceNet(dims["A_steps"], settings.ahid, settings.aout)
        self.vision = SequenceNet(dims["V_steps"], settings.vhid, settings.vout)
        widths = {"M": bert.d_out + settings.aout + settings.vout, "T": bert.d_out}
        widths |= {"A": settings.aout, "V": settings.vout}
        units = {"M": settings.fdim, "T": settings.tdim, "A": settings.adim, "V": settings.vdim}
        drops = {"M": settings.fdrp, "T": settings.tdrp, "A": settings.adrp, "V": settings.vdrp}
        self.heads = nn.ModuleDict({task: Head(widths[task], units[task], drops[task]) for task in HEADS})

    def forward(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: intensity (B,), "representation_" + task: (B, d)}, the representation of M (B, fdim))."""
        tokens: Tokens = inputs["T_ids"]
        first = (tokens.lengths.cumsum(0) - tokens.lengths).to(tokens.ids.device)  # where [CLS] is
        vectors = {"T": self.bert(tokens).index_select(0, first)}  # (B, d)
        vectors |= {"A": self.audio(inputs["A_steps"]), "V": self.vision(inputs["V_steps"])}
        vectors["M"] = torch.cat([vectors[m] for m in UNIMODAL], dim=1)
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            outputs[task], outputs[f"representation_{task}"] = head(vectors[task])
        return outputs, outputs["representation_M"]


def weight_groups(net: SelfMmNet, settings: SelfMmSettings) -> list[dict[str, Any]]:
    """Return Adam's five groups."""
    matrices, spared = decayed(net.bert)
    return [
        {"params": matrices, "lr": settings.tlr, "weight_decay": settings.twd},
        {"params": spared, "lr": settings.tlr, "weight_decay": 0.0},
        {"params": list(net.audio.parameters()), "lr": settings.alr, "weight_decay": settings.awd},
        {"params": list(net.vision.parameters()), "lr": settings.vlr, "weight_decay": settings.vwd},
        {"params": list(net.heads.parameters())},
    ]


class SelfMmObjective(Objective):
    """L1 losses; a unimodal one counts as much as its label has moved away from M's.

    Attributes
    ----------
    own : by head, float32 (n,), the labels that it learns; those of M are the data's
    representations : by head, float32 (n, d), of every training clip when it was last seen, 0 before
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.own = {task: self.labels["M"].clone() for task in HEADS}
        self.representations: dict[str, Tensor] = {}

    def loss(self, outputs: Mapping[str, Tensor], rows: NDArray[Any]) -> Tensor:
        """Return the loss of a batch."""
        index = self._index(rows)
        truths = {task: labels.index_select(0, index) for task, labels in self.own.items()}
        losses = [(outputs["M"] - truths["M"]).abs().mean()]
        for task in UNIMODAL:
            moved = torch.tanh((truths[task] - truths["M"]).abs())  # (B,), 0 in the first epoch
            losses.append((moved * (outputs[task] - truths[task]).abs()).mean())
        return torch.stack(losses).sum()

    def after_backward(self, outputs: Mapping[str, Tensor], rows: NDArray[Any]) -> None:
        """Move the labels of a batch, then note its representations."""
        index = self._index(rows)
        seen = {task: outputs[f"representation_{task}"].detach() for task in HEADS}
        if self.epoch > 1:
            self._move_labels(seen, index)
        for task, values in seen.items():
            if task not in self.representations:
                self.representations[task] = values.new_zeros(len(self.own[task]), values.shape[1])
            self.representations[task].index_copy_(0, index, values)

    def _move_labels(self, seen: Mapping[str, Tensor], index: Tensor) -> None:
        train = self._index(self.train)
        y = self.own["M"].index_select(0, index)
        of_fusion = self._nearness("M", seen["M"], train)
        for task in UNIMODAL:
            own = self._nearness(task, seen[task], train)
            ratio = own / (of_fusion + SMALL)
            new = 0.5 * ratio * y + 0.5 * (y + own - of_fusion)
            new = new.clamp(-self.config.label_limit, self.config.label_limit)
            old, n = self.own[task].index_select(0, index), self.epoch
            self.own[task].index_copy_(0, index, (n - 1) / (n + 1) * old + 2 / (n + 1) * new)

    def _nearness(self, task: str, values: Tensor, train: Tensor) -> Tensor:
        """Return how much nearer (B, d) are to the centre of positive than of negative clips, relatively, (B,)."""
        labels = self.own[task].index_select(0, train)
        known = self.representations[task].index_select(0, train)
        to_positive, to_negative = (
            (values - known[side].mean(dim=0)).norm(dim=-1) for side in (labels > 0, labels < 0)
        )
        nearness: Tensor = (to_negative - to_positive) / (to_positive + SMALL)
        return nearness

    def _index(self, rows: NDArray[Any]) -> Tensor:
        return torch.from_numpy(rows).to(self.labels["M"].device)

    def state(self) -> dict[str, Tensor]:
        """Return the labels and the representations."""
        labels = {f"own_{task}": values for task, values in self.own.items()}
        return labels | {f"representation_{task}": values for task, values in self.representations.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the labels and the representations of `state`."""
        device = self.labels["M"].device
        self.own = {task: state[f"own_{task}"].to(device, copy=True) for task in HEADS}
        self.representations = {
            task: state[f"representation_{task}"].to(device, copy=True)
            for task in HEADS
            if f"representation_{task}" in state
        }


SELF_MM = ModelSpec(
    "self-mm",
    (
        StageSpec(
            "M",
            ("T_ids", "A_steps", "V_steps"),
            ("M",),
            SelfMmNet,
            groups=weight_groups,
            objective=SelfMmObjective,
        ),
    ),
    SelfMmSettings,
    resources.files("fmltk.model") / "presets" / "self-mm",
)
