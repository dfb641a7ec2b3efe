"""Look for what spoils training: leaks between splits, broken features, labels off their scale, lost ids.

Every finding is a sentence for people, with a level that a program can act on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import split_utterance_id
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import guess_scale, read_label_columns
from fmltk.toolkit.io.parquet import decode_metadata, open_parquet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.sequences import ModalityTable

EXPLODING = 1e6  # an absolute value that no feature of ours comes near: OpenFace's failed frames reach 3.8e7
RARE_SHARE = 0.05  # a class with less than this share of the labels is rare
NAMED = 5  # how many ids a finding names


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `level` is error (training would fail or mislead), warning or note."""

    level: str
    what: str


def check_dataset(features: str | Path, labels: str | Path, *, official_split: bool = False) -> list[Finding]:
    """Return everything found in a feature folder and its labels, errors first.

    official_split : the splits are a benchmark's own, so videos in two splits are a warning, not an error

    Raises StoreError if a file cannot be read at all.
    """
    folder, label_file = Path(features), Path(labels)
    table = read_features(folder)
    manifest = table.manifest()
    ids, values, splits = read_label_columns(label_file)
    findings = _check_ids(manifest["utterance_id"].tolist(), ids)
    findings += _check_manifest_splits(dict(zip(manifest["utterance_id"], manifest["split"], strict=True)), ids, splits)
    findings += _check_splits(ids, splits, official_split=official_split)
    findings += _check_labels(values, _scales(label_file, values))
    for modality in table.modalities.values():
        findings += _check_features(modality)
    for name in ("text", "audio", "vision"):
        if name not in table.modalities:
            findings.append(Finding("warning", f"the folder has no {name} features"))
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.level])


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")


def _check_manifest_splits(
    of_features: Mapping[str, object], ids: Sequence[str], splits: Sequence[str | None]
) -> list[Finding]:
    """Two answers to which split a clip is in: the labels' counts."""
    told = [(u, split) for u, split in zip(ids, splits, strict=True) if split and isinstance(of_features.get(u), str)]
    other = [utterance for utterance, split in told if of_features[utterance] != split]
    if not other:
        return []
    return [
        Finding(
            "warning",
            f"{len(other)} clips are in one split in the labels, which training takes, and in another in the manifest, "
            f"as the transcripts said: {_named(sorted(other))}",
        )
    ]


def _check_ids(features: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    findings = []
    for what, ids in (("features", features), ("labels", labels)):
        twice = sorted(utterance for utterance, n in Counter(ids).items() if n > 1)
        if twice:
            findings.append(Finding("error", f"{len(twice)} clips occur twice in the {what}: {_named(twice)}"))
    alone, unfelt = sorted(set(features) - set(labels)), sorted(set(labels) - set(features))
    if not set(features) & set(labels):
        return [*findings, Finding("error", f"no id joins: features have {features[:1]}, labels {labels[:1]}")]
    if alone:
        findings.append(Finding("warning", f"{len(alone)} clips with features have no label: {_named(alone)}"))
    if unfelt:
        findings.append(Finding("warning", f"{len(unfelt)} clips with labels have no features: {_named(unfelt)}"))
    return findings


def _check_splits(ids: Sequence[str], splits: Sequence[str | None], *, official_split: bool) -> list[Finding]:
    named = [(split_utterance_id(utterance)[0], split) for utterance, split in zip(ids, splits, strict=True) if split]
    if not named:
        return [Finding("note", "the labels name no splits; `fmltk train` draws them by video")]
    findings = []
    counts = Counter(split for _, split in named)
    told = ", ".join(f"{split} {counts[split]}" for split in sorted(counts))
    findings.append(Finding("note", f"clips per split: {told}"))
    if len(named) < len(ids):
        findings.append(Finding("error", f"{len(ids) - len(named)} clips have no split while others have one"))
    unknown = sorted(set(counts) - {"train", "valid", "test"})
    if unknown:
        findings.append(Finding("error", f"the split {unknown[0]!r} is none of train, valid, test"))
    of_video: dict[str, set[str]] = {}
    for video, split in named:
        of_video.setdefault(video, set()).add(split)
    shared = sorted(video for video, found in of_video.items() if len(found) > 1)
    if shared:
        level = "warning" if official_split else "error"
        findings.append(
            Finding(
                level,
                f"{len(shared)} of {len(of_video)} videos (so their speakers) are in more than one split: "
                f"{_named(shared)}; scores on such splits flatter"
                + (
                    " (an official split: kept)" if official_split else " (--official-split if it is a benchmark's own)"
                ),
            )
        )
    return findings


def _scales(path: Path, labels: Mapping[str, NDArray[np.float64]]) -> dict[str, Scale]:
    with open_parquet(path, what="labels.parquet") as file:
        try:
            scales = decode_metadata(file.schema_arrow, name=str(path)).get("scales") or {}
        except StoreError:
            scales = {}
    default = guess_scale(labels)
    return {c: Scale.parse(scales[c]) if scales.get(c) else default for c in CONDITIONS}


def _check_labels(labels: Mapping[str, NDArray[np.float64]], scales: Mapping[str, Scale]) -> list[Finding]:
    findings = []
    for condition, values in labels.items():
        known = values[np.isfinite(values)]
        if np.isinf(values).any():
            findings.append(Finding("error", f"label_{condition}: {int(np.isinf(values).sum())} infinite labels"))
        if not known.size:
            if condition == "M":
                findings.append(Finding("error", "label_M: no clip has a multimodal label"))
            continue
        scale = scales[condition]
        off = int(np.sum((known < scale.low - 1e-6) | (known > scale.high + 1e-6)))
        if off:
            findings.append(
                Finding("error", f"label_{condition}: {off} labels are off the scale {scale}, up to {known.max():g}")
            )
        if np.ptp(known) == 0:
            findings.append(Finding("error", f"label_{condition}: every label is {known[0]:g}"))
        shares = {
            name: float(share)
            for name, share in (
                ("negative", np.mean(known < 0)),
                ("neutral", np.mean(known == 0)),
                ("positive", np.mean(known > 0)),
            )
        }
        told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        findings.append(
            Finding("note", f"label_{condition}: {len(known)} labels, {len(values) - len(known)} missing: {told}")
        )
        rare = [name for name in ("negative", "positive") if shares[name] < RARE_SHARE]
        if rare:
            findings.append(Finding("warning", f"label_{condition}: hardly any label is {' or '.join(rare)} ({told})"))
    return findings


def _check_features(table: ModalityTable) -> list[Finding]:
    """Look at every valid step once, row group by row group."""
    name = str(table.document.get("modality", table.path.stem))
    broken: list[str] = []
    low = np.full(table.dimension, np.inf)
    high = np.full(table.dimension, -np.inf)
    for ids, features, mask in table.batches():
        finite = np.isfinite(features)
        bad = np.flatnonzero((~finite & mask[:, :, None]).any(axis=(1, 2)))
        broken += [ids[row] for row in bad]
        used = finite & mask[:, :, None]
        low = np.minimum(low, np.where(used, features, np.inf).min(axis=(0, 1)))
        high = np.maximum(high, np.where(used, features, -np.inf).max(axis=(0, 1)))
    findings = []
    if broken:
        findings.append(Finding("error", f"{name}: NaN or infinities in {len(broken)} clips: {_named(sorted(broken))}"))
    constant = np.flatnonzero(low == high)
    if constant.size:
        findings.append(
            Finding("warning", f"{name}: {constant.size} features never change: {_feature_names(table, constant)}")
        )
    wild = np.flatnonzero(np.maximum(np.abs(low), np.abs(high)) > EXPLODING)
    wild = wild[np.isfinite(low[wild])]
    if wild.size:
        most = float(np.maximum(np.abs(low), np.abs(high))[wild].max())
        findings.append(
            Finding("warning", f"{name}: {wild.size} features explode, up to {most:.3g}: {_feature_names(table, wild)}")
        )
    cut = int(np.sum(table.truncated > 0))
    if cut:
        findings.append(
            Finding("note", f"{name}: {cut} of {len(table.lengths)} clips were cut to {table.length} steps")
        )
    return findings


def _feature_names(table: ModalityTable, places: NDArray[np.int64]) -> str:
    names = table.feature_names
    return _named([names[place] if names else f"number {place}" for place in places.tolist()])
