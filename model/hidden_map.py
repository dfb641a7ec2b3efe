"""H, the hidden activations that the fusion reads of its stages, as a map of two principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.metrics import sign_correct
from fmltk.model.registry import HIDDEN_PREFIX
from fmltk.model.run_folder import HIDDEN_FILE, read_hidden, seed_folder
from fmltk.toolkit.classes import class_names, classes_of_values
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.report import planes
from fmltk.toolkit.report.document import Remark

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.model.metrics import Family
    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.report.document import Block

SIGNS = ("negative", "zero", "positive")  # the colours where a scale of numbers has no classes
HALVES = ("lower half", "upper half")  # where it has no signs either


def principal_plane(
    train: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return values (n, d) on the first two principal components of train (n_train, d), (n, 2), and their shares.

    A share is the part of the variance of `train` along a component, 0 to 1; NaN where its rows are all the same. A
    component points to where its largest weight is positive, so that the same H always make the same map.

    >>> points, shares = principal_plane(np.array([[0.0, 0.0], [0.0, 4.0], [1.0, 2.0]]), np.array([[0.0, 5.0]]))
    >>> points.round(2).tolist(), [round(share, 2) for share in shares]
    ([[3.0, -0.33]], [0.92, 0.08])
    """
    centre = train.mean(axis=0)
    _, sizes, axes = np.linalg.svd(train - centre, full_matrices=False)
    largest = np.abs(axes[:2]).argmax(axis=1)
    axes = axes[:2] * np.sign(axes[[0, 1], largest])[:, None]  # (2, d)
    total = float(np.sum(sizes**2))
    first, second = (float(size) ** 2 / total if total else float("nan") for size in sizes[:2])
    return (values - centre) @ axes.T, (first, second)


def hidden_blocks(run: Path, seed: int, part: pd.DataFrame, family: Family, scale: Scale) -> list[Block]:
    """Return the map of H of a seed, and how to read it; nothing where the model has no H.

    part : predictions of the clips to show; the axes are those of the clips that were trained on
    """
    hidden = read_hidden(run, seed)
    if hidden is None:
        return []
    columns = [name for name in map(str, hidden.columns) if name.startswith(HIDDEN_PREFIX)]
    row_of = {utterance: row for row, utterance in enumerate(hidden["utterance_id"])}
    try:
        values = np.hstack([np.stack(hidden[name].tolist()).astype(np.float64) for name in columns])  # (n, d)
        rows = np.array([row_of[utterance] for utterance in part["utterance_id"]], np.int64)
    except (KeyError, ValueError) as error:
        raise StoreError(
            f"{seed_folder(run, seed) / HIDDEN_FILE} is damaged: it has not one H of one size for every clip; run the "
            "same `fmltk train` again"
        ) from error
    known = np.asarray(np.isfinite(values).all(axis=1), bool)
    train = values[known & (hidden["split"] == "train").to_numpy()]
    if min(train.shape) < 2:
        return []
    names, groups, wrong = _classes_of(part, family, scale)
    shown = known[rows] & np.array([group is not None for group in groups], bool)
    points, shares = principal_plane(train, values[rows[shown]])
    what = "class" if family == "nominal" else "sign"
    stages = ", ".join(name.removeprefix(HIDDEN_PREFIX) for name in columns)
    if not np.isfinite(shares).all():
        return [Remark(f"H, which the fusion reads of {stages}, is the same for every training clip", "bad")]
    title = f"Map of H, which the fusion reads of {stages}, seed {seed}"
    n_left = int(np.sum(~shown))
    left_out = f" Left out: {counted(n_left, 'clip')} without H, label or prediction." if n_left else ""
    chart = planes.class_map(
        title,
        points,
        names=names,
        groups=[group for group, is_shown in zip(groups, shown, strict=True) if is_shown and group is not None],
        wrong=wrong[shown],
        wrong_label=f"wrong {what}",
        labels=[f"component {k}: {share:.0%} of the variance" for k, share in enumerate(shares, 1)],
        reading=f"Each clip's {values.shape[1]} numbers are seen along the two directions in which those of the "
        f"{len(train):,} training clips vary most, {sum(shares):.0%} of their variance. Clips that lie close are "
        "alike to the fusion along these two. The colour is the true class; a cross is a prediction of the wrong "
        f"{what}. Crosses among another colour: the stages give little to tell them apart by.{left_out}",
    )
    return [chart]


def _classes_of(
    part: pd.DataFrame, family: Family, scale: Scale
) -> tuple[tuple[str, ...], list[str | None], NDArray[np.bool_]]:
    """Return the classes, each clip's true one (None where M has no truth or no prediction), and who is wrong."""
    if family == "nominal":
        both = part["truth_M"].notna() & part["pred_M"].notna()
        groups = [truth if has_both else None for truth, has_both in zip(part["truth_M"], both, strict=True)]
        return scale.names, groups, (part["truth_M"] != part["pred_M"]).to_numpy()
    labels, predicted = (part[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("truth_M", "pred_M"))
    truth = np.where(np.isfinite(predicted), labels, np.nan)
    names = class_names(scale)
    if names:
        groups = classes_of_values(truth, scale).tolist()
    elif not scale.has_signs:
        names = HALVES
        middle = (scale.low + scale.high) / 2
        groups = [HALVES[int(value > middle)] if np.isfinite(value) else None for value in truth]
    else:
        names = SIGNS
        groups = [SIGNS[int(np.sign(value)) + 1] if np.isfinite(value) else None for value in truth]
    return names, groups, ~sign_correct(predicted, truth, family)
