"""The clips of a run as a report shows them: truths, predictions, classes, what is wrong, what each modality adds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.classes import classes_of_values
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.report.document import Case

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale


ZERO_RULES = {  # what `sign_correct` takes 0 for
    "ch-sims": "A label of 0 counts as negative, as in Acc-2 of CH-SIMS: only what is above 0 is positive.",
    "mosi": "A label of 0 counts as positive, as in Acc-2 Has0 of MOSI: only what is below 0 is negative.",
}


def run_cases(frame: pd.DataFrame, family: Any, scale: Scale) -> list[Case]:
    """Return the clips of a run's predictions as cases."""
    from fmltk.model.metrics import sign_correct

    if family == "nominal":
        return _class_cases(frame)
    truths = {c: numbers_of(frame, f"truth_{c}") for c in CONDITIONS if f"truth_{c}" in frame}
    predictions = {c: numbers_of(frame, f"pred_{c}") for c in CONDITIONS if f"pred_{c}" in frame}
    classes = {c: classes_of_values(values, scale) for c, values in truths.items()}
    said = {c: classes_of_values(values, scale) for c, values in predictions.items()}
    wrong = {
        c: ~sign_correct(predictions[c], truths[c], family) & np.isfinite(predictions[c]) & np.isfinite(truths[c])
        for c in predictions
        if c in truths
    }
    return [
        Case(
            str(utterance),
            text=text,
            split=split or None,
            reason=reason,
            truths=_finite(truths, row),
            predictions=_finite(predictions, row),
            classes={c: name for c, names in classes.items() if (name := names[row]) is not None},
            predicted_classes={c: name for c, names in said.items() if (name := names[row]) is not None},
            wrong=[c for c, flags in wrong.items() if flags[row]],
            note=ZERO_RULES.get(family) if any(values[row] == 0 for values in truths.values()) else None,
        )
        for row, (utterance, text, split, reason) in enumerate(
            zip(*(_texts(frame, name) for name in ("utterance_id", "text", "split", "reason")), strict=True)
        )
    ]


def attributed_cases(run: Path, seed: int) -> list[Case]:
    """Return what the last `fmltk cases --attribution` found of this seed, if there was one."""
    from fmltk.model.attribution import read_attribution

    document = read_attribution(run)
    if document is None or document["seed"] != seed:
        return []
    known = {clip: {k: v for k, v in own.items() if v is not None} for clip, own in document["clips"].items()}
    return [Case(clip, shares=own) for clip, own in known.items() if own]


def _class_cases(frame: pd.DataFrame) -> list[Case]:
    """Return the clips of a run of classes: the true ones, and the conditions that are predicted wrong."""
    both = {c: list(zip(*class_words_of(frame, c), strict=True)) for c in CONDITIONS if f"pred_{c}" in frame}
    return [
        Case(
            str(utterance),
            text=text,
            split=split or None,
            reason=reason,
            classes={c: true for c, pairs in both.items() if (true := pairs[row][0]) is not None},
            predicted_classes={c: said for c, pairs in both.items() if (said := pairs[row][1]) is not None},
            wrong=[c for c, pairs in both.items() if None not in pairs[row] and pairs[row][0] != pairs[row][1]],
        )
        for row, (utterance, text, split, reason) in enumerate(
            zip(*(_texts(frame, name) for name in ("utterance_id", "text", "split", "reason")), strict=True)
        )
    ]


def _texts(frame: pd.DataFrame, column: str) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in frame[column]]


def _finite(values: Mapping[str, NDArray[np.float64]], row: int) -> dict[str, float]:
    return {name: float(own[row]) for name, own in values.items() if math.isfinite(own[row])}


def numbers_of(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Return a column of truths or predictions, float64 (n,), NaN where there is none."""
    values: NDArray[np.float64] = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def class_words_of(frame: pd.DataFrame, condition: str) -> tuple[list[str | None], list[str | None]]:
    """Return the true and the predicted classes of a condition."""
    return _texts(frame, f"truth_{condition}"), _texts(frame, f"pred_{condition}")
