"""The inputs of a stage from many clips, batch by batch, and the predictions of its network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmltk.model.bert import Tokens
from fmltk.model.lstm import Packed
from fmltk.model.registry import STEPS_SUFFIX, TOKENS, VIDEOS, WHOLE
from fmltk.model.sequences import Padded, Sequences
from fmltk.toolkit.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from fmltk.model.registry import StageSpec
    from fmltk.model.videos import Videos


@dataclass(frozen=True)
class StageInputs:
    """The inputs of a stage from n clips: one vector per clip and input, and text steps without padding.

    vectors : by input name (A, V, H_AV, ...), float32 (n, d); pooled steps (A_pooled, V_pooled), float32 (n, L, d)
    steps : float32 (n_steps, d), or token numbers, int32 (n_tokens, 1), or None; offsets : int64 (n + 1,)
    text_length : the steps that every clip's text has in a batch, zeros at the end; 0: its own
    videos : whose clips are read together by the stages that read videos
    sequences : by modality letter A and V, whole sequences
    n_classes : of nominal labels; 0: the labels are numbers
    """

    vectors: Mapping[str, Tensor]
    steps: Tensor | None
    offsets: NDArray[np.int64]
    text_length: int = 0
    videos: Videos | None = None
    sequences: Mapping[str, Sequences] = field(default_factory=dict)
    n_classes: int = 0

    def batch(self, names: Sequence[str], rows: NDArray[np.int64]) -> dict[str, Any]:
        """Return the inputs of some clips, by name: Tensor, Packed for "T", Padded for whole sequences, Tokens."""
        index = torch.from_numpy(rows)
        inputs: dict[str, Tensor | Packed | Padded | Tokens] = {}
        for name in names:
            if name == "T":
                inputs[name] = self._pad(rows) if self.text_length else self._pack(rows)
            elif name == VIDEOS:
                inputs[name] = torch.from_numpy(self.of_videos().lengths(rows))
            elif name == TOKENS:
                inputs[name] = Tokens.of(self._text_steps(), self.offsets, rows)
            elif name in WHOLE:
                inputs[name] = self._whole(name).batch(rows)
            else:
                values = self.vectors[name]
                inputs[name] = values.index_select(0, index.to(values.device))
        return inputs

    @property
    def device(self) -> torch.device:
        """The device that the inputs are on; the CPU where there are none."""
        tensors = [*self.vectors.values(), *(one.steps for one in self.sequences.values())]
        tensors += [] if self.steps is None else [self.steps]
        return tensors[0].device if tensors else torch.device("cpu")

    def to(self, device: str) -> StageInputs:
        """Return the same on a device."""
        return replace(
            self,
            vectors={name: values.to(device) for name, values in self.vectors.items()},
            steps=None if self.steps is None else self.steps.to(device),
            sequences={letter: one.to(device) for letter, one in self.sequences.items()},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all inputs that there are."""
        text = () if self.steps is None else ("T", "T" + STEPS_SUFFIX, TOKENS)
        return (*text, *self.vectors, *(letter + STEPS_SUFFIX for letter in self.sequences))

    def dimensions(self, names: Sequence[str]) -> dict[str, int]:
        """Return the width of each input; also the steps of texts that are read with their padding, and the classes."""
        features = [name for name in names if name != VIDEOS]
        widths = {name: int(self._values(name).shape[-1]) for name in features}
        others = {"steps": self.text_length, "classes": self.n_classes}
        return widths | {name: n for name, n in others.items() if n}

    def of_videos(self) -> Videos:
        """Return the videos of the clips. Raises TrainingError if the data names none."""
        if self.videos is None:
            raise TrainingError("the stage reads whole videos, and the data does not say which clips are of one video")
        return self.videos

    def _values(self, name: str) -> Tensor:
        if name in ("T", TOKENS):
            return self._text_steps()
        return self._whole(name).steps if name in WHOLE else self.vectors[name]

    def _whole(self, name: str) -> Sequences:
        letter = name.removesuffix(STEPS_SUFFIX)
        if letter == "T":
            return Sequences(self._text_steps(), self.offsets, self.text_length)
        return self.sequences[letter]

    def _text_steps(self) -> Tensor:
        if self.steps is None:
            raise TrainingError("the stage reads text, and the data has none")
        return self.steps

    def _pack(self, rows: NDArray[np.int64]) -> Packed:
        steps = self._text_steps()
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        longest_first = np.argsort(-lengths, kind="stable")
        starts, lengths = starts[longest_first], lengths[longest_first]
        sizes = np.searchsorted(-lengths, -np.arange(int(lengths[0])), side="left")  # how many are longer than t
        index = torch.from_numpy(np.concatenate([starts[:n] + t for t, n in enumerate(sizes)])).to(steps.device)
        batch_rows = torch.from_numpy(longest_first).to(steps.device)
        return Packed(steps.index_select(0, index), tuple(int(n) for n in sizes), batch_rows)

    def _pad(self, rows: NDArray[np.int64]) -> Packed:
        steps = self._text_steps()
        starts = self.offsets[rows]
        time = np.arange(self.text_length)[:, None]
        has = time < self.offsets[rows + 1] - starts  # (L, B), whether the text goes that far
        source = torch.from_numpy((starts + time)[has]).to(steps.device)
        places = torch.from_numpy(np.flatnonzero(has)).to(steps.device)
        batch_rows = torch.arange(len(rows), device=steps.device)
        return Packed(steps.index_select(0, source), (len(rows),) * self.text_length, batch_rows, places)


def predict_stage(
    net: nn.Module, spec: StageSpec, inputs: StageInputs, rows: NDArray[np.int64]
) -> tuple[dict[str, Tensor], Tensor]:
    """Return ({task: intensity (n,)}, hidden activations (n, d)) of some clips, in eval mode, on the CPU."""
    net.eval()
    batches = evaluation_batches(spec, inputs, rows)
    parts: list[dict[str, Tensor]] = []
    hidden: list[Tensor] = []
    with torch.inference_mode():
        for batch in batches:
            predictions, h = net(inputs.batch(spec.inputs, batch))
            parts.append({task: predictions[task].cpu() for task in spec.tasks})
            hidden.append(h.cpu())
    if not parts:
        return {task: torch.zeros(0) for task in spec.tasks}, torch.zeros(0, 0)
    back = torch.from_numpy(_places(rows, np.concatenate(batches)))
    return {task: torch.cat([part[task] for part in parts])[back] for task in spec.tasks}, torch.cat(hidden)[back]


def spread(values: Tensor, rows: NDArray[np.int64], n: int) -> Tensor:
    """Return what a stage predicts of some of n clips, for all of them: NaN elsewhere.

    values : intensities (k,), or scores of classes (k, n_classes), which become probabilities
    """
    values = torch.softmax(values, dim=1) if values.ndim == 2 else values
    return torch.full((n, *values.shape[1:]), float("nan")).index_copy(0, torch.from_numpy(rows), values)


def evaluation_batches(spec: StageSpec, inputs: StageInputs, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the rows in batches of a bounded number of clips; whole videos where the stage reads them."""
    n = spec.evaluation_batch
    if not spec.reads_videos:
        return [rows[start : start + n] for start in range(0, len(rows), n)]
    filled: dict[int, list[NDArray[np.int64]]] = {}
    n_before = 0
    for video in inputs.of_videos().divide(rows):
        filled.setdefault(n_before // n, []).append(video)
        n_before += len(video)
    return [np.concatenate(videos) for videos in filled.values()]


def _places(rows: NDArray[np.int64], moved: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of `rows` is in `moved`, which has the same rows in another order."""
    return np.argsort(moved)[np.argsort(np.argsort(rows))]
