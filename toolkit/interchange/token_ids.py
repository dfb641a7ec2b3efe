"""The token numbers that a feature folder keeps of its texts: imported, aligned, or from extraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.layout import SHARD_FOLDER, WORDS_FILE
from fmltk.toolkit.features.shards import ShardFolder, shard_key
from fmltk.toolkit.interchange.mmsa_extras import EXTRAS_FILE, read_extras
from fmltk.toolkit.io.parquet import open_parquet_table, read_table, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.feature_set import FeatureSet

TEXT_BERT = "text_bert"  # MMSA's key of (clips, 3, steps): token numbers, mask, segments


def imported_token_ids(features: FeatureSet, ids: Sequence[str]) -> Iterator[NDArray[np.int32] | None]:
    """Yield the token numbers of clips, int32 (n_tokens,), as the pickle's text_bert has them; None without.

    Raises StoreError where a clip has segments other than 0, of which no use is made.
    """
    extras = read_extras(features.path / EXTRAS_FILE)  # type: ignore[arg-type]
    for utterance in ids:
        row = {} if extras is None else extras.rows.get(utterance, {})
        if extras is None or row.get(f"key_{TEXT_BERT}") is None:
            yield None
            continue
        kind = extras.kinds_of(str(row["split"]))[TEXT_BERT]
        numbers, mask, segments = extras.values(TEXT_BERT, kind, [utterance])[0]
        if np.any(segments[mask > 0] != 0):
            raise StoreError(
                f"{features.path / EXTRAS_FILE}: text_bert of clip {utterance!r} has segments other than 0; "
                "expected one sentence per clip: import the pickle without text_bert"
            )
        yield numbers[mask > 0].astype(np.int32)


def kept_token_ids(features: FeatureSet, ids: Sequence[str]) -> Iterator[NDArray[np.int32] | None]:
    """Yield the token numbers of clips, int32 (n_tokens,), from their aligned tokens or their shards; None without."""
    aligned = (features.path / WORDS_FILE).is_file()
    return _of_aligned_clips(features, ids) if aligned else _of_shards(features, ids)


def _of_shards(features: FeatureSet, ids: Sequence[str]) -> Iterator[NDArray[np.int32] | None]:
    shards = ShardFolder(features.path / SHARD_FOLDER)
    names = shards.names()
    for utterance in ids:
        name = names.get(shard_key(utterance))
        yield None if name is None else shards.read(name).token_ids


def _of_aligned_clips(features: FeatureSet, ids: Sequence[str]) -> Iterator[NDArray[np.int32] | None]:
    """Yield those of aligned clips, which are kept where each step is a token."""
    path = features.path / WORDS_FILE
    with open_parquet_table(path, what="aligned features folder") as file, reading(path):
        table = read_table(file, path, columns=["utterance_id", "token_id"])
    numbers: dict[str, list[int | None]] = {}
    for utterance, number in zip(*(column.to_pylist() for column in table.columns), strict=True):
        numbers.setdefault(utterance, []).append(number)
    for utterance in ids:
        own = numbers.get(utterance, [None])
        yield None if None in own else np.array(own, np.int32)
