"""MISA: what the modalities share and what each has for itself, fused by a small transformer.

Text is the mean of a BERT's last hidden states, which is trained as well; audio and vision go through two bidirectional
LSTMs each. Every modality is projected to one size and encoded twice, by its own encoder and by one that all share. The
loss keeps the two codes apart, the shared ones alike, and asks that both together give the projection back.

The public code packs audio and vision by the text's lengths, aligned or not, so that of 400 audio steps at most as many
as the text has tokens are read; the corrected variant takes their own. Two of its layers (516 and, with a text of 768
features, 3,072 weights) are used nowhere and left out here.

Source: Hazarika et al. 2020, MISA; MMSA 2.2.1, models/singleTask/MISA.py, trains/singleTask/MISA.py and
config_regression.json.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.bert import BertSettings
from fmltk.model.layers import Dropout
from fmltk.model.objective import Objective
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import amount, choice, count, share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fmltk.model.bert import Bert, Tokens
    from fmltk.model.sequences import Padded

ORDER = ("T", "V", "A")  # in which MMSA fuses
N_MOMENTS = 5  # of the central moment discrepancy
SMALL = 1e-6
HEADS, FEED_FORWARD, FUSION_DROPOUT = 2, 2048, 0.1  # of the transformer, in every preset


@dataclass(frozen=True)
class MisaSettings(BertSettings, PublishedSettings):
    """MISA's.

    hid, drp : width of the projections and codes; dropout in the predictor
    diff_weight, sim_weight, recon_weight : in the loss, of keeping codes apart, of likeness, and of reconstruction
    variant : "published" reads as many steps of audio and vision as the text has tokens; "corrected" all of them
    """

    accumulate: int = count(2)
    accumulate_rest: str = choice("drop", "step")
    hid: int = count(128)
    drp: float = share()
    diff_weight: float = amount(0.3)
    sim_weight: float = amount(1.0)
    recon_weight: float = amount(0.8)
    variant: str = choice("published", "corrected")


class TwoLstms(nn.Module):
    """Two bidirectional LSTMs with a layer norm between; returns the last states of both."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.first = nn.LSTM(d, d, bidirectional=True)
        self.norm = nn.LayerNorm(2 * d)
        self.second = nn.LSTM(2 * d, d, bidirectional=True)

    def forward(self, x: Padded, lengths: Tensor) -> Tensor:
        """Return (B, 4 d) of the first `lengths` steps (B,) of each sequence; zeros where it has fewer."""
        missing = max(int(lengths.max()) - x.values.shape[1], 0)
        values = nn.functional.pad(x.values, (0, 0, 0, missing))
        packed = pack_padded_sequence(values, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, (first, _) = self.first(packed)  # first: (2, B, d)
        normed = PackedSequence(self.norm(states.data), *states[1:])
        _, (second, _) = self.second(normed)
        last = torch.cat([first, second], dim=2)  # (2, B, 2 d)
        return last.transpose(0, 1).flatten(1)


class MisaNet(nn.Module):
    """Utterance vectors -> projections -> private and shared codes -> transformer over the six -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: MisaSettings, bert: Bert) -> None:
        super().__init__()
        h = settings.hid
        widths = {"T": bert.d_out, "V": 4 * dims["V_steps"], "A": 4 * dims["A_steps"]}
        self.own_lengths = settings.variant == "corrected"
        self.bert = bert
        self.lstms = nn.ModuleDict({m: TwoLstms(dims[f"{m}_steps"]) for m in ORDER[1:]})
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(widths[m], h), nn.ReLU(), nn.LayerNorm(h)) for m in ORDER}
        )
        self.private = nn.ModuleDict({m: nn.Linear(h, h) for m in ORDER})
        self.shared = nn.Linear(h, h)
        self.reconstruct = nn.ModuleDict({m: nn.Linear(h, h) for m in ORDER})
        self.transformer = nn.TransformerEncoderLayer(h, HEADS, FEED_FORWARD, FUSION_DROPOUT)
        self.fusion = nn.Linear(6 * h, 3 * h)
        self.dropout = Dropout(settings.drp)
        self.output = nn.Linear(3 * h, 1)

    def forward(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,), the projections, codes and reconstructions (3, B, h)}, hidden (B, 3 h))."""
        tokens: Tokens = inputs["T_ids"]
        vectors = {"T": _means(self.bert(tokens), tokens.lengths)}
        for m, lstms in self.lstms.items():
            x: Padded = inputs[f"{m}_steps"]
            vectors[m] = lstms(x, x.lengths if self.own_lengths else tokens.lengths)
        projected = torch.stack([self.project[m](vectors[m]) for m in ORDER])  # (3, B, h)
        private = torch.sigmoid(torch.stack([self.private[m](p) for m, p in zip(ORDER, projected, strict=True)]))
        shared = torch.sigmoid(self.shared(projected))  # (3, B, h)
        both = private + shared
        reconstructed = torch.stack([self.reconstruct[m](code) for m, code in zip(ORDER, both, strict=True)])
        fused = self.transformer(torch.cat([private, shared]))  # (6, B, h)
        hidden = torch.relu(self.dropout(self.fusion(fused.transpose(0, 1).flatten(1))))  # (B, 3 h)
        codes = {"projected": projected, "private": private, "shared": shared, "reconstructed": reconstructed}
        return {"M": self.output(hidden).squeeze(-1), **codes}, hidden


def _means(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean over each clip's tokens, (B, d), of states (n_tokens, d)."""
    clips = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(states.device)
    sums = states.new_zeros(len(lengths), states.shape[1]).index_add(0, clips, states)
    return sums / lengths[:, None].to(states.device)


class MisaObjective(Objective):
    """The squared error of M, and the three losses of the codes."""

    def loss(self, outputs: Mapping[str, Tensor], rows: NDArray[Any]) -> Tensor:
        """Return the loss of a batch."""
        private, shared = outputs["private"], outputs["shared"]
        pairs = [*zip(private, shared, strict=True), *itertools.combinations(private, 2)]
        apart = torch.stack([difference(a, b) for a, b in pairs]).sum()
        alike = torch.stack([moment_discrepancy(a, b) for a, b in itertools.combinations(shared, 2)]).mean()
        error = (outputs["reconstructed"] - outputs["projected"]).pow(2).mean()
        task = self.valid_loss(outputs, self.truths(rows))
        config: MisaSettings = self.config
        return task + config.diff_weight * apart + config.sim_weight * alike + config.recon_weight * error

    def valid_loss(self, predictions: Mapping[str, Tensor], truths: Mapping[str, Tensor]) -> Tensor:
        """Return the mean squared error of M."""
        return (predictions["M"] - truths["M"]).pow(2).mean()


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Return how far two codes (B, h) are from being orthogonal, a scalar: the squared products of their features.

    The codes are centred over the batch, and each clip's is divided by its norm, through which no gradient goes.
    """
    left, right = (_unit_rows(code - code.mean(dim=0)) for code in (a, b))
    return (left.t() @ right).pow(2).mean()


def _unit_rows(code: Tensor) -> Tensor:
    rows: Tensor = code / (code.norm(dim=1, keepdim=True).detach() + SMALL)
    return rows


def moment_discrepancy(a: Tensor, b: Tensor) -> Tensor:
    """Return the central moment discrepancy of two codes (B, h), a scalar: distances of their first five moments."""
    distance = (a.mean(dim=0) - b.mean(dim=0)).norm()
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    higher = [(a.pow(k).mean(dim=0) - b.pow(k).mean(dim=0)).norm() for k in range(2, N_MOMENTS + 1)]
    total: Tensor = distance + torch.stack(higher).sum()
    return total


MISA = ModelSpec(
    "misa",
    (StageSpec("M", ("T_ids", "A_steps", "V_steps"), ("M",), MisaNet, smallest_batch=2, objective=MisaObjective),),
    MisaSettings,
    resources.files("fmltk.model") / "presets" / "misa",
)
