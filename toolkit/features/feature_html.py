"""A feature folder's view in a notebook: clips, modalities, lengths and failures.

The tables are pandas' own, so the notebook's theme decides how they look, in light and in dark.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.counted import counted
from fmltk.toolkit.features.clip_row import FAILED, STATUSES, further_sets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmltk.toolkit.features.sequences import ModalityTable
    from fmltk.toolkit.io.paths import AnyPath

LISTED_FAILURES = 10


def shown_columns(keys: Iterable[str]) -> list[str]:
    """Return the manifest's columns that are shown: of the whole clip, and of these feature sets."""
    kinds = _kinds(keys)
    return ["utterance_id", *(f"{kind}{name}" for kind in kinds for name in ("status", "error_class", "error_message"))]


def feature_html(path: AnyPath, manifest: pd.DataFrame, modalities: Mapping[str, ModalityTable]) -> str:
    """Return a feature folder as HTML; names, ids and messages come from files and are escaped.

    manifest : a row per clip, with at least the columns `shown_columns` of the modalities and further sets
    """
    keys = (*MODALITIES, *further_sets(manifest.columns))
    counts = manifest["status"].value_counts()
    held = ", ".join(f"{counts[status]} {status}" for status in STATUSES if status in counts)
    table = pd.DataFrame([_modality_row(name, modalities.get(name), manifest) for name in keys])
    return (
        f"<div><p><strong>{escape(str(path))}</strong>: {counted(len(manifest), 'clip')} ({held or 'none'})</p>"
        f"{_html(table)}{_failures(manifest, _kinds(keys))}</div>"
    )


def _modality_row(modality: str, table: ModalityTable | None, manifest: pd.DataFrame) -> dict[str, object]:
    counts = manifest[f"{modality}_status"].value_counts()
    row: dict[str, object] = {"modality": modality, **{status: int(counts.get(status, 0)) for status in STATUSES}}
    if table is None:
        return row | dict.fromkeys(("dimension", "L", "lengths", "cut off"), "–")
    lengths = table.lengths
    span = f"{lengths.min()} to {lengths.max()}, mean {lengths.mean():.1f}" if lengths.size else "–"
    n_cut = int((table.truncated > 0).sum())
    return row | {"dimension": table.dimension, "L": table.length, "lengths": span, "cut off": n_cut}


def _kinds(keys: Iterable[str]) -> list[str]:
    """Return how columns begin: of the whole clip, and of these feature sets."""
    return ["", *(f"{key}_" for key in keys)]


def _failures(manifest: pd.DataFrame, kinds: Sequence[str]) -> str:
    failed = manifest[(manifest[[f"{kind}status" for kind in kinds]] == FAILED).any(axis=1)]
    if failed.empty:
        return ""
    listed = pd.DataFrame([_failure(row, kinds) for row in failed.head(LISTED_FAILURES).to_dict("records")])
    rest = len(failed) - len(listed)
    note = f"<p>and {rest} more: see manifest()</p>" if rest else ""
    return f"<details><summary>clips that failed: {len(failed)}</summary>{_html(listed)}{note}</details>"


def _failure(row: Mapping[Any, object], kinds: Sequence[str]) -> dict[str, object]:
    """Return the first failure of a clip: the whole clip's, else a modality's."""
    kind = next(kind for kind in kinds if row[f"{kind}status"] == FAILED)
    return {
        "clip": row["utterance_id"],
        "modality": kind.rstrip("_") or "all",
        "error": row[f"{kind}error_class"],
        "message": row[f"{kind}error_message"],
    }


def _html(table: pd.DataFrame) -> str:
    with pd.option_context("display.max_colwidth", None):
        return str(table.to_html(index=False, border=0, escape=True))
