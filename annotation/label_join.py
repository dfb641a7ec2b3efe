"""One table of labels from the raters' labels and those that a data set ships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.label_table import LabelTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fmltk.annotation.aggregate import Aggregated, ConditionLabels
    from fmltk.toolkit.conditions import Scale

NO_RATINGS = "no ratings"
NEITHER = "no ratings and no label in the table"


def join_labels(
    aggregated: Aggregated | None,
    shipped: LabelTable | None,
    *,
    prefer: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> LabelTable:
    """Return one table of aggregated and shipped labels, over the clips of both in order of id, without splits.

    prefer : "ratings" or "shipped", which counts where a clip has both for one condition

    Raises AnnotationError if a clip has both and `prefer` is None, if a condition's two scales differ, or there is no
    clip at all.
    """
    ids: dict[str, tuple[str, str]] = {}
    if shipped is not None:
        pairs = zip(shipped.video_ids, shipped.table["clip_id"].to_pylist(), strict=True)
        ids |= dict(zip(shipped.utterance_ids, pairs, strict=True))
    ids |= aggregated.ids if aggregated else {}
    if not ids:
        raise AnnotationError("there is nothing to aggregate: no ratings and no labels")
    utterances = sorted(ids)
    rated_rows = _rows(utterances, aggregated.utterances if aggregated else ())
    shipped_rows = _rows(utterances, shipped.utterance_ids if shipped else ())
    columns: dict[str, Any] = {
        "utterance_id": utterances,
        "video_id": [ids[name][0] for name in utterances],
        "clip_id": [ids[name][1] for name in utterances],
    }
    scales: dict[str, Scale] = {}
    for condition in CONDITIONS:
        rated = aggregated.conditions.get(condition) if aggregated else None
        own = _rated_columns(rated, rated_rows)
        if rated is not None:
            scales[condition] = rated.scale
        if shipped is not None and shipped.labelled(condition).any():
            scale = shipped.scales[condition]
            if scales.setdefault(condition, scale) != scale:
                raise AnnotationError(
                    f"condition {condition} is rated on {scales[condition]} and shipped on {scale}; give --scale"
                )
            _add_shipped(own, shipped, shipped_rows, condition, prefer=prefer)
        columns |= {f"{kind}_{condition}": values for kind, values in own.items()}
    return LabelTable.from_columns(columns, scales, metadata=metadata)


def _rows(utterances: list[str], own: tuple[str, ...] | list[str]) -> NDArray[np.int64]:
    """Return in which row of `own` each utterance is; -1 where it is in none."""
    row_of = {utterance: row for row, utterance in enumerate(own)}
    return np.array([row_of.get(utterance, -1) for utterance in utterances], np.int64)


def _rated_columns(rated: ConditionLabels | None, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Return the columns of one condition by kind, over all clips."""
    n = len(rows)
    if rated is None:
        return {
            "label": np.full(n, np.nan),
            "n": np.full(n, np.nan),
            "spread": np.full(n, np.nan),
            "class": np.full(n, None, dtype=object),
            "reason": np.full(n, NO_RATINGS, dtype=object),
        }
    methods = {"median": rated.median, "majority": rated.majority, **rated.weighed}
    if rated.scale.kind == "nominal":
        methods = {"share": rated.share, **rated.weighed}
    elif rated.scale.kind == "continuous":
        del methods["majority"]
    return {
        "label": _taken(rated.label, rows, absent=np.nan),
        "n": _taken(rated.n.astype(np.float64), rows, absent=0),  # NaN, where the label is shipped, becomes null
        "spread": _taken(rated.spread, rows, absent=np.nan),
        "class": _taken(rated.label_class, rows, absent=None),
        "reason": _taken(rated.reason, rows, absent=NO_RATINGS),
        **({} if not rated.n_noted else {"note": _taken(rated.note, rows, absent=None)}),
        **{n: _taken(v, rows, absent=None if v.dtype == object else np.nan) for n, v in methods.items()},
    }


def _taken(values: NDArray[Any], rows: NDArray[np.int64], *, absent: object) -> NDArray[Any]:
    """Return the values of `rows`; `absent` for row -1."""
    return np.append(values, np.array([absent], dtype=values.dtype))[rows]


def _add_shipped(
    own: dict[str, Any], shipped: LabelTable, rows: NDArray[np.int64], condition: str, *, prefer: str | None
) -> None:
    """Put the shipped labels, of which `rows` says each clip's row, into the columns of a condition."""
    given = _taken(shipped.values(condition), rows, absent=np.nan)
    is_given = _taken(shipped.labelled(condition), rows, absent=False)
    is_rated = np.array([reason is None for reason in own["reason"]], dtype=bool)
    both = np.flatnonzero(is_given & is_rated)
    if both.size and prefer is None:
        utterance = shipped.utterance_ids[rows[both[0]]]
        raise AnnotationError(
            f"{utterance} has a label for {condition} from annotators and from the table; "
            "give --prefer ratings or shipped"
        )
    taken = is_given & ~is_rated if prefer == "ratings" else is_given
    own["label"][taken] = given[taken]
    own["n"][taken] = own["spread"][taken] = np.nan
    classes = np.array(shipped.classes(condition), dtype=object)
    own["class"][taken] = _taken(classes, rows, absent=None)[taken]
    own["reason"][taken] = None
    if "note" in own:
        own["note"][taken] = None
    own["reason"][~is_given & ~is_rated & (own["reason"] == NO_RATINGS)] = NEITHER
