"""The part of `fmltk` for ratings and labels: data frames in and out; the rules are those of fmltk.annotation."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fmltk._reporting import python_warnings
from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.agreement import LEVELS
from fmltk.annotation.agreement import agreement as measure_agreement
from fmltk.annotation.clip_list import read_clip_list
from fmltk.annotation.importing import import_files
from fmltk.annotation.importing.frames import ratings_of_frame
from fmltk.annotation.importing.records import REASONS
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.option_texts import parse_dimensions
from fmltk.annotation.raters import RaterNames, read_rater_list
from fmltk.annotation.ratings import RATINGS_SCHEMA, dimensions_of, of_dimension, part_name, read_ratings
from fmltk.annotation.settings import N_BOOTSTRAP, PANEL_SIZE, ImportOptions, Policy
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, Scale
from fmltk.toolkit.features.label_file import write_labels
from fmltk.toolkit.io.outputs import ScratchFolder, hold_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from fmltk.toolkit.console import Reporter


def import_ratings(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    condition: str | None = None,
    scale: str = str(CH_SIMS_SCALE),
    label_values: Mapping[str, int] | None = None,
    dimensions: Mapping[str, str] | None = None,
    raters: str | os.PathLike[str] | None = None,
    drop_unknown: bool = False,
    keep_identities: bool = False,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Read annotators' exports, or plain tables of ratings, into one table: a row per clip, condition and annotator.

    Parameters
    ----------
    paths
        One file or several: exports of Label Studio (JSON, JSON_MIN, CSV, TSV), a long table (utterance_id, condition,
        annotator, value), a wide one (utterance_id, condition, one column per annotator), or a ratings.parquet.
    out
        File to which the ratings are also written, such as "ratings.parquet", with a report and every dropped
        annotation next to it; ratings that it has already are kept and the new ones are added.
    condition
        Condition of files that do not say theirs: M, T, A, V, AT, VT or AV.
    scale
        Answers that annotators chose from, where a file does not say it: "-1..1" in whole steps, "0..100:continuous"
        for decimals and sliders, "happy|sad|angry" or "nominal" for words without order.
    label_values
        Words that stand for numbers, such as ``{"Negative": -1}``.
    dimensions
        The columns of a long table, or the controls of a page, by the dimension that they rate, such as
        ``{"valence": "V", "arousal": "A"}``.
    raters
        A CSV with the columns id and rater: one name per annotator; whoever is not listed is refused.
    drop_unknown
        Leave out and count answers that are not on the scale, instead of refusing the file.
    keep_identities
        Keep e-mail addresses, which otherwise become pseudonyms.
    overwrite
        Start `out` again instead of adding to it.

    Returns
    -------
    DataFrame
        The ratings, with the columns of ratings.parquet (docs/data-format.md). A UserWarning counts what was dropped,
        and why; ``ratings.attrs["report"]`` has all of it.

    Raises
    ------
    AnnotationError
        If a file cannot be read, gives no rating, or contradicts another.

    Examples
    --------
    >>> ratings = import_ratings("ratings.csv")
    >>> ratings[["utterance_id", "condition", "annotator", "value"]].head(3)
            utterance_id condition annotator  value
    0  video_0001$_$0001        AT   rater 1    1.0
    1  video_0001$_$0001        AT   rater 2    1.0
    2  video_0001$_$0001        AT   rater 3    0.0
    """
    names = RaterNames(
        listed=None if raters is None else read_rater_list(Path(raters)), keep_identities=keep_identities
    )
    options = ImportOptions(
        condition=condition,
        default_scale=Scale.parse(scale),
        label_values=label_values or {},
        dimensions=parse_dimensions(f"{name}={column}" for name, column in (dimensions or {}).items()),
        drop_unknown=drop_unknown,
        names=names,
    )
    files = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    with ScratchFolder() as temporary:
        target = temporary / "ratings.parquet" if out is None else Path(out)
        report = import_files.import_ratings(files, target, options, overwrite=overwrite)
        ratings: pd.DataFrame = read_ratings(target).cast(RATINGS_SCHEMA).to_pandas()
    with python_warnings(None) as reporter:
        _warn_of_dropped(report.dropped, reporter)
    ratings.attrs["report"] = report.as_dict()
    return ratings


def aggregate(
    ratings: pd.DataFrame | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    scale: str = str(CH_SIMS_SCALE),
    panel: int = PANEL_SIZE,
    at_least: int | None = None,
    more: str = "null",
    nearest: bool = True,
    also: Sequence[str] = (),
    dimension: str | None = None,
    clips: str | os.PathLike[str] | None = None,
    adjudicators: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one label per clip and condition: the mean of a whole panel of annotators, its class, its spread.

    On a scale of words without order the label is the most frequent word, and stands in class_AT.

    Parameters
    ----------
    ratings
        A data frame with the columns utterance_id, condition, annotator, value, and optionally status (rated, skipped,
        empty, draft), scale and dimension; or a ratings.parquet.
    out
        File to which the labels are also written, such as "labels.parquet".
    scale
        Answers that annotators chose from, where the ratings do not say it, as `import_ratings` takes it.
    panel, at_least
        How many ratings a whole panel has, and how many are enough; None: exactly `panel`.
    more
        With more ratings than a panel: "null" no label, "first" the mean of the first, "all" the mean of all.
    nearest
        Whether a mean between the paper's eleven values has the class of its interval; otherwise it has none.
    also
        Labels weighed by the annotators' reliability to give as well: "evaluator_weighted", and with crowd-kit
        (``fmltk[reliability]``) "dawid_skene", "mace", "glad".
    dimension
        The one to make labels of, where the ratings are of several.
    clips
        The clips that annotators were given: the folder that `annotation prepare` or `extract` wrote, or a table with
        their ids. Those that nobody rated then have a row with the reason, and others are named in a UserWarning.
    adjudicators
        Supervisors: their value is the label where there is one, and never one of the panel; the first counts most.

    Returns
    -------
    DataFrame
        A row per clip with, for each condition that was rated, label_AT, class_AT, n_AT, spread_AT, reason_AT (why
        there is no label), median_AT, majority_AT, and note_AT (who adjudicated) where anybody did. A label that cannot
        be given is NaN, never 0.

    Raises
    ------
    AnnotationError
        If a column is missing, a row does not give a rating (the row is named), or there are several dimensions and
        none is chosen.

    Examples
    --------
    >>> ratings = pd.read_csv("ratings.csv")
    >>> aggregate(ratings)[["utterance_id", "label_AT", "class_AT", "n_AT"]]
            utterance_id  label_AT class_AT  n_AT
    0  video_0001$_$0001       0.8       PS     5
    1  video_0001$_$0002      -0.6       WN     5
    2  video_0001$_$0003       0.0       NU     5
    """
    policy = Policy(panel=panel, at_least=at_least, more=more, nearest=nearest, adjudicators=tuple(adjudicators))
    with python_warnings(None) as reporter:
        table = _ratings_table(ratings, scale, reporter)
        listed = (
            None if clips is None else read_clip_list(Path(clips), table.column("utterance_id").unique().to_pylist())
        )
        for warning in listed.warnings() if listed else ():
            reporter.warn(warning)
    if dimension is not None:
        table = of_dimension(table, dimension)
    aggregated = aggregate_ratings(table, policy, also=also, clips=listed.ids if listed else None)
    labels = join_labels(aggregated, None, metadata={"policy": asdict(policy)})
    if out is not None:
        with hold_file(Path(out)):
            write_labels(labels, Path(out))
    unrated = tuple(f"_{condition}" for condition in CONDITIONS if condition not in labels.scales)
    frame: pd.DataFrame = labels.table.to_pandas()
    frame = frame[[name for name in frame.columns if not name.endswith(unrated)]]
    frame.attrs["scales"] = {condition: str(own) for condition, own in labels.scales.items()}
    return frame


def agreement(
    ratings: pd.DataFrame | str | os.PathLike[str],
    *,
    scale: str = str(CH_SIMS_SCALE),
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how far annotators agree, one row per condition.

    Parameters
    ----------
    ratings, scale
        As `aggregate` takes them.
    n_bootstrap, seed
        Resamples of the clips that the intervals are drawn from.

    Returns
    -------
    DataFrame
        By condition, or condition and dimension ("M valence"): clips, raters, ratings; Krippendorff's alpha at three
        levels, each with the ends of its 95 % interval, as alpha_ordinal, alpha_ordinal_low, alpha_ordinal_high;
        fleiss_kappa, weighted_kappa (Cohen's, mean over pairs of annotators), icc_2k and percent_agreement. NaN where a
        measure is undefined, or does not fit the scale.

    Raises
    ------
    AnnotationError
        If a column is missing or a row does not give a rating; the row is named.

    Examples
    --------
    >>> agreement(pd.read_csv("ratings.csv"))[["clips", "raters", "alpha_ordinal", "percent_agreement"]].round(3)
               clips  raters  alpha_ordinal  percent_agreement
    condition
    AT             3       5          0.484              0.433
    """
    with python_warnings(None) as reporter:
        table = _ratings_table(ratings, scale, reporter)
    rows: dict[str, dict[str, object]] = {}
    for dimension in dimensions_of(table):
        measures = measure_agreement(of_dimension(table, dimension), n_bootstrap=n_bootstrap, seed=seed)
        rows |= {part_name(condition, dimension): _flat(entry) for condition, entry in measures.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("condition")


def _flat(entry: Mapping[str, Any]) -> dict[str, object]:
    """Return the measures of one condition with one name each."""
    row: dict[str, object] = {name: entry[name] for name in ("clips", "raters", "ratings", "scale")}
    for level in LEVELS:
        alpha = entry[f"alpha_{level}"]
        row[f"alpha_{level}"] = alpha["alpha"]
        row |= {f"alpha_{level}_{end}": alpha[end] for end in ("low", "high")}
    row |= {"fleiss_kappa": entry["fleiss_kappa"]["kappa"], "weighted_kappa": entry["weighted_kappa"]["mean"]}
    return row | {"icc_2k": entry["icc_2k"]["icc"], "percent_agreement": entry["percent_agreement"]}


def _ratings_table(ratings: pd.DataFrame | str | os.PathLike[str], scale: str, reporter: Reporter) -> pa.Table:
    if not isinstance(ratings, pd.DataFrame):
        return read_ratings(Path(ratings))
    merged = ratings_of_frame(ratings, scale=Scale.parse(scale))
    _warn_of_dropped(merged.dropped, reporter)
    return merged.table


def _warn_of_dropped(dropped: Mapping[str, int], reporter: Reporter) -> None:
    if dropped:
        reasons = "; ".join(f"{count} {reason}: {REASONS[reason]}" for reason, count in sorted(dropped.items()))
        reporter.warn(f"not every annotation counts: {reasons}")
