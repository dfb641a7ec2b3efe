"""The contribution of each modality to the prediction of M of single clips, found by leaving one out.

A modality's share is the prediction of a clip as it is, less that with the mean of the training clips' steps instead of
the modality, as `fmltk evaluate --drop` replaces it. The shares need not add up: what two modalities say alike is lost
with neither alone, and what they say together is lost with each.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.compute import one_thread
from fmltk.model.evaluation import evaluation_split
from fmltk.model.nominal import class_words, decided
from fmltk.model.predict import TrainedModel
from fmltk.model.robustness import Disturbance, disturbed
from fmltk.model.run_folder import read_kept, read_predictions, run_document, run_summary
from fmltk.model.tasks import condition_predictions
from fmltk.toolkit.errors import ConfigError, StoreError, advised
from fmltk.toolkit.io.documents import write_json
from fmltk.toolkit.machine import check_device

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

ATTRIBUTION_FILE = "attribution.json"  # of a run folder: the last call's shares, which its report shows
TOLERANCE = 1e-3  # between what the run saved and what its model says of the same features on another device
_SHAPE = {"seed": int, "clips": {"*": {"*": (float, int, type(None))}}}
_damaged = advised(StoreError, "run the same `fmltk cases --attribution` again")


def clip_attributions(
    run: Path, *, seed: int, split: str, features: Path | None = None, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Return by utterance_id and letter what each modality that the model reads adds to M; NaN where M is unknown.

    For intensities it is a difference on the labels' scale, for classes one of the predicted class's probability.

    features : the folder that the run was trained on, where it lies elsewhere now

    Raises ConfigError if the features are not those of the run.
    """
    check_device(device)
    split = evaluation_split(run_summary(run), split)
    folder = features or Path(run_document(run)["features"])
    model = TrainedModel.from_run(run, seed=seed)
    clips = model.read(folder)
    saved = read_predictions(run, seed).set_index("utterance_id")
    is_train = (saved["split"].reindex(clips.utterance_ids) == "train").to_numpy()

    def predictions_of_m(how: Disturbance) -> NDArray[np.float64]:
        changed = disturbed(clips, how, is_train) if how.letters else clips
        return condition_predictions(model.spec, model.predict_features(changed, device=device))["M"]

    with one_thread():
        whole = predictions_of_m(Disturbance())
        _check_same(whole, saved, clips.utterance_ids, names=model.scale.names, folder=folder)
        shares = {letter: _share(whole, predictions_of_m(Disturbance((letter,)))) for letter in model.schema}
    row_of = {utterance: row for row, utterance in enumerate(clips.utterance_ids)}
    wanted = saved.index[saved["split"] == split]
    return {
        utterance: {letter: float(values[row_of[utterance]]) for letter, values in shares.items()}
        for utterance in wanted
    }


def _share(whole: NDArray[np.float64], without: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is lost, (n,): of probabilities (n, n_classes) that of the class which is predicted as it is."""
    lost: NDArray[np.float64] = whole - without
    if whole.ndim == 1:
        return lost
    likeliest = np.nan_to_num(whole).argmax(axis=1)
    of_class: NDArray[np.float64] = lost[np.arange(len(lost)), likeliest]
    return of_class


def _check_same(
    found: NDArray[np.float64], saved: pd.DataFrame, clips: tuple[str, ...], *, names: tuple[str, ...], folder: Path
) -> None:
    """Raise ConfigError if the model says other things of these features than it said of the run's.

    Clips to train on are left out: with fusion_inputs = "cross-fit" the run predicts them from other H.
    """
    remedy = "give the folder that the run was trained on with --features"
    absent = saved.index.difference(list(clips))
    if len(absent):
        raise ConfigError(
            f"{folder} lacks {len(absent)} of the run's {len(saved)} clips, such as {absent[0]}; {remedy}"
        )
    own = saved.reindex(list(clips))
    if names:
        same = np.array([a == b for a, b in zip(class_words(decided(found), names), own["pred_M"], strict=True)])
        same |= own["pred_M"].isna().to_numpy() & np.isnan(decided(found))
    else:
        before = own["pred_M"].to_numpy(dtype=np.float64, na_value=np.nan)
        same = np.isclose(found, before, rtol=0, atol=TOLERANCE, equal_nan=True)
    other = np.flatnonzero(~same & own["split"].notna().to_numpy() & (own["split"] != "train").to_numpy())
    if len(other):
        raise ConfigError(
            f"{folder} is not what the run was trained on: of {clips[other[0]]} and {len(other) - 1} other clips its "
            f"model now predicts something else; {remedy}"
        )


def read_attribution(run: Path) -> dict[str, Any] | None:
    """Return the last call's seed and shares; None where there was none. Raises StoreError if it is broken."""
    return read_kept(run / ATTRIBUTION_FILE, _SHAPE, _damaged)


def write_attribution(
    run: Path, *, seed: int, split: str, features: Path | None = None, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Return `clip_attributions`, and keep them for the run's report."""
    shares = clip_attributions(run, seed=seed, split=split, features=features, device=device)
    write_json(run / ATTRIBUTION_FILE, {"seed": seed, "clips": shares}, indent=1)
    return shares


def attribution_columns(
    shares: Mapping[str, Mapping[str, float]], clips: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Return the columns' names and the cells of some clips; an unknown share is empty.

    >>> attribution_columns({"a": {"T": 0.25, "A": float("nan")}}, ["a"])
    (['T adds', 'A adds'], [['+0.25', '']])
    """
    letters = list(next(iter(shares.values()), {}))
    cells = [[f"{shares[clip][letter]:+.2f}".replace("+nan", "") for letter in letters] for clip in clips]
    return [f"{letter} adds" for letter in letters], cells
