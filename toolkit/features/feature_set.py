"""A feature folder as one object: its manifest and its modalities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.layout import MANIFEST_FILE
from fmltk.toolkit.features.sequences import ModalityTable, read_modality
from fmltk.toolkit.io.parquet import (
    decode_metadata,
    open_parquet,
    reading,
)
from fmltk.toolkit.io.paths import locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from fmltk.toolkit.io.paths import AnyPath


@dataclass(frozen=True)
class FeatureSet:
    """A feature folder: the manifest and the modalities it holds."""

    path: AnyPath
    modalities: Mapping[str, ModalityTable]

    def __repr__(self) -> str:
        held = "; ".join(f"{name}: {table._shape}" for name, table in self.modalities.items())
        return f"<{self.path}: {held or 'no features'}>"

    def __getitem__(self, modality: str) -> ModalityTable:
        if modality not in self.modalities:
            held = ", ".join(self.modalities) or "none"
            raise StoreError(f"{self.path} has no {modality} features (it has: {held}); run `fmltk extract` for them")
        return self.modalities[modality]

    def manifest(self) -> pd.DataFrame:
        """Return one row per clip, also for those that failed."""
        path = self.path / MANIFEST_FILE
        with open_parquet(path) as file, reading(path):
            frame: pd.DataFrame = file.read().to_pandas()
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


def read_features(path: str | AnyPath) -> FeatureSet:
    """Open what `fmltk extract` wrote, on this machine or in a store (``s3://bucket/features``).

    Raises StoreError if `path` is no feature folder.

    Example: ``read_features("features")["audio"].features()`` is a float32 array of shape (n_clips, L, 33).
    """
    folder = locate(path)
    if not (folder / MANIFEST_FILE).is_file():
        raise StoreError(f"{folder} is no features folder: it has no manifest.parquet; make one with `fmltk extract`")
    names: Sequence[str] = [name for name in MODALITIES if (folder / f"{name}.parquet").is_file()]
    return FeatureSet(folder, {name: read_modality(folder / f"{name}.parquet") for name in names})
