"""The part of `fmltk` for training and prediction, where a user's types are wider than the packages' own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fmltk._reporting import python_warnings
from fmltk.model import run as training
from fmltk.model.config import as_config, default_preset
from fmltk.model.evaluation import evaluation_split
from fmltk.model.metrics import metric_names
from fmltk.model.options import RunOptions
from fmltk.model.predict import TrainedModel, load_model
from fmltk.model.raw import predict_source
from fmltk.model.run_folder import run_seeds, run_summary
from fmltk.toolkit.features.label_file import as_labels, find_labels
from fmltk.toolkit.settings import ReadingOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from fmltk.model.settings import Settings
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.speech.settings import TranscriptionSettings


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """A run folder with finished seeds, as `train` returns it; accepted wherever a run's path is."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, run_seeds(self.path)))
        table = self.scores().to_string(index=False, float_format="{:.3f}".format)
        return f"<{self.path}: a training run, seeds {seeds}>\n{table}"

    def _repr_html_(self) -> str:
        return str(self.scores().to_html(index=False, border=0, float_format="{:.3f}".format))

    def model(self, seed: int | None = None) -> TrainedModel:
        """Return the model of one seed; by default of the one that is best on validation."""
        return load_model(self.path, seed=seed)

    def scores(self, split: str = "test") -> pd.DataFrame:
        """Return a row per stage and task: n, and every metric's mean over the seeds.

        Parameters
        ----------
        split
            "train", "valid" or "test"; validation where the data have no test split.
        """
        summary = run_summary(self.path)
        split = evaluation_split(summary, split)
        rows = []
        for task in summary["tasks"].values():
            scores = task["splits"][split]
            means = {name: scores["metrics"][name]["mean"] for name in metric_names(summary["family"])}
            rows.append({**{name: task[name] for name in ("stage", "task", "labels")}, "n": scores["n"], **means})
        return pd.DataFrame(rows)


def train(
    features: str | os.PathLike[str],
    labels: str | os.PathLike[str] | pd.DataFrame | None,
    out: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | Mapping[str, object] | Settings | None = None,
    scale: str | None = None,
    exclude: str | os.PathLike[str] | None = None,
    seeds: int | Sequence[int] = 1,
    jobs: int = 0,
    device: str = "cpu",
    text_model: str | None = None,
    reporter: Reporter | None = None,
) -> TrainedRun:
    """Train FmlMSN, or another model, on a feature folder; the same call continues a run that was stopped.

    Parameters
    ----------
    features
        A feature folder or its FeatureSet.
    labels
        Labels as `aggregate` returns them, a file of labels, or None: labels.parquet in the folder or next to it.
    out
        The run folder, such as "runs/first".
    config
        A preset's name (ch-sims, mosi-aligned, mosi-unaligned, mosei-aligned, mosei-unaligned), a TOML file, or a dict
        of settings such as ``{"preset": "ch-sims", "lr": 0.002, "model": "lf-dnn"}``. None: the preset for the labels'
        scale.
    scale
        The scale of labels that do not state it, such as "1..5", or "nominal" where numbers stand for classes; None:
        the one that they fit.
    exclude
        A table of clips to leave out, such as that of `fmltk curate` with its decisions.
    seeds
        How many seeds are trained, or which.
    jobs
        Worker processes; 0 trains in this process. A script that asks for workers needs
        ``if __name__ == "__main__":`` around its calls.
    device
        "cpu", "cuda" or "cuda:1".
    text_model
        Name or folder of the text model that misa and self-mm train; None: the one that the features name.
    reporter
        Receives progress and warnings; None: warnings become Python's.

    Returns
    -------
    TrainedRun
        Its `scores`, and the `model` of a seed. Single stages, or the H of an earlier run, are arguments of
        `fmltk.model.run.train`.

    Raises
    ------
    ConfigError
        If the data or the settings do not fit, also if `out` has a run of other data or settings.
    TrainingError
        If a loss is not finite or the multimodal predictions are constant.

    Examples
    --------
    >>> run = train("features", "labels.parquet", "runs/tiny", config={"lr": 0.01, "bs": 4, "max_epochs": 10})
    >>> run.scores()[["stage", "task", "n"]].tail(1)
        stage task  n
    9  fusion    M  3
    >>> run.model()
    FmlMSN: stages AV, AT, VT, fusion; scores M, T, A, V, AT, VT, AV on -1..1
      reads text of 384 features x 8 steps, audio of 33 features x 8 steps, vision of 33 features x 8 steps
      ... weights; clips: 6 train, 3 valid, 3 test
    """
    folder = Path(features)
    label_file = find_labels(folder) if labels is None else labels
    table = as_labels(label_file, scale=scale)
    with python_warnings(reporter) as own:
        training.train(
            folder,
            label_file if scale is None else table,
            out=out,
            config=as_config(config, default=default_preset(table.scale)),
            exclude=exclude,
            options=RunOptions(
                seeds=tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
                jobs=jobs,
                device=device,
                text_model=text_model,
            ),
            reporter=own,
        )
    return TrainedRun(Path(out))


def predict(
    model: str | os.PathLike[str] | TrainedModel,
    source: str | os.PathLike[str],
    *,
    seed: int | None = None,
    transcripts: str | os.PathLike[str] | None = None,
    encoding: str | None = None,
    language: str | None = None,
    turns: str | os.PathLike[str] | None = None,
    openface: str = "auto",
    asd: str | os.PathLike[str] | None = None,
    transcription: TranscriptionSettings | None = None,
    text_model: str | None = None,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> pd.DataFrame:
    """Return seven scores and classes per clip.

    Parameters
    ----------
    model
        A run (its folder, or what `train` returns), a folder that `save_pretrained` wrote, or a model.
    source
        A feature folder or its FeatureSet, or raw clips: a video or a folder of them, whose features are extracted with
        the model's own settings.
    seed
        Which seed of a run; by default the one that is best on validation.
    transcripts, encoding, language, turns, openface, asd, transcription
        For raw clips, as `extract` takes them.
    text_model
        The folder of the model's text model, where its name alone does not find it.
    device
        "cpu", "cuda" or "cuda:1".
    reporter
        Receives progress and warnings; None: warnings become Python's.

    Returns
    -------
    DataFrame
        utterance_id, video_id, clip_id, text, score_M, class_M and so on for every condition, and reason: why a clip
        has no score, which is NaN then and never 0.

    Raises
    ------
    ConfigError
        If the features are not what the model was trained on; what differs is named.

    Examples
    --------
    >>> run = train("features", "labels.parquet", "runs/tiny", config={"lr": 0.01, "bs": 4, "max_epochs": 10})
    >>> scores = predict(run, "features")
    >>> scores.shape, scores["score_M"].notna().sum()
    ((12, 19), np.int64(12))
    """
    if not isinstance(model, TrainedModel):
        model = load_model(model, seed=seed)
    with python_warnings(reporter) as own:
        return predict_source(
            model,
            Path(source),
            transcripts=None if transcripts is None else Path(transcripts),
            reading=ReadingOptions(encoding=encoding, language=language),
            turns=None if turns is None else Path(turns),
            openface=openface,
            asd=None if asd is None else Path(asd),
            transcription=transcription,
            text_model=text_model,
            device=device,
            reporter=own,
        )
