"""A feature folder as a torch Dataset: clips with their true lengths, and batches padded to their longest clip."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from fmltk.toolkit.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.sequences import ModalityTable

_Sequences = list[tuple["NDArray[np.float32]", "NDArray[np.bool_]"]]


class ClipDataset(Dataset[dict[str, Any]]):
    """The clips of a feature folder that have every modality and label asked for; `FeatureSet.torch_dataset` makes it.

    An item is a dict: ``utterance_id``; per modality its features, float32 (n_steps, d), and as ``audio_mask`` which
    steps are valid, bool (n_steps,); per condition its label, a float32 number, as ``label_M``. `collate`, which a
    DataLoader takes as ``collate_fn``, makes a batch of items: the same names with one axis before, features and masks
    padded at the end to the batch's longest clip, and ``audio_lengths``, the true lengths, int64 (n,).

    Parameters
    ----------
    tables
        The modalities, by name.
    clips
        The ids of the clips that may take part.
    labels
        By name, such as label_M, and by clip.
    cache_bytes
        How much of the features is kept in memory once read.

    Attributes
    ----------
    utterance_ids
        The clips, in the order of the items.
    left_out
        How many clips are not here, by what they lack.
    """

    def __init__(
        self,
        tables: Mapping[str, ModalityTable],
        clips: Iterable[str],
        labels: Mapping[str, Mapping[str, float]],
        *,
        cache_bytes: int,
    ) -> None:
        self._tables, self._labels = tables, labels
        self._rows = {
            name: {utterance: row for row, utterance in enumerate(table.utterance_ids)}
            for name, table in tables.items()
        }
        self.left_out: Counter[str] = Counter()
        self.utterance_ids = [utterance for utterance in clips if self._has_everything(utterance)]
        self._groups = _RowGroups(tables, cache_bytes)

    def _has_everything(self, utterance: str) -> bool:
        lacks = [name for name, rows in self._rows.items() if utterance not in rows]
        lacks += [name for name, values in self._labels.items() if not np.isfinite(values.get(utterance, np.nan))]
        self.left_out.update(lacks[:1])
        return not lacks

    def __repr__(self) -> str:
        held = ", ".join(f"{name} {table.dimension}" for name, table in self._tables.items())
        out = ", ".join(f"{n} without {what}" for what, n in self.left_out.items())
        clips, labels = counted(len(self), "clip"), ", ".join(self._labels)
        return f"<{clips} of {held}; labels: {labels or 'none'}; left out: {out or 'none'}>"

    def __len__(self) -> int:
        return len(self.utterance_ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        utterance = self.utterance_ids[index]
        item: dict[str, Any] = {"utterance_id": utterance}
        for name, rows in self._rows.items():
            values, valid = self._groups.sequence(name, rows[utterance])
            item[name], item[f"{name}_mask"] = torch.tensor(values), torch.tensor(valid)  # copies: the cache stays
        for name, labels in self._labels.items():
            item[name] = torch.tensor(labels[utterance], dtype=torch.float32)
        return item

    @staticmethod
    def collate(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return one batch of items: padded at the end to its longest clip, with the true lengths."""
        batch: dict[str, Any] = {}
        for name, first in items[0].items():
            values = [item[name] for item in items]
            if isinstance(first, str):
                batch[name] = values
            elif first.ndim == 0:
                batch[name] = torch.stack(values)  # (B,)
            else:
                batch[name] = pad_sequence(values, batch_first=True)  # (B, T, d), or (B, T) for a mask
                if f"{name}_mask" in items[0]:
                    batch[f"{name}_lengths"] = torch.tensor([len(one) for one in values])  # (B,)
        return batch


class _RowGroups:
    """Clips by row, read a row group at a time; the latest are kept up to `cache_bytes`, and the last one always is."""

    def __init__(self, tables: Mapping[str, ModalityTable], cache_bytes: int) -> None:
        self._tables = tables
        self._starts = {name: table.group_starts() for name, table in tables.items()}
        self._cache_bytes = cache_bytes
        self._held: OrderedDict[tuple[str, int], _Sequences] = OrderedDict()
        self._n_bytes = 0

    def sequence(self, name: str, row: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (features float32 (n_steps, d), valid bool (n_steps,)) of one clip."""
        starts = self._starts[name]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        key = (name, group)
        if key not in self._held:
            self._held[key] = self._tables[name].read_group(group, int(starts[group]))
            self._n_bytes += _size(self._held[key])
            while self._n_bytes > self._cache_bytes and len(self._held) > 1:
                self._n_bytes -= _size(self._held.popitem(last=False)[1])
        self._held.move_to_end(key)
        return self._held[key][row - int(starts[group])]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is held: each worker of a DataLoader reads its own."""
        return {**self.__dict__, "_held": OrderedDict(), "_n_bytes": 0}


def _size(sequences: _Sequences) -> int:
    return sum(values.nbytes + valid.nbytes for values, valid in sequences)
