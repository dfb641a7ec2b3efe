"""The shared parts of MMSA's feature-level systems: settings, the three unimodal networks, groups of weights.

LF-DNN, TFN, LMF and their multi-task kin differ in how the three representations are fused: see `lf_dnn`, `tfn`, `lmf`.
They read the means over all L steps, the padding included, and a text LSTM that runs over the padding; nothing is
standardised but by the batch normalisation in front of audio and vision.

Source: MMSA 2.2.1 (https://github.com/thuiar/MMSA, MIT), its modules, trainers and config_regression.json; Yu et al.
2020, CH-SIMS, for the multi-task systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from fmltk.model.layers import Predictor
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import Settings, amount, choice, count, share
from fmltk.model.unimodal import FrameNet, TextNet
from fmltk.toolkit.conditions import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fmltk.model.lstm import Packed

ORDER = ("A", "V", "T")  # in which MMSA fuses


@dataclass(frozen=True)
class PublishedSettings(Settings):
    """Inputs and stop of all systems of MMSA; lr, bs, weight_decay and the tasks' weights are by preset."""

    patience: int = count(8)
    decay: str = choice("coupled", "decoupled")
    frames: str = choice("padded", "valid")
    text_steps: str = choice("padded", "valid")
    standardise: bool = False


@dataclass(frozen=True)
class FeatureSettings(PublishedSettings):
    """The unimodal networks of a feature-level system.

    thid, ahid, vhid : hidden units of the text LSTM, and of the audio and vision layers
    tdrp, adrp, vdrp : dropout on the text LSTM's last state (dead in the public code: see `variant`), and on the
        normalised audio and vision
    variant : "published" keeps the defects of the public code that change the network or what is trained of it;
        "corrected" has what the code says it does
    """

    thid: int = count(128)
    ahid: int = count(32)
    vhid: int = count(128)
    tdrp: float = share()
    adrp: float = share()
    vdrp: float = share()
    variant: str = choice("published", "corrected")


@dataclass(frozen=True)
class HeadSettings(Settings):
    """The three unimodal predictors of a multi-task system, and the decays of its unimodal networks.

    tdim, adim, vdim : hidden units; hdrp : dropout in front of each
    twd, awd, vwd : coupled weight decay of the text, audio and vision networks; `weight_decay` is the others'
    """

    tdim: int = count(64)
    adim: int = count(4)
    vdim: int = count(32)
    hdrp: float = share()
    twd: float = amount()
    awd: float = amount()
    vwd: float = amount()


class NormedFrameNet(FrameNet):
    """Mean features -> batch normalisation -> dropout -> three ReLU layers, (B, d_hidden)."""

    def __init__(self, d_in: int, d_hidden: int, dropout: float) -> None:
        super().__init__(d_in, d_hidden, dropout)
        self.norm = nn.BatchNorm1d(d_in)

    def forward(self, x: Tensor) -> Tensor:
        """Return the representation, (B, d_hidden), of mean features (B, d_in)."""
        return super().forward(self.norm(x))


class FeatureLevelNet(nn.Module):
    """Three unimodal networks -> `fusion` -> y_M; with `heads`, y_T, y_A and y_V from each network as well.

    fusion : {modality: representation (B, d)} -> (intensity (B,), what it came from (B, d)), with a method
        `weight_groups`
    """

    def __init__(self, nets: Mapping[str, nn.Module], heads: Mapping[str, nn.Module], fusion: nn.Module) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(nets)
        self.heads = nn.ModuleDict(heads)
        self.fusion = fusion

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: intensity (B,)}, the fusion's last representation (B, d))."""
        representations = {m: self.nets[m](inputs[m]) for m in ORDER if m in self.nets}  # (B, d_m)
        predictions = {m: head(representations[m])[0] for m, head in self.heads.items()}
        y, hidden = self.fusion(representations)
        return {**predictions, "M": y}, hidden


def build_net(
    dims: Mapping[str, int],
    settings: FeatureSettings,
    d_text: int,
    fuse: Callable[[Mapping[str, int]], nn.Module],
) -> FeatureLevelNet:
    """Return a system's network, with heads where its settings have any.

    d_text : numbers per clip of the text network; fuse : {modality: width of its representation} -> the fusion
    """
    nets = unimodal_nets(dims, settings, d_text)
    heads = unimodal_heads(nets, settings) if isinstance(settings, HeadSettings) else {}
    return FeatureLevelNet(nets, heads, fuse({m: nets[m].d_out for m in ORDER if m in nets}))


def unimodal_nets(dims: Mapping[str, int], settings: FeatureSettings, d_text: int) -> dict[str, TextNet | FrameNet]:
    """Return the networks of those of T, A and V that there are; the text's gives d_text numbers per clip.

    The public code sets the text's dropout to 0, for its LSTM has one layer.
    """
    dropout = settings.tdrp if settings.variant == "corrected" else 0.0
    nets: dict[str, TextNet | FrameNet] = {}
    if "T" in dims:
        nets["T"] = TextNet(dims["T"], settings.thid, d_text, dropout)
    for modality, units, dropout_share in (("A", settings.ahid, settings.adrp), ("V", settings.vhid, settings.vdrp)):
        if modality in dims:
            nets[modality] = NormedFrameNet(dims[modality], units, dropout_share)
    return nets


def unimodal_heads(nets: Mapping[str, TextNet | FrameNet], settings: HeadSettings) -> dict[str, Predictor]:
    """Return the predictors of T, A and V from the outputs of their networks."""
    units = {"T": settings.tdim, "A": settings.adim, "V": settings.vdim}
    return {m: Predictor(nets[m].d_out, units[m], settings.hdrp) for m in UNIMODAL if m in nets}


def weight_groups(net: FeatureLevelNet, settings: Any) -> list[dict[str, Any]]:
    """Return Adam's groups: the unimodal networks with decays of their own, the heads, and what the fusion says."""
    groups: list[dict[str, Any]] = [{"params": list(net.heads.parameters())}] if len(net.heads) else []
    decays = {"T": settings.twd, "A": settings.awd, "V": settings.vwd} if isinstance(settings, HeadSettings) else {}
    for modality, one in net.nets.items():
        group = {"params": list(one.parameters())}
        groups.append({**group, "weight_decay": decays[modality]} if decays else group)
    return [*groups, *net.fusion.weight_groups(settings)]  # type: ignore[operator]


def feature_level_model(
    name: str,
    build: Callable[[Mapping[str, int], Any], nn.Module],
    settings: type[Settings],
    *,
    multitask: bool,
    needs_all: bool = True,
) -> ModelSpec:
    """Return the model of one stage that `build` makes, with its presets' folder."""
    tasks = (*UNIMODAL, "M") if multitask else ("M",)
    stage = StageSpec("M", UNIMODAL, tasks, build, weight_groups, smallest_batch=2, needs_all=needs_all)
    return ModelSpec(name, (stage,), settings, resources.files("fmltk.model") / "presets" / name)
