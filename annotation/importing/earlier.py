"""Ratings of earlier imports that the files given now could have, and do not: what an import says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fmltk.annotation.ratings import ranks
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_KEYS = ("source", "condition", "dimension", "utterance_id", "annotator")


def kept_remarks(held: pa.Table, given: Sequence[pa.Table]) -> list[str]:
    """Return what is to be said of ratings that stay although the files given now have their clip and annotator.

    Such a rating was removed at its source, or the files of before were others.

    held : the ratings of earlier imports
    given : those of the files
    """
    tables = [table.select([*_KEYS, "status"]) for table in (held, *given)]
    tables[0] = tables[0].filter(pc.equal(tables[0]["status"], "rated"))
    both = pa.concat_tables(tables).unify_dictionaries()
    n_held = tables[0].num_rows
    source, condition, dimension, clip, annotator = (ranks(both.column(name)) + 1 for name in _KEYS)
    question = _pairs(_pairs(source, condition), dimension)
    of_clip, of_person = _pairs(question, clip), _pairs(question, annotator)
    rating = _pairs(of_clip, annotator)
    gone = ~np.isin(rating[:n_held], rating[n_held:])
    for part in (of_clip, of_person):
        gone &= np.isin(part[:n_held], part[n_held:])
    rows = np.flatnonzero(gone)
    if not rows.size:
        return []
    first = both.slice(int(rows[0]), 1).to_pylist()[0]
    return [
        f"ratings of earlier imports stay that these files do not have, though they have their clips and annotators: "
        f"{rows.size}, the first that of {short_text(first['annotator'])} for {short_text(first['utterance_id'])}; if "
        "they were removed there, import all files again with --overwrite"
    ]


def _pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each pair, shape (n_rows,), smaller than the number of rows."""
    joined = first.astype(np.int64) * (int(second.max(initial=0)) + 1) + second
    return np.asarray(np.unique(joined, return_inverse=True)[1], dtype=np.int64)
