"""A feature folder as a Hugging Face Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.parquet import nested_array, open_parquet, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import datasets
    import pyarrow as pa

    from fmltk.toolkit.features.sequences import ModalityTable
    from fmltk.toolkit.io.paths import AnyPath


def hugging_face_dataset(manifest: AnyPath, modalities: Mapping[str, ModalityTable]) -> datasets.Dataset:
    """Return the table `manifest` with a column of true sequences per modality, as `FeatureSet.to_datasets` says.

    Raises ConfigError if the package datasets is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise ConfigError("to_datasets needs the package datasets: pip install datasets") from error
    with open_parquet(manifest) as file, reading(manifest):
        table = file.read().replace_schema_metadata(None)
    ids = table["utterance_id"].to_pylist()
    for name, modality in modalities.items():
        for column, values in _columns(name, modality, ids).items():
            table = table.append_column(column, values)
    return datasets.Dataset(table)


def _columns(name: str, table: ModalityTable, ids: Sequence[str]) -> dict[str, pa.Array]:
    """Return a list of (n_steps, d) per id, without padding, and its mask where there is one; null without the clip."""
    import pyarrow as pa

    sequences = {utterance: (values.copy(), valid.copy()) for utterance, values, valid in table.sequences()}
    absent = np.array([utterance not in sequences for utterance in ids], bool)
    held = [sequences[utterance] for utterance in ids if utterance in sequences]
    lengths = np.zeros(len(ids), np.int32)
    lengths[~absent] = [len(values) for values, _ in held]

    def lists(steps: pa.Array) -> pa.Array:
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), steps, mask=pa.array(absent))

    frames = np.concatenate([np.empty((0, table.dimension), np.float32), *(values for values, _ in held)])
    columns = {f"{name}_features": lists(nested_array(frames))}
    if table.has_mask:
        columns[f"{name}_mask"] = lists(pa.array(np.concatenate([np.empty(0, bool), *(valid for _, valid in held)])))
    return columns
