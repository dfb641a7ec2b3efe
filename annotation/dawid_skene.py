"""Labels that weigh raters by how reliable they seem: Dawid and Skene's model, through crowd-kit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation.ratings import ranks
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale

N_ITERATIONS = 100


def dawid_skene_labels(ratings: pa.Table, clip: NDArray[np.int64], n_clips: int, scale: Scale) -> NDArray[np.float64]:
    """Return the expected rating of each clip under Dawid and Skene's model, shape (n_clips,); NaN without a rating.

    The model gives each rater a confusion matrix and each clip a distribution over the scale's values, by expectation
    maximisation from the majority vote; it treats the values as classes without order.

    Raises ConfigError if crowd-kit is not installed.

    Source: Dawid and Skene, 1979; the implementation is crowd-kit's.
    """
    try:
        import pandas as pd
        from crowdkit.aggregation import DawidSkene
    except ImportError as error:
        raise ConfigError("Dawid-Skene needs crowd-kit: pip install 'fmltk[reliability]'") from error
    rated = ratings.column("value").is_valid().to_numpy()
    raters = ranks(ratings.column("annotator"))[rated]
    rows = np.lexsort((raters, clip[rated]))  # the result must not depend on the order of the rows
    frame = pd.DataFrame(
        {
            "task": clip[rated][rows],
            "worker": raters[rows],
            "label": ratings.column("value").drop_null().to_numpy().astype(np.int64)[rows],
        }
    )
    expected = np.full(n_clips, np.nan)
    if len(frame):
        probabilities: Any = DawidSkene(n_iter=N_ITERATIONS).fit(frame).probas_
        values = probabilities.columns.to_numpy().astype(np.float64)
        expected[probabilities.index.to_numpy()] = np.clip(probabilities.to_numpy() @ values, scale.low, scale.high)
    return expected
