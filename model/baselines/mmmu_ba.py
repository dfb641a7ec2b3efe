"""MMMU-BA: GRUs over the utterances of a video, and attention between the utterances of each two modalities.

Source: Ghosal et al. 2018, Contextual inter-modal attention for multi-modal sentiment analysis; its public script for
Keras, of which several copies exist. That script takes the best epoch by the accuracy on the test split and prints the
best of five runs next to their mean, which fmltk does not do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.context import ContextSettings, Head, Polarity, clip_vectors, padded_videos
from fmltk.model.baselines.recurrent import VideoGru, dense
from fmltk.model.layers import Dropout
from fmltk.model.registry import VIDEOS, ModelSpec, StageSpec
from fmltk.model.settings import choice, count, share

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIRS = (("V", "T"), ("A", "V"), ("T", "A"))
ORDER = ("V", "A", "T")  # in which the dense layers' outputs are joined


@dataclass(frozen=True)
class MmmuBaSettings(ContextSettings):
    """MMMU-BA's.

    rdrp : dropout on the states that the recurrent layers read
    n_clips : of the published variant, to which each video is padded
    variant : "published": attention goes to the padding behind a video as well, as in the public code; "corrected": to
        the video's own clips
    """

    bs: int = count(32)
    patience: int = count(10)
    max_epochs: int = count(15)
    drp: float = share(0.7)
    hdrp: float = share(0.7)
    xdrp: float = share(0.5)
    rdrp: float = share(0.5)
    n_clips: int = count(63)
    variant: str = choice("published", "corrected")


class ModalityNet(nn.Module):
    """Vectors of a video's clips -> GRU both ways -> dropout -> dense tanh layer -> dropout, (V, L, hid)."""

    def __init__(self, d_in: int, settings: MmmuBaSettings) -> None:
        super().__init__()
        self.gru = VideoGru(d_in, settings.units, dropout=settings.xdrp, recurrent_dropout=settings.rdrp)
        self.dropout = Dropout(settings.drp)
        self.hidden = dense(self.gru.d_out, settings.hid)
        self.hidden_dropout = Dropout(settings.hdrp)

    def forward(self, videos: Tensor, lengths: Tensor) -> Tensor:
        """Return (V, L, hid) of padded videos (V, L, d_in)."""
        states = self.gru(videos, lengths)  # (V, L, 2 units)
        result: Tensor = self.hidden_dropout(torch.tanh(self.hidden(self.dropout(states))))
        return result


class MmmuBaNet(nn.Module):
    """A network per modality -> attention of each two -> all of it joined -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: MmmuBaSettings) -> None:
        super().__init__()
        present = [m for m in ORDER if m in dims]
        self.nets = nn.ModuleDict({m: ModalityNet(dims[m], settings) for m in present})
        self.pairs = [pair for pair in PAIRS if set(pair) <= set(present)]
        self.masks_padding = settings.variant == "corrected"
        self.n_clips = 0 if self.masks_padding else settings.n_clips
        self.head = Head(settings.hid * (2 * len(self.pairs) + len(present)), settings)

    def forward(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": score (B,)}, what was joined (B, 9 hid))."""
        lengths = inputs[VIDEOS]
        vectors = {m: padded_videos(clip_vectors(inputs[m]), lengths, self.n_clips) for m in self.nets}
        there = next(iter(vectors.values()))[1]  # (V, L)
        clips = {m: self.nets[m](videos, lengths) for m, (videos, _) in vectors.items()}  # (V, L, hid)
        attended = there if self.masks_padding else None
        both = [attend(clips[x], clips[y], attended) for a, b in self.pairs for x, y in ((a, b), (b, a))]
        joined = torch.cat([*both, *clips.values()], dim=2)[there]  # (B, 9 hid)
        return {"M": self.head(joined)}, joined


def attend(x: Tensor, y: Tensor, there: Tensor | None) -> Tensor:
    """Return x times what its clips find in y, (V, L, d): softmax over y's clips of the products of x and y.

    there : which clips may be attended to, bool (V, L); None: all, the padding included
    """
    likeness = x @ y.transpose(1, 2)  # (V, L, L)
    if there is not None:
        likeness = likeness.masked_fill(~there[:, None, :], float("-inf"))
    return torch.softmax(likeness, dim=2) @ y * x


MMMU_BA = ModelSpec(
    "mmmu-ba",
    (StageSpec("M", ("T", "A", "V", VIDEOS), ("M",), MmmuBaNet, objective=Polarity, needs_all=False),),
    MmmuBaSettings,
    resources.files("fmltk.model") / "presets" / "mmmu-ba",
)
