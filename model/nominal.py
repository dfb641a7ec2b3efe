"""Labels that are words, such as emotions: their numbers, what is predicted of them, and how each class fares.

Inside a run a class is its number, float64 so that NaN can say that there is none; a prediction is the probability of
each class. Files and tables have the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.conditions import CONDITIONS, NAME_SEPARATOR, Scale
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.label_table import LabelTable

CLASS_COLUMNS = ("class", "n", "predicted", "precision", "recall", "F1")


def learned_labels(labels: LabelTable) -> tuple[dict[str, NDArray[np.float64]], Scale]:
    """Return every condition's labels, float64 (n,), NaN where there is none, and the scale of all of them.

    Labels that are words become the numbers of their classes; conditions with other words share one list of classes.

    Raises ConfigError if some conditions have words and others numbers, or there are fewer than two classes.
    """
    kinds = {c: labels.scales[c].kind == "nominal" for c in CONDITIONS if labels.labelled(c).any()}
    if not any(kinds.values()):
        return {condition: labels.values(condition) for condition in CONDITIONS}, labels.scale
    if not all(kinds.values()):
        words, others = (", ".join(c for c, is_word in kinds.items() if is_word is kind) for kind in (True, False))
        raise ConfigError(
            f"the labels of {words} are words and those of {others} numbers; a model learns one kind: leave the "
            "columns of the other kind out of the table"
        )
    named = [name for condition in kinds for name in labels.scales[condition].names]
    found = sorted({name for condition in kinds for name in labels.classes(condition) if name is not None})
    names = tuple(dict.fromkeys([*named, *found]))
    bad = [name for name in names if NAME_SEPARATOR in name]
    if len(names) < 2 or bad:
        what = f"the class {bad[0]!r} has a {NAME_SEPARATOR}" if bad else f"every label is {names[0]!r}"
        raise ConfigError(f"{what}; a model learns two or more classes without {NAME_SEPARATOR} in their names")
    none = np.full(labels.table.num_rows, np.nan)
    numbers = {c: labels.class_numbers(c, names) if c in kinds else none for c in CONDITIONS}
    return numbers, Scale.nominal(names)


def missing_classes(names: Sequence[str], labels: NDArray[np.float64], splits: NDArray[np.str_]) -> list[str]:
    """Return in words which classes the clips to train on, or to validate on, do not have."""
    remarks = []
    for split, so in (("train", "no model can predict it"), ("valid", "how well it is predicted stops no training")):
        absent = [name for k, name in enumerate(names) if not np.any(labels[splits == split] == k)]
        if absent:
            named = ", ".join(f"{name} ({int(np.sum(labels == names.index(name)))} elsewhere)" for name in absent)
            remarks.append(f"no clip of the {split} split has the class {named}: {so}")
    return remarks


def decided(predictions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is predicted, (n,): intensities as they are; of probabilities (n, n_classes) the likeliest class.

    >>> decided(np.array([[0.2, 0.8], [np.nan, np.nan]])).tolist()
    [1.0, nan]
    """
    if predictions.ndim == 1:
        return predictions
    known = np.isfinite(predictions).all(axis=1)
    likeliest: NDArray[np.float64] = np.where(known, np.nan_to_num(predictions).argmax(axis=1), np.nan)
    return likeliest


def class_words(numbers: NDArray[np.float64], names: Sequence[str]) -> list[str | None]:
    """Return the class of each number; None where it is NaN.

    >>> class_words(np.array([1.0, np.nan]), ("calm", "angry"))
    ['angry', None]
    """
    return [names[int(number)] if np.isfinite(number) else None for number in numbers]


def class_numbers(words: Sequence[object], names: Sequence[str], *, source: str) -> NDArray[np.float64]:
    """Return the number of each class, float64 (n,), NaN without a text.

    Raises ConfigError, which names the source, for a word that is not a class.
    """
    number_of = {name: float(number) for number, name in enumerate(names)}
    texts = [word.strip() if isinstance(word, str) else "" for word in words]
    unknown = next((text for text in texts if text and text not in number_of), None)
    if unknown is not None:
        raise ConfigError(f"{source}: {unknown!r} is not one of the classes {', '.join(names)}")
    return np.array([number_of[text] if text else np.nan for text in texts], np.float64)


def count_pairs(predicted: NDArray[np.float64], true: NDArray[np.float64], n_classes: int) -> NDArray[np.int64]:
    """Return how many clips of each true class (row) were predicted as each class (column), (n_classes, n_classes)."""
    pairs = true.astype(np.int64) * n_classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def class_table(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row per class: how often it is true and predicted, precision, recall, F1; NaN where undefined.

    confusion : see `count_pairs`

    >>> class_table([[3, 1], [0, 0]], ("calm", "angry"))[0]
    {'class': 'calm', 'n': 4, 'predicted': 3, 'precision': 1.0, 'recall': 0.75, 'F1': 0.857...}
    """
    counts = np.asarray(confusion, np.int64)
    rows = []
    for k, name in enumerate(names):
        hits, n, predicted = int(counts[k, k]), int(counts[k].sum()), int(counts[:, k].sum())
        shares = [hits / total if total else float("nan") for total in (predicted, n)]
        f1 = 2 * hits / (n + predicted) if n + predicted else float("nan")
        rows.append(dict(zip(CLASS_COLUMNS, (name, n, predicted, *shares, f1), strict=True)))
    return rows
