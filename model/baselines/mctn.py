"""MCTN: a text is translated to vision and back, what it was encoded as on the way to audio, and that to y_M.

Audio and vision are needed in training alone: what is predicted comes from the text.

Source: Pham et al. 2019, Found in translation; MMSA 2.2.1, models/singleTask/MCTN.py, its trainer and
config_regression.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.baselines.word_steps import EXTRA_LOSS, ExtraLoss, WordSettings, WordSteps, groups_by_module
from fmltk.model.registry import STEPS_SUFFIX, WHOLE, ModelSpec, StageSpec
from fmltk.model.settings import amount, choice, count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.sequences import Padded

TEACHER_SHARE = 0.5  # of the decoders' steps that read the true step before, in the corrected variant


@dataclass(frozen=True)
class MctnSettings(WordSettings):
    """MCTN's.

    hid : units of every LSTM, by direction; translation : weight of the three mean squared errors of the translations
    variant : "published": the LSTMs run over the clips of a batch, not over the steps, and the decoders always read the
        true step before, as in the public code; "corrected": they run over the steps, and read the true one every other
        time, at random
    """

    hid: int = count(32)
    translation: float = amount(0.1)
    variant: str = choice("published", "corrected")


class Translator(nn.Module):
    """A bidirectional LSTM that encodes a sequence, and one that decodes another from it with attention.

    All tensors are (time, n, d).
    """

    def __init__(self, d_in: int, d_out: int, d: int, *, teacher_share: float) -> None:
        super().__init__()
        self.encoder = nn.LSTM(d_in, d, bidirectional=True)
        self.start = nn.Linear(d, d, bias=False)
        self.attention, self.score = nn.Linear(2 * d, d, bias=False), nn.Linear(d, 1, bias=False)
        self.decoder = nn.LSTM(d_out + d, d, bidirectional=True)  # each step from a state of 0: no weight_hh acts
        self.output = nn.Linear(2 * d, d_out)
        self.d, self.teacher_share = d, teacher_share

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (the codes, (time, n, d), where the decoder starts, (n, d)) of x (time, n, d_in)."""
        states, (last, _) = self.encoder(x)
        codes = states[..., : self.d] + states[..., self.d :]
        return codes, torch.tanh(self.start(last[0] + last[1]))

    def decode(self, codes: Tensor, state: Tensor, truth: Tensor) -> Tensor:
        """Return what the codes are translated to, (time, n, d_out), 0 at the first step; truth : of that shape."""
        w_codes, w_state = self.attention.weight[:, self.d :], self.attention.weight[:, : self.d]
        keys = codes @ w_codes.t()  # (time, n, d)
        d_out = truth.shape[2]
        weight, bias = self._decoder_weights()
        known = nn.functional.linear(truth, weight[:, :d_out], bias)  # (time, n, 8 d)
        made = [truth.new_zeros(truth.shape[1:])]
        for step in range(1, len(truth)):
            shares = torch.softmax(self.score(torch.tanh(keys + state @ w_state.t())), dim=0)  # (time, n, 1)
            context = (shares * codes).sum(dim=0)  # (n, d)
            forced = step == 1 or self.teacher_share >= 1 or float(torch.rand(())) < self.teacher_share
            last = known[step - 1] if forced else nn.functional.linear(made[-1], weight[:, :d_out], bias)
            gates = (last + context @ weight[:, d_out:].t()).view(-1, 2, 4, self.d)  # both directions
            i, _, g, o = gates.unbind(2)  # (n, 2, d)
            state = (torch.sigmoid(o) * torch.tanh(torch.sigmoid(i) * torch.tanh(g))).sum(dim=1)  # (n, d)
            made.append(self.output(torch.cat([state, context], dim=1)))
        return torch.stack(made)

    def _decoder_weights(self) -> tuple[Tensor, Tensor]:
        """Return the weights and the bias of both directions' gates from what a step reads, (8 d, d_in) and (8 d,)."""
        w_in, _, b_in, b_hidden, w_back, _, b_back, b_back_hidden = self.decoder.parameters()
        return torch.cat([w_in, w_back]), torch.cat([b_in + b_hidden, b_back + b_back_hidden])


class MctnNet(nn.Module):
    """Text -> vision -> text; the text's codes -> audio; what those are encoded as -> LSTM with attention -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: MctnSettings) -> None:
        super().__init__()
        self.words = WordSteps(dims, settings)
        self.width = max(dims[name] for name in WHOLE)  # narrower features get zeros
        d = settings.hid
        self.over_clips = settings.variant == "published"
        share = 1.0 if self.over_clips else TEACHER_SHARE
        self.first = Translator(self.width, self.width, d, teacher_share=share)
        self.second = Translator(d, self.width, d, teacher_share=share)
        self.regression = nn.LSTM(d, d)
        self.attention, self.output = nn.Linear(d, 1), nn.Linear(d, 1)
        self.weight = settings.translation

    def forward(self, inputs: Mapping[str, Padded]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,), in training the losses of the translations}, what y_M is made of (B, hid))."""
        if self.training:
            steps, loss = self.words(inputs)
        else:
            steps, loss = {"T": inputs["T" + STEPS_SUFFIX].values}, None
        text, *others = (self._turned(steps[m]) for m in ("T", "V", "A") if m in steps)
        codes, start = self.first.encode(text)
        deeper, second_start = self.second.encode(codes)
        states = self.regression(deeper)[0]  # (time, n, d)
        states = states if self.over_clips else states.transpose(0, 1)  # (B, L, d)
        shares = torch.softmax(torch.tanh(self.attention(states)), dim=1)  # (B, L, 1)
        found = (shares * states).sum(dim=1)  # (B, d)
        outputs = {"M": self.output(found).squeeze(-1)}
        if loss is not None:
            vision, audio = others
            made_vision = self.first.decode(codes, start, vision)
            made_text = self.first.decode(*self.first.encode(made_vision), text)
            made_audio = self.second.decode(deeper, second_start, audio)
            pairs = ((made_vision, vision), (made_text, text), (made_audio, audio))
            outputs[EXTRA_LOSS] = loss + self.weight * sum(nn.functional.mse_loss(*pair) for pair in pairs)
        return outputs, found

    def _turned(self, steps: Tensor) -> Tensor:
        """Return steps (B, L, d) with zeros up to the common width, and what the LSTMs run over in front."""
        wide = nn.functional.pad(steps, (0, self.width - steps.shape[2]))
        return wide if self.over_clips else wide.transpose(0, 1)


MCTN = ModelSpec(
    "mctn",
    (StageSpec("M", WHOLE, ("M",), MctnNet, groups=groups_by_module, evaluation_batch=32, objective=ExtraLoss),),
    MctnSettings,
    resources.files("fmltk.model") / "presets" / "mctn",
)
