"""The report's sections on a feature folder: what there is, what failed and why, lengths, faces, distributions."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.curation.curate import read_rows
from fmltk.toolkit.curation.findings import REASONS, findings_of_row
from fmltk.toolkit.curation.table import is_curation
from fmltk.toolkit.features.clip_row import STATUSES, further_sets
from fmltk.toolkit.features.layout import MANIFEST_FILE
from fmltk.toolkit.report import charts
from fmltk.toolkit.report.document import (
    CHECK,
    SPOILS,
    Case,
    Chart,
    Contribution,
    Finding,
    Heading,
    Remark,
    Section,
    Source,
    Table,
    Tile,
    contribute,
)
from fmltk.toolkit.report.timeline import read_timelines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.toolkit.features.feature_set import FeatureSet
    from fmltk.toolkit.features.sequences import ModalityTable
    from fmltk.toolkit.report.document import Block, ReportRequest
    from fmltk.toolkit.report.timeline import Timeline

RANK = 10
MAX_SAMPLED_STEPS = 20_000
MAX_SMALL = 36  # features drawn; all are in the table
LISTED_REASONS = 200
MANY_CUT = 0.1  # of the clips
REASONS_TITLE = "Missing and failed parts, and why"


def feature_sections(request: ReportRequest) -> Contribution:
    """Return the sections of every feature folder among the paths, and its clips as cases."""
    # The table of `fmltk curate` says more of the clips to look at, and what was decided.
    is_curated = any(is_curation(path) for path in request.paths)
    return contribute(
        request, lambda path: (path / MANIFEST_FILE).is_file(), lambda path: _contribution(path, is_curated=is_curated)
    )


def clip_ids(request: ReportRequest) -> set[str]:
    """Return the ids of the clips of every feature folder among the paths."""
    from fmltk.toolkit.features.feature_set import read_features

    folders = [path for path in request.paths if (path / MANIFEST_FILE).is_file()]
    return {utterance for path in folders for utterance in read_features(path).manifest(["utterance_id"]).utterance_id}


def _contribution(path: Path, *, is_curated: bool) -> Contribution:
    from fmltk.toolkit.features.feature_set import read_features

    features = read_features(path)
    manifest = features.manifest()
    overview, distributions = _overview(path, features, manifest), _distributions(path, features)
    reasons: dict[str, list[str]] = {}
    for row in read_rows(path):
        for found in findings_of_row(row):
            reasons.setdefault(found.utterance_id, []).append(found.reason)
    timelines = read_timelines(path, manifest)
    cases = [_case(row, timelines) for row in manifest.to_dict("records")]
    findings = _status_findings(manifest, overview) + _cut_findings(features, overview)
    findings += [
        Finding(f"{path.name}, {block.text}", CHECK, block)
        for block in distributions.blocks
        if isinstance(block, Remark)
    ]
    if not is_curated:
        findings += _reason_findings(reasons, len(manifest))
        for case in cases:
            case.look = reasons.get(case.utterance_id)
    return Contribution(
        sources=[_source(path, features, manifest)], findings=findings, sections=[overview, distributions], cases=cases
    )


def _source(path: Path, features: FeatureSet, manifest: pd.DataFrame) -> Source:
    document = features.settings()
    settings = document.get("settings") or {}
    sizes = ", ".join(f"{name} {table.dimension} wide" for name, table in features.modalities.items())
    facts = {
        "clips": f"{len(manifest):,}",
        "features": sizes or "none",
        "text model": (document.get("text_model") or {}).get("name"),
        "visual features": settings.get("vision_layout"),
        "speaker": settings.get("face_select"),
        "made of": document.get("source"),
    }
    facts |= {name: (document.get("versions") or {}).get(name) for name in ("ffmpeg", "librosa", "torch")}
    return Source(path, "feature folder", path / MANIFEST_FILE, {name: one for name, one in facts.items() if one})


def _status_findings(manifest: pd.DataFrame, overview: Section) -> list[Finding]:
    """Return how many clips, and how many modalities of other clips, are not there."""
    table = next(
        (block for block in overview.blocks if isinstance(block, Table) and block.title == REASONS_TITLE), None
    )
    failed = manifest["status"] == "failed"
    found = []
    if failed.any():
        found.append(Finding(f"{_clips(int(failed.sum()))} of {len(manifest):,} could not be read.", SPOILS, table))
    for name in (*MODALITIES, *further_sets(manifest.columns)):
        lacking = int((manifest[f"{name}_status"].isin(["missing", "failed"]) & ~failed).sum())
        if lacking:
            verb = "lacks" if lacking == 1 else "lack"
            found.append(Finding(f"{_clips(lacking)} of {len(manifest):,} {verb} {name}.", SPOILS, table))
    return found


def _cut_findings(features: FeatureSet, overview: Section) -> list[Finding]:
    """Return what was cut off, where it is more than a tenth of the clips."""
    found = []
    for name, table in features.modalities.items():
        n_cut, n = int((table.truncated > 0).sum()), len(table.lengths)
        if n_cut > MANY_CUT * n:
            chart = next(
                (one for one in overview.blocks if isinstance(one, Chart) and one.title == f"Lengths: {name}"), None
            )
            text = f"{name}: {_clips(n_cut)} of {n:,} are longer than L = {table.length}, and their ends are cut off."
            found.append(Finding(text, CHECK, chart))
    return found


def _reason_findings(reasons: Mapping[str, list[str]], n: int) -> list[Finding]:
    """Return how many clips there is each reason to look at."""
    counts = Counter(reason for own in reasons.values() for reason in own)
    return [
        Finding(f"{_clips(counts[reason])} of {n:,} to look at: {meaning}.", CHECK, clips=f"look-{reason}")
        for reason, meaning in REASONS.items()
        if counts[reason]
    ]


def _clips(n: int) -> str:
    return f"{n:,} clip" if n == 1 else f"{n:,} clips"


def _overview(path: Path, features: FeatureSet, manifest: pd.DataFrame) -> Section:
    durations = manifest["duration_s"].to_numpy(dtype=float, na_value=np.nan)
    counts = manifest["status"].value_counts().to_dict()
    n = len(manifest)
    blocks: list[Block] = [
        Tile("clips", f"{n:,}"),
        Tile("videos", f"{manifest['video_id'].nunique():,}"),
        Tile("in all", _minutes(float(np.nansum(durations)))),
        *(
            Tile(name, f"{counts[name]:,}", {"failed": "bad", "ok": "good"}.get(name, ""))
            for name in STATUSES
            if counts.get(name)
        ),
    ]
    blocks.append(_modality_table(features, manifest))
    blocks += _reasons(manifest)
    blocks.append(Heading("Durations, faces and lengths"))
    if np.isfinite(durations).any():
        blocks.append(charts.histogram("Durations", durations, unit="seconds"))
    coverage = manifest["face_coverage"].to_numpy(dtype=float, na_value=np.nan)
    if np.isfinite(coverage).any():
        title, unit = "Frames with the speaker's face", "% of a clip's frames"
        blocks.append(charts.histogram(title, 100 * coverage, unit=unit, limits=(0, 100)))
    for name, table in features.modalities.items():
        reference = (table.length, f"L = {table.length}")
        blocks.append(charts.histogram(f"Lengths: {name}", table.lengths, unit="steps", reference=reference))
    warned = manifest["warnings"].map(lambda values: 0 if values is None else len(values))
    if warned.any():
        rows = [
            (row["utterance_id"], text)
            for row in manifest[warned > 0].head(LISTED_REASONS).to_dict("records")
            for text in row["warnings"]
        ]
        blocks.append(Table(f"Warnings ({int(warned.sum())})", ("clip", "warning"), rows, folded=True))
    blocks.append(_settings(features))
    return Section(f"Data: {path.name or path}", RANK, blocks)


def _modality_table(features: FeatureSet, manifest: pd.DataFrame) -> Table:
    rows = []
    for name in (*MODALITIES, *further_sets(manifest.columns)):
        status = manifest[f"{name}_status"].value_counts().to_dict()
        counts = [status.get(word, 0) for word in STATUSES]
        table = features.modalities.get(name)
        if table is None:
            rows.append((name, *counts, None, None, None, None, None))
            continue
        cut = table.truncated[table.truncated > 0]
        span = f"{table.lengths.min()} – {table.lengths.max()}" if len(table.lengths) else None
        rows.append((name, *counts, table.dimension, span, table.length, len(cut), int(cut.sum())))
    columns = ("modality", "ok", "missing", "failed", "skipped", "features", "lengths", "L", "clips cut", "steps cut")
    return Table(
        "Outcome of each modality",
        columns,
        rows,
        note="L is the common length: shorter sequences are padded with zeros, of longer ones the first L steps stay.",
    )


def _reasons(manifest: pd.DataFrame) -> list[Block]:
    """Return why clips or modalities are not there: each reason once, with how many clips have it."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    further = further_sets(manifest.columns)
    for row in manifest.to_dict("records"):
        for name in ("clip", *MODALITIES, *further):
            prefix = "" if name == "clip" else f"{name}_"
            status, message = _text(row[f"{prefix}status"]), _text(row[f"{prefix}error_message"])
            if status in ("failed", "missing") and message:
                key = (name, status, _text(row[f"{prefix}error_class"]) or "", message)
                found.setdefault(key, []).append(row["utterance_id"])
    whole = {(key[1:], clip) for key, clips in found.items() if key[0] == "clip" for clip in clips}
    rows = []
    for (name, *rest), clips in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        own = [clip for clip in clips if name == "clip" or (tuple(rest), clip) not in whole]
        if own:
            named = ", ".join(own[:3]) + (f" and {len(own) - 3} more" if len(own) > 3 else "")
            rows.append((name, *rest, len(own), named))
    if not rows:
        return [Remark("Every clip has every modality that was asked for.")]
    return [
        Table(
            REASONS_TITLE,
            ("what", "status", "error", "message", "clips", "which"),
            rows[:LISTED_REASONS],
            note="" if len(rows) <= LISTED_REASONS else f"{len(rows) - LISTED_REASONS} more are in manifest.parquet.",
        )
    ]


def _settings(features: FeatureSet) -> Table:
    document = features.settings()
    rows = [
        (f"{group}: {name}", _plain_text(value))
        for group in ("settings", "padding", "alignment", "text_model", "versions")
        for name, value in sorted((document.get(group) or {}).items())
    ]
    return Table("Settings and versions", ("setting", "value"), rows, folded=True)


def _plain_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _distributions(path: Path, features: FeatureSet) -> Section:
    blocks: list[Block] = []
    for name, table in features.modalities.items():
        steps = _sample(table)
        if not len(steps):
            continue
        if not table.feature_names:
            blocks += _unnamed(name, steps)
            continue
        names = table.feature_names
        units = list(table.document.get("feature_units") or [""] * len(names))
        constant = [one for one, column in zip(names, steps.T, strict=True) if np.ptp(column) == 0]
        if constant:
            more = " ..." if len(constant) > 8 else ""
            blocks.append(
                Remark(f"{name}: {len(constant)} features never change: {', '.join(constant[:8])}{more}", "bad")
            )
        kept = np.unique(np.linspace(0, len(names) - 1, min(MAX_SMALL, len(names))).astype(int)).tolist()
        which = "every feature" if len(kept) == len(names) else f"{len(kept)} of {len(names)} features"
        blocks.append(Heading(f"Distributions: {name}, {which}"))
        for title, unit, own in _comparable(units, steps, kept):
            blocks.append(
                charts.small_histograms(
                    f"{name}: {title}", [names[k] for k in own], [steps[:, k] for k in own], unit=unit
                )
            )
        columns = ("feature", "unit", "mean", "deviation", "least", "median", "largest", "zeros, %")
        rows = [_row(one, unit, column) for one, unit, column in zip(names, units, steps.T, strict=True)]
        blocks.append(Table(f"Numbers: {name}", columns, rows, note=f"Over {len(steps):,} valid steps.", folded=True))
    return Section(f"Features: {path.name or path}", RANK, blocks)


def _comparable(
    units: Sequence[str], steps: NDArray[np.float32], kept: Sequence[int]
) -> list[tuple[str, str, list[int]]]:
    """Return (title, unit, features) of the features that one pair of axes can show: of one unit and one magnitude."""
    sizes = np.percentile(np.abs(steps), 99, axis=0)  # (d,)
    powers = np.ceil(np.log10(np.maximum(sizes, 1e-6))).astype(int)
    groups: dict[tuple[str, int], list[int]] = {}
    for k in kept:
        groups.setdefault((units[k], int(powers[k])), []).append(k)
    return [
        (f"values within ±{10.0**power:g} {unit}".rstrip(), unit or "value", own)
        for (unit, power), own in groups.items()
    ]


def _sample(table: ModalityTable) -> NDArray[np.float32]:
    """Return valid steps of all clips, evenly thinned out to a bounded number, float32 (n, d)."""
    total = int(np.minimum(table.lengths, table.length).sum())
    every = max(1, math.ceil(total / MAX_SAMPLED_STEPS))
    parts, seen = [], 0
    for _, values, valid in table.sequences():
        own = values[valid]
        first = -seen % every
        parts.append(own[first::every].copy())
        seen += len(own)
    return np.concatenate(parts) if parts else np.zeros((0, table.dimension), np.float32)


def _unnamed(name: str, steps: NDArray[np.float32]) -> list[Block]:
    """Return how the values of a space without named dimensions are spread, and how long its vectors are."""
    thin = steps.reshape(-1)[:: max(1, steps.size // MAX_SAMPLED_STEPS)]
    norms = np.linalg.norm(steps, axis=1)
    return [
        charts.histogram(f"Values of all dimensions: {name}", thin, unit="value", what="values"),
        charts.histogram(f"Lengths of the vectors: {name}", norms, unit="Euclidean norm", what="steps"),
    ]


def _row(name: str, unit: str, column: NDArray[np.float32]) -> tuple[object, ...]:
    values = column.astype(np.float64)
    low, median, high = np.percentile(values, [0, 50, 100]).tolist()
    zeros = f"{100 * float(np.mean(values == 0)):.1f}"
    return (name, unit, float(values.mean()), float(values.std()), low, median, high, zeros)


def _case(row: Mapping[Any, Any], timelines: Mapping[str, Timeline]) -> Case:
    end = row["end_s"]
    reasons = [
        f"{name}: {_text(row[f'{name}_error_message'])}"
        for name in (*MODALITIES, *further_sets(row))
        if _text(row[f"{name}_error_message"]) and _text(row[f"{name}_status"]) in ("failed", "missing")
    ]
    return Case(
        str(row["utterance_id"]),
        text=_text(row["text"]),
        split=_text(row["split"]),
        status=_text(row["status"]),
        reason=_text(row["error_message"]) or "; ".join(reasons) or None,
        source=_text(row["source"]),
        start_s=None if _missing(row["start_s"]) else float(row["start_s"]),
        end_s=None if _missing(end) else float(end),
        duration_s=None if _missing(row["duration_s"]) else float(row["duration_s"]),
        speaker=_speaker(row),
        timeline=timelines.get(str(row["utterance_id"])),
    )


def _speaker(row: Mapping[Any, Any]) -> str | None:
    """Return how the speaker was found, and how sure that is."""
    source = _text(row["speaker_source"])
    if source is None or _missing(row["speaker_share"]):
        return source
    return f"{source}, {row['speaker_share']:.0%} of the speech"


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: object) -> str | None:
    return None if _missing(value) else str(value)


def _minutes(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.1f} h"
