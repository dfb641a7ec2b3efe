"""fingerprints.parquet: what a clip's sound and picture are known by, also encoded again or trimmed.

A fingerprint is a sequence of 16-bit words. A bit says whether a band of the sound, or a pattern of the picture, grows
or shrinks against its neighbours over a fraction of a second: another encoding changes few of them, a trim shifts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.features.layout import SCHEMA_VERSION
from fmltk.toolkit.io.parquet import encode_metadata
from fmltk.toolkit.settings import ACOUSTIC_RATE_HZ, FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

FINGERPRINT_FILE = "fingerprints.parquet"
FINGERPRINT_RATES_HZ = {"audio": ACOUSTIC_RATE_HZ, "vision": float(FRAME_RATE_HZ)}


def pack_words(signs: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Return one word per step, uint16 (n,), of signs, bool (n, 16); bit k is column k.

    >>> pack_words(np.eye(3, 16, dtype=bool)).tolist()
    [1, 2, 4]
    """
    words: NDArray[np.uint16] = (signs.astype(np.int64) @ (1 << np.arange(signs.shape[1]))).astype(np.uint16)
    return words


def fingerprint_schema() -> pa.Schema:
    """Return the columns: utterance_id, and the words of the sound and of the picture, null where there is none."""
    import pyarrow as pa

    fields = [
        pa.field("utterance_id", pa.string(), nullable=False),
        *(pa.field(name, pa.list_(pa.uint16())) for name in FINGERPRINT_RATES_HZ),
    ]
    document = {"schema_version": SCHEMA_VERSION, "rate_hz": FINGERPRINT_RATES_HZ}
    return pa.schema(fields, metadata=encode_metadata(document))


def fingerprint_table(utterance: str, words: Mapping[str, NDArray[Any]], schema: pa.Schema) -> pa.Table:
    """Return one clip's fingerprints as a row of the table."""
    import pyarrow as pa

    columns = [pa.array([utterance], pa.string())]
    columns += [pa.array([words.get(name)], pa.list_(pa.uint16())) for name in FINGERPRINT_RATES_HZ]
    return pa.Table.from_arrays(columns, schema=schema)
