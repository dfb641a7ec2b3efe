"""A feature folder as one object: its manifest, its modalities, and the forms that other libraries read them in."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES, SPLITS, chosen_keys, ordered_keys
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.features.clip_row import further_sets
from fmltk.toolkit.features.layout import MANIFEST_FILE, table_file
from fmltk.toolkit.features.sequences import ModalityTable, read_modality
from fmltk.toolkit.io.parquet import (
    decode_metadata,
    open_parquet,
    reading,
)
from fmltk.toolkit.io.paths import locate

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import datasets
    import pandas as pd

    from fmltk.toolkit.features.clip_dataset import ClipDataset
    from fmltk.toolkit.features.label_table import LabelTable
    from fmltk.toolkit.features.sequences import PaddedArrays
    from fmltk.toolkit.io.paths import AnyPath


@dataclass(frozen=True, repr=False)
class FeatureSet:
    """A feature folder: the manifest and the modalities it holds. Features are read when they are asked for.

    A modality's first feature set has the modality's name, others have a key such as "audio.egemaps".

    A FeatureSet is accepted wherever a feature folder's path is. In a notebook it shows its clips, modalities, lengths
    and failures; `len` counts the clips, also those that failed.

    Examples
    --------
    >>> features = read_features("features")
    >>> len(features)
    12
    >>> features["audio"]
    <features/audio.parquet: 12 clips x 8 steps x 33 features>
    >>> features.manifest()["audio_status"].value_counts().to_dict()
    {'ok': 12}
    """

    path: AnyPath
    modalities: Mapping[str, ModalityTable]

    def __len__(self) -> int:
        with open_parquet(self.path / MANIFEST_FILE) as file:
            return int(file.metadata.num_rows)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        held = "; ".join(f"{name}: {table._shape}" for name, table in self.modalities.items())
        return f"<{self.path}: {held or 'no features'}>"

    def _repr_html_(self) -> str:
        from fmltk.toolkit.features.feature_html import feature_html, shown_columns

        columns = shown_columns(ordered_keys([*MODALITIES, *self.modalities]))
        return feature_html(self.path, self.manifest(columns), self.modalities)

    def __getitem__(self, modality: str) -> ModalityTable:
        if modality not in self.modalities:
            held = ", ".join(self.modalities) or "none"
            raise StoreError(f"{self.path} has no {modality} features (it has: {held}); run `fmltk extract` for them")
        return self.modalities[modality]

    def keys_in_use(self, use: str = "") -> dict[str, str]:
        """Return the key of one feature set per modality: of those that `use` names, else of the first ones.

        A set that `use` names may be a folder's first, whose key is the modality.

        Raises ConfigError if `use` is not a list of sets, StoreError if the folder does not have one.
        """
        keys = {modality: modality for modality in MODALITIES if modality in self.modalities}
        for modality, key in chosen_keys(use).items():
            first = self.modalities.get(modality)
            is_first = first is not None and (first.document.get("set") or {}).get("name") == key.partition(".")[2]
            if key in self.modalities or not is_first:
                self[key]  # refuses a set that is not there
                keys[modality] = key
        return keys

    def in_use(self, use: str = "") -> FeatureSet:
        """Return the folder with one feature set per modality, by the modality's name; see `keys_in_use`."""
        return replace(self, modalities={name: self[key] for name, key in self.keys_in_use(use).items()})

    def manifest(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per clip, also for those that failed; `columns` are those to read, by default all."""
        path = self.path / MANIFEST_FILE
        with open_parquet(path) as file, reading(path):
            frame: pd.DataFrame = file.read(columns=columns).to_pandas()
            return frame

    def settings(self) -> dict[str, Any]:
        """Return the settings and versions that made the folder."""
        path = self.path / MANIFEST_FILE
        with open_parquet(path) as file:
            return decode_metadata(file.schema_arrow, name=str(path))

    def to_pandas(self) -> pd.DataFrame:
        """Return the manifest with a column per modality: float32 (n_steps, d) arrays, None where there is none."""
        frame = self.manifest()
        for name, table in self.modalities.items():
            values = {utterance: sequence for utterance, sequence, _ in table.sequences()}
            column: Any = [values.get(utterance) for utterance in frame["utterance_id"]]
            frame[f"{name}_features"] = column
        return frame

    def to_numpy(self, modality: str) -> PaddedArrays:
        """Return one modality of the clips that have it, as scikit-learn takes it: X, mask and ids.

        Returns
        -------
        PaddedArrays
            X, float32 (n, L, d), padded with zeros; mask, bool (n, L), True at the clip's valid steps; ids of the
            clips, text (n,).

        Raises
        ------
        StoreError
            If the folder does not have the modality.

        Examples
        --------
        >>> X, mask, ids = read_features("features").to_numpy("audio")
        >>> X.shape, mask.sum(axis=1).tolist()[:3], str(ids[0])
        ((12, 8, 33), [8, 6, 4], 'video_0001$_$0001')
        """
        return self[modality].to_numpy()

    def torch_dataset(
        self,
        labels: str | os.PathLike[str] | pd.DataFrame | None = None,
        *,
        conditions: Sequence[str] = ("M",),
        modalities: Sequence[str] | None = None,
        split: str | None = None,
        scale: str | None = None,
        cache_bytes: int = 1 << 30,
    ) -> ClipDataset:
        """Return the clips as a torch Dataset whose items have their true lengths.

        Parameters
        ----------
        labels
            A table of labels, as `fmltk.aggregate` returns it or as a file; None: the items have no labels.
        conditions
            Which labels the items have, as ``label_M`` and so on.
        modalities
            Which modalities the items have; by default every one of the folder.
        split
            "train", "valid" or "test": only these clips, by the labels' split, else by the manifest's.
        scale
            The scale of labels that do not state it, such as "1..5"; None: the one that they fit.
        cache_bytes
            How much of the features is kept in memory once read. A larger data set is read again and again if it is
            shuffled: give it as much as it has.

        Returns
        -------
        ClipDataset
            Clips that lack one of the modalities or labels are left out and counted in its `left_out`.

        Raises
        ------
        StoreError
            If the folder lacks a modality.
        ConfigError
            If no clip is left, a name is unknown, or the labels are words.

        Warns
        -----
        UserWarning
            If the labels name clips that the folder does not have, or write its clips' ids in another way.

        Examples
        --------
        >>> from torch.utils.data import DataLoader
        >>> dataset = read_features("features").torch_dataset("labels.parquet")
        >>> len(dataset), dataset[0]["audio"].shape, dataset[0]["label_M"]
        (12, torch.Size([8, 33]), tensor(0.8000))
        >>> batch = next(iter(DataLoader(dataset, batch_size=4, collate_fn=dataset.collate)))
        >>> batch["audio"].shape, batch["audio_lengths"]
        (torch.Size([4, 8, 33]), tensor([8, 6, 4, 3]))
        """
        from fmltk.toolkit.features.clip_dataset import ClipDataset
        from fmltk.toolkit.features.label_file import as_labels

        tables = {name: self[name] for name in (self.modalities if modalities is None else modalities)}
        table = None if labels is None else self._own_labels(as_labels(labels, scale=scale))
        columns = {} if table is None else _label_columns(table, conditions)
        dataset = ClipDataset(tables, self._clips_of(split, table), columns, cache_bytes=cache_bytes)
        if not dataset.utterance_ids:
            lacking = ", ".join(f"{n} without {what}" for what, n in dataset.left_out.items())
            raise ConfigError(f"{self.path}: no clip is left ({lacking or f'no clip is in the split {split}'})")
        return dataset

    def _own_labels(self, labels: LabelTable) -> LabelTable:
        """Return labels under the ids of the folder's clips; warn of ids that are written in another way or unknown."""
        own = list(self.manifest(["utterance_id"])["utterance_id"])
        aligned, notes = labels.aligned(set(own))
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=3)
        strangers = sorted(set(aligned.utterance_ids) - set(own))
        if strangers:
            warnings.warn(
                f"{len(strangers)} of {len(labels.utterance_ids)} clips of the labels are not in {self.path}, such as "
                f"{strangers[0]!r}; its clips are {', '.join(map(repr, own[:2]))}, ...: write ids as manifest.parquet "
                "has them",
                UserWarning,
                stacklevel=3,
            )
        return aligned

    def _clips_of(self, split: str | None, labels: LabelTable | None) -> list[str]:
        """Return the clips of a split, by the labels where they name any split, else by the manifest."""
        manifest = self.manifest(["utterance_id", "split"])
        if split is None:
            return list(manifest["utterance_id"])
        if split not in SPLITS:
            raise ConfigError(f"{split!r} is not a split; expected one of {', '.join(SPLITS)}")
        splits = dict(zip(manifest["utterance_id"], manifest["split"], strict=True))
        if labels is not None and any(labels.splits):
            by_labels = dict(zip(labels.utterance_ids, labels.splits, strict=True))
            splits = {utterance: by_labels.get(utterance) for utterance in splits}
        return [utterance for utterance, own in splits.items() if own == split]

    def to_datasets(self) -> datasets.Dataset:
        """Return a Hugging Face Dataset: the manifest's columns and, per modality, the clips' true sequences.

        The columns are those of `to_pandas`: ``audio_features`` and so on, None where a clip has none. All of it is in
        memory; ``datasets.load_dataset("parquet", data_files="features/audio.parquet")`` reads padded sequences from
        disk.

        Raises
        ------
        ConfigError
            If the package datasets is not installed.

        Examples
        --------
        >>> dataset = read_features("features").to_datasets()
        >>> len(dataset), len(dataset[0]["audio_features"])
        (12, 8)
        """
        from fmltk.toolkit.features.hugging_face import hugging_face_dataset

        return hugging_face_dataset(self.path / MANIFEST_FILE, self.modalities)


def read_features(path: str | os.PathLike[str] | AnyPath) -> FeatureSet:
    """Open what `fmltk extract` wrote, on this machine or in a store (``s3://bucket/features``).

    Raises
    ------
    StoreError
        If `path` is not a feature folder.

    Examples
    --------
    >>> read_features("features")
    <features: text: 12 clips x 8 steps x 384 features; audio: ...>
    """
    folder = locate(path)
    if not (folder / MANIFEST_FILE).is_file():
        raise StoreError(
            f"{folder} is not a features folder: it has no manifest.parquet; make one with `fmltk extract`"
        )
    with open_parquet(folder / MANIFEST_FILE) as file:
        keys = ordered_keys([*MODALITIES, *further_sets(file.schema_arrow.names)])
    tables = {key: folder / table_file(key) for key in keys}
    return FeatureSet(folder, {key: read_modality(path) for key, path in tables.items() if path.is_file()})


def _label_columns(labels: LabelTable, conditions: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return each condition's labels by clip, under the name that items give them."""
    for condition in conditions:
        if condition not in CONDITIONS:
            raise ConfigError(f"{condition!r} is not a condition; expected some of {', '.join(CONDITIONS)}")
        if labels.labelled(condition).any() and labels.scales[condition].kind == "nominal":
            raise ConfigError(
                f"label_{condition} has the classes {labels.scales[condition]}, and an item holds a number: give a "
                "table with a number for each class"
            )
    return {
        f"label_{condition}": dict(zip(labels.utterance_ids, labels.values(condition).tolist(), strict=True))
        for condition in conditions
    }
