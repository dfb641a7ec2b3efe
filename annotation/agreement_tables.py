"""Agreement, raters and disputed clips as tables: columns and rows, for the command line and for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.annotation.agreement import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Rows = list[tuple[object, ...]]
AGREEMENT_COLUMNS = (
    *("condition", "clips", "annotators", "ratings", *(f"alpha {level}" for level in LEVELS)),
    *("Fleiss' kappa", "on clips", "weighted kappa", "ICC(2,k)", "of annotators", "agreement"),
)
_FIGURES = ("rated", "skipped", "empty", "draft", "skip_share", "bias", "spread", "correlation", "kappa", "seconds")
RATER_COLUMNS = ("condition", "annotator", *(name.replace("_", " ") for name in _FIGURES), "suspicious")
DISPUTED_COLUMNS = ("condition", "clip", "ratings", "mean", "spread")


def agreement_rows(measures: Mapping[str, Mapping[str, Any]]) -> Rows:
    """Return one row per condition of what `agreement` measured; None where a measure is undefined."""
    return [
        (
            condition,
            *(entry[name] for name in ("clips", "raters", "ratings")),
            *(_with_interval(entry[f"alpha_{level}"]) for level in LEVELS),
            entry["fleiss_kappa"]["kappa"],
            f"{entry['fleiss_kappa']['clips']} x {entry['fleiss_kappa']['ratings_per_clip']}",
            entry["weighted_kappa"]["mean"],
            entry["icc_2k"]["icc"],
            f"{entry['icc_2k']['clips']} x {entry['icc_2k']['raters']}",
            entry["percent_agreement"],
        )
        for condition, entry in measures.items()
    ]


def _with_interval(entry: Mapping[str, float]) -> str | None:
    if entry["alpha"] != entry["alpha"]:
        return None
    return f"{entry['alpha']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def rater_rows(raters: Mapping[str, Sequence[Mapping[str, Any]]]) -> Rows:
    """Return one row per condition and rater of the entries of `rater_quality`."""
    return [
        (condition, entry["rater"], *(entry[name] for name in _FIGURES), ", ".join(entry["patterns"]))
        for condition, entries in raters.items()
        for entry in entries
    ]


def disputed_rows(disputed: Mapping[str, Sequence[Mapping[str, Any]]]) -> Rows:
    """Return one row per condition and clip of the items of `most_disputed`."""
    return [
        (
            condition,
            item["utterance_id"],
            ", ".join(f"{count} x {value}" for value, count in item["ratings"].items()),
            item["mean"],
            item["spread"],
        )
        for condition, items in disputed.items()
        for item in items
    ]
