"""One step of text, audio and vision per word: as `fmltk align` made them, or as a CTC module learns them.

The CTC module reads the steps of audio, or vision, with two LSTM layers that say for each step which of the text's
steps it belongs to, or that it is between them (the blank). A text's step then gets the sum of the steps of audio by
these shares. Its loss is that of all the text's steps in their order, padding included.

Source: Tsai et al. 2019, section 4.2 and the public code of MulT, src/ctc.py and src/train.py. That code has the loss
of warp-ctc, summed over the clips; torch's is summed here as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.objective import Objective
from fmltk.model.registry import STEPS_SUFFIX
from fmltk.model.settings import choice
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.model.sequences import Padded

BLANK = 0
EXTRA_LOSS = "extra_loss"  # what a network returns next to its intensities: a scalar, added to the loss in training


@dataclass(frozen=True)
class WordSettings(PublishedSettings):
    """A reader of one step per word.

    align : the steps are "words", as `fmltk align` made them, or a CTC module aligns them: "ctc"
    """

    text_steps: str = choice("padded")
    frames: str = choice("padded")
    align: str = choice("words", "ctc")


class ExtraLoss(Objective):
    """The tasks' losses, and in training what the network returns as `EXTRA_LOSS`."""

    def loss(self, outputs: Mapping[str, Tensor], rows: NDArray[np.int64]) -> Tensor:
        """Return the loss of a batch of training clips, a scalar."""
        return super().loss(outputs, rows) + outputs[EXTRA_LOSS]


class CtcAligner(nn.Module):
    """Steps (B, L, d) -> as many as texts have, (B, L_text, d), and the loss of the alignment."""

    def __init__(self, d: int, n_text_steps: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d, n_text_steps + 1, num_layers=2, batch_first=True)
        self.n_text_steps = n_text_steps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (aligned steps, (B, L_text, d), summed loss, a scalar, 0 for clips with too few steps to align)."""
        scores = self.lstm(x)[0]  # (B, L, 1 + L_text)
        aligned = torch.softmax(scores, dim=2)[:, :, 1:].transpose(1, 2) @ x  # (B, L_text, d)
        n, length = x.shape[:2]
        targets = torch.arange(1, self.n_text_steps + 1).repeat(n, 1)
        loss = nn.functional.ctc_loss(
            torch.log_softmax(scores, dim=2).transpose(0, 1),  # (L, B, 1 + L_text)
            targets.to(x.device),
            torch.full((n,), length),
            torch.full((n,), self.n_text_steps),
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,
        )
        return aligned, loss


class WordSteps(nn.Module):
    """The inputs T_steps, A_steps, V_steps -> as many steps of each, and the loss of aligning them."""

    def __init__(self, dims: Mapping[str, int], settings: WordSettings) -> None:
        super().__init__()
        learned = "AV" if settings.align == "ctc" else ""
        self.aligners = nn.ModuleDict({m: CtcAligner(dims[m + STEPS_SUFFIX], dims["steps"]) for m in learned})

    def forward(self, inputs: Mapping[str, Padded]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({modality: steps (B, L, d)}, loss, a scalar).

        Raises ConfigError if the steps of text, audio and vision are not as many, and no module aligns them.
        """
        steps = {m: inputs[m + STEPS_SUFFIX].values for m in MODALITY_OF}
        loss = steps["T"].new_zeros(())
        for m in self.aligners:
            steps[m], one = self.aligners[m](steps[m])
            loss = loss + one
        lengths = {MODALITY_OF[m]: one.shape[1] for m, one in steps.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {n}" for name, n in lengths.items())
            raise ConfigError(
                f"the features have other numbers of steps by modality ({found}), and one per word is read: align them "
                "to words with `fmltk align`, or use --align ctc"
            )
        return steps, loss


def groups_by_module(net: Any, _: Any) -> list[dict[str, Any]]:
    """Return the weights of the network, and those of each module that aligns, whose gradients are limited apart."""
    aligners: Sequence[nn.Module] = list(net.words.aligners.values())
    apart = [list(one.parameters()) for one in aligners]
    known = {id(weight) for group in apart for weight in group}
    return [{"params": [weight for weight in net.parameters() if id(weight) not in known]}] + [
        {"params": group} for group in apart
    ]
