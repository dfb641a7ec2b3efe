"""On which side an MMSA pickle's sequences are padded: most sets pad at the end, some aligned ones in front.

A pickle seldom says. Padding is zeros, in every modality of an aligned set at once; silence and lost faces are zeros
too, but in short runs and on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Lengths = Mapping[str, Mapping[str, NDArray[np.int64]]]  # by split and modality, one per clip

_CLEAR = 2.0  # how many times the zeros of one side must outweigh those of the other
_FEW_CLIPS, _FEW_SHARE = 3, 0.05  # fewer clips than both that begin with zeros are not a sign of padding


@dataclass(frozen=True, slots=True)
class _Runs:
    """Zero steps of each sequence: in front and behind, int (n,), and whether it has no other steps, bool (n,)."""

    front: NDArray[np.int64]
    behind: NDArray[np.int64]
    empty: NDArray[np.bool_]

    @classmethod
    def of(cls, values: NDArray[Any]) -> _Runs:
        """Count the zero steps of sequences, shape (n, L, d). A negative zero is a value, so that it comes back."""
        filled = np.any((values != 0) | np.signbit(values), axis=2)  # (n, L)
        empty = ~filled.any(axis=1)
        n_steps = values.shape[1]
        front, behind = filled.argmax(axis=1), filled[:, ::-1].argmax(axis=1)
        return cls(np.where(empty, n_steps, front), np.where(empty, n_steps, behind), empty)


def front_padding(
    data: Mapping[str, Mapping[str, Any]], given: Lengths, modalities: Sequence[str], padding: str, where: str
) -> dict[str, dict[str, NDArray[np.int64]]]:
    """Return by split how many steps of each clip, int (n,), are padding in front, for modalities padded there.

    data : {split: {modality: numbers (n, L, d)}}; given : the lengths that the pickle states
    padding : "front" or "end" where the user knows, else "auto"

    Modalities of one length L are aligned, so all of a clip's begin at the same step.

    Raises StoreError where it is not clear on which side they are padded, or lengths contradict it.
    """
    n_steps = {modality: next(iter(data.values()))[modality].shape[1] for modality in modalities}
    is_aligned = len(modalities) > 1 and len(set(n_steps.values())) == 1
    fronts: dict[str, dict[str, NDArray[np.int64]]] = {split: {} for split in data}
    for group in [list(modalities)] if is_aligned else [[modality] for modality in modalities]:
        runs = {split: {m: _Runs.of(part[m]) for m in group} for split, part in data.items()}
        if padding == "end" or (padding == "auto" and not _is_front(runs, given, n_steps, f"{where}: {group[0]}")):
            continue
        for split, of_split in runs.items():
            shared = np.min([one.front for one in of_split.values()], axis=0)
            for modality, one in of_split.items():
                front = np.where(one.empty, 0, shared)
                stated = given.get(split, {}).get(modality)
                if stated is not None:
                    front = np.maximum(n_steps[modality] - stated, 0)
                    _check(front, one, f"{where}: {split}/{modality}")
                fronts[split][modality] = front
    return fronts


def _is_front(runs: Mapping[str, Mapping[str, _Runs]], given: Lengths, n_steps: Mapping[str, int], where: str) -> bool:
    """Whether sequences that belong together are padded in front: by their lengths, else by where the zeros are."""
    votes = [0, 0]  # of clips whose stated length leaves room for padding: in front, behind
    n_clips = n_begin = 0
    weight = [0, 0]
    for split, of_split in runs.items():
        for modality, one in of_split.items():
            if modality in given.get(split, {}):
                room = n_steps[modality] - given[split][modality]
                votes[0] += int(np.sum((room > 0) & (one.front >= room)))
                votes[1] += int(np.sum((room > 0) & (one.behind >= room)))
        known = ~np.all([one.empty for one in of_split.values()], axis=0)
        front = np.min([one.front for one in of_split.values()], axis=0)[known]
        behind = np.min([one.behind for one in of_split.values()], axis=0)[known]
        n_clips += len(front)
        n_begin += int(np.sum(front > 0))
        weight[0] += int(np.sum(front**2))  # squares: one long run says more than many short ones
        weight[1] += int(np.sum(behind**2))
    if any(votes):
        return votes[0] > votes[1]
    if n_begin < max(_FEW_CLIPS, _FEW_SHARE * n_clips) or _CLEAR * weight[0] < weight[1]:
        return False
    if weight[0] < _CLEAR * weight[1]:
        raise StoreError(
            f"{where} has zeros in front of {n_begin} of {n_clips} clips and about as many behind others, so it is not "
            "clear on which side sequences are padded; give --padding front or --padding end"
        )
    return True


def _check(front: NDArray[np.int64], runs: _Runs, where: str) -> None:
    wrong = int(np.sum(front > runs.front))
    if wrong:
        clips = counted(wrong, "clip")
        raise StoreError(
            f"{where} is padded in front, but in {clips} its lengths leave out steps that are not zero; remove the "
            "lengths, or give --padding end"
        )
