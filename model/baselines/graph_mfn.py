"""Graph-MFN: the memory fusion network with a dynamic fusion graph (DFG) instead of the attention.

The graph has a node for each of the seven non-empty subsets of the three modalities: those of one modality are what its
LSTM's states of two steps give, those of more are made of all nodes of their proper subsets, each weighted by an
efficacy.

Source: Zadeh et al. 2018, Multimodal language analysis in the wild; MMSA 2.2.1, models/singleTask/Graph_MFN.py and
config_regression.json.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib import resources
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.mfn import GatedMemory, MemorySettings, Mlp, ThreeLstms, n_text_steps
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import choice, count
from fmltk.toolkit.conditions import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.lstm import Packed

D_MIDDLE = 100  # of the two linear layers of a node
INPUTS = ("T", "A_pooled", "V_pooled")


@dataclass(frozen=True)
class GraphMfnSettings(MemorySettings):
    """Graph-MFN's.

    node_dim : numbers per node of two modalities or more
    variant : "published": these nodes' weights keep their initial values, and audio and vision are pooled over steps
        far apart, as in the public code; "corrected": the weights are trained, and neighbours are pooled
    """

    node_dim: int = count(128)
    variant: str = choice("published", "corrected")


def subsets(key: str) -> list[str]:
    """Return the proper subsets of some modalities, small ones first.

    >>> subsets("TAV")
    ['T', 'A', 'V', 'TA', 'TV', 'AV']
    """
    return ["".join(one) for size in range(1, len(key)) for one in combinations(key, size)]


class FusionGraph(nn.Module):
    """Nodes of T, A and V -> those of TA, TV, AV and TAV -> what all seven say together."""

    def __init__(self, units: Mapping[str, int], d_node: int) -> None:
        super().__init__()
        whole = "".join(UNIMODAL)
        d = {**units, **dict.fromkeys([*subsets(whole)[3:], whole], d_node)}
        self.sources = {key: subsets(key) for key in (*subsets(whole)[3:], whole)}
        d_in = {key: sum(d[one] for one in parts) for key, parts in self.sources.items()}
        second = nn.Linear(D_MIDDLE, d_node)  # every node starts with the same
        self.nodes = nn.ModuleDict({key: _two_layers(n, second) for key, n in d_in.items()})
        self.sources["top"] = [*subsets(whole), whole]
        self.top = _two_layers(sum(d.values()), second)
        n_edges = sum(len(parts) for parts in self.sources.values())  # 2 + 2 + 2 + 6 + 7
        edges = _two_layers(sum(units.values()), nn.Linear(D_MIDDLE, d_node))
        self.efficacies = nn.Sequential(*edges, nn.Linear(d_node, n_edges))

    def forward(self, nodes: Mapping[str, Tensor]) -> Tensor:
        """Return the top node, (..., d_node), of the three single ones, (..., d_m)."""
        values = dict(nodes)
        efficacies = self.efficacies(torch.cat([nodes[m] for m in UNIMODAL], dim=-1))  # (..., 19)
        start = 0
        for key, parts in self.sources.items():
            weighted = [values[one] * efficacies[..., start + k, None] for k, one in enumerate(parts)]
            start += len(parts)
            net = self.top if key == "top" else self.nodes[key]
            values[key] = net(torch.cat(weighted, dim=-1))
        return values["top"]


def _two_layers(d_in: int, second: nn.Linear) -> nn.Sequential:
    return nn.Sequential(nn.Linear(d_in, D_MIDDLE), copy.deepcopy(second))  # no activation, as published


class GraphMfnNet(nn.Module):
    """Three LSTMs -> the graph over the states of each two steps -> memory; last states and memory -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: GraphMfnSettings) -> None:
        super().__init__()
        units = {"T": settings.thid, "A": settings.ahid, "V": settings.vhid}
        d = sum(units.values())
        self.lstms = ThreeLstms(dict(zip(UNIMODAL, (dims[name] for name in INPUTS), strict=True)), units)
        self.singles = nn.ModuleDict({m: nn.Linear(2 * units[m], units[m]) for m in UNIMODAL})
        self.graph = FusionGraph(units, settings.node_dim)
        self.memory = GatedMemory(settings.node_dim, settings)
        self.output = Mlp(d + settings.memory, settings.fdim, 1, settings.fdrp)

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, last states and memory (B, d))."""
        steps = {m: inputs[name] for m, name in zip(UNIMODAL, INPUTS, strict=True)}
        h, _ = self.lstms(steps, n_text_steps(inputs["T"]))  # (1 + L, B, D)
        states = zip(UNIMODAL, torch.split(h, self.lstms.units, dim=2), strict=True)
        nodes = {m: torch.relu(self.singles[m](torch.cat([one[:-1], one[1:]], dim=2))) for m, one in states}
        last = torch.cat([h[-1], self.memory(self.graph(nodes))], dim=1)  # (B, D + memory)
        return {"M": self.output(last).squeeze(-1)}, last


def weight_groups(net: GraphMfnNet, settings: GraphMfnSettings) -> list[dict[str, Any]]:
    """Return one group: all weights, or those that the public code trains, which are not the nodes'."""
    nodes = "graph.nodes." if settings.variant == "published" else "no such name"
    return [{"params": [weight for name, weight in net.named_parameters() if not name.startswith(nodes)]}]


GRAPH_MFN = ModelSpec(
    "graph-mfn",
    (StageSpec("M", INPUTS, ("M",), GraphMfnNet, groups=weight_groups),),
    GraphMfnSettings,
    resources.files("fmltk.model") / "presets" / "graph-mfn",
)
