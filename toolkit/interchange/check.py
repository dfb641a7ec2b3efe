"""Look for what spoils training: leaks between splits, broken features, labels off their scale, lost ids.

Every finding is a sentence for people, with a level that a program can act on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.counted import counted
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import load_labels, load_on_scale
from fmltk.toolkit.features.label_table import codes_fault, label_faults
from fmltk.toolkit.features.splits import lone_clips_remarks, shared_videos_remarks
from fmltk.toolkit.interchange.leaks import clip_means, knows_training_labels, same_in_two_splits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.features.label_table import LabelTable
    from fmltk.toolkit.features.sequences import ModalityTable

EXPLODING = 1e6  # an absolute value that no feature of ours comes near: OpenFace's failed frames reach 3.8e7
RARE_SHARE = 0.05  # a class with less than this share of the labels is rare
LEVELS = ("error", "warning", "note")
NAMED = 5  # how many ids a finding names


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `level` is error (training would fail or mislead), warning or note."""

    level: str
    what: str


def check_dataset(
    features: str | Path, labels: str | Path, *, official_split: bool = False, scale: Scale | None = None
) -> list[Finding]:
    """Return everything found in a feature folder and its labels, errors first.

    official_split : the splits are a benchmark's own, so videos in two splits are a warning, not an error
    scale : of labels that do not state theirs

    Raises StoreError if a file cannot be read at all, ConfigError if the labels state another scale.
    """
    folder, label_file = Path(features), Path(labels)
    table = read_features(folder)
    manifest = table.manifest()
    given = load_labels(label_file) if scale is None else load_on_scale(label_file, scale)
    found, notes = given.aligned(set(manifest["utterance_id"]))
    faults = label_faults(found)
    codes = None if faults else codes_fault(found)
    findings = [Finding("error", fault) for fault in (faults if codes is None else [codes])]
    findings += [Finding("note", note) for note in (*found.notes, *notes)]
    findings += _check_ids(manifest["utterance_id"].tolist(), found.utterance_ids)
    of_features = dict(zip(manifest["utterance_id"], manifest["split"], strict=True))
    findings += _check_manifest_splits(of_features, found)
    findings += _check_splits(found, official_split=official_split)
    findings += _check_labels(found)
    for name, modality in table.modalities.items():
        findings += _check_features(modality)
        without = sorted(set(manifest["utterance_id"]) - set(modality.utterance_ids))
        if without:
            of = f"{len(without)} of {len(manifest)} clips have none"
            findings.append(Finding("warning", f"{name}: {of}: {_named(without)}"))
    findings += _check_leaks(table.modalities, found)
    for name in MODALITIES:
        if name not in table.modalities:
            findings.append(Finding("warning", f"the folder has no {name} features"))
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")


def _check_manifest_splits(of_features: Mapping[str, object], labels: LabelTable) -> list[Finding]:
    """Two answers to which split a clip is in: the labels' counts."""
    named = [(utterance, split) for utterance, split in zip(labels.utterance_ids, labels.splits, strict=True) if split]
    other = [name for name, split in named if isinstance(own := of_features.get(name), str) and own != split]
    if not other:
        return []
    are = counted(len(other), "clip is", "clips are")
    return [
        Finding(
            "warning",
            f"{are} in one split in the labels, which training takes, and in another in the manifest, "
            f"as the transcripts said: {_named(sorted(other))}",
        )
    ]


def _check_ids(features: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    findings = []
    twice = sorted(utterance for utterance, n in Counter(features).items() if n > 1)
    if twice:
        findings.append(
            Finding(
                "error", f"{counted(len(twice), 'clip occurs', 'clips occur')} twice in the features: {_named(twice)}"
            )
        )
    alone, unfelt = sorted(set(features) - set(labels)), sorted(set(labels) - set(features))
    if not set(features) & set(labels):
        return [
            *findings,
            Finding("error", f"no id joins: the features have {features[0]!r}, the labels {labels[0]!r}"),
        ]
    if alone:
        findings.append(
            Finding("warning", f"{counted(len(alone), 'clip')} with features and without a label: {_named(alone)}")
        )
    if unfelt:
        findings.append(
            Finding("warning", f"{counted(len(unfelt), 'clip')} with labels and without features: {_named(unfelt)}")
        )
    return findings


def _check_splits(labels: LabelTable, *, official_split: bool) -> list[Finding]:
    named = [(video, split) for video, split in zip(labels.video_ids, labels.splits, strict=True) if split]
    findings = [Finding("note", remark) for remark in lone_clips_remarks(labels.video_ids)]
    if not named:
        return [*findings, Finding("note", "the labels name no splits; `fmltk train` draws them by video")]
    counts = Counter(split for _, split in named)
    sizes = ", ".join(f"{split} {counts[split]}" for split in sorted(counts))
    findings.append(Finding("note", f"clips per split: {sizes}"))
    if len(named) < len(labels.splits):
        n = len(labels.splits) - len(named)
        findings.append(Finding("error", f"{counted(n, 'clip has', 'clips have')} no split while others have one"))
    for remark in shared_videos_remarks(labels.video_ids, [split or "" for split in labels.splits]):
        if official_split:
            findings.append(Finding("warning", f"{remark} (an official split: kept)"))
        else:
            findings.append(Finding("error", f"{remark} (--official-split if it is a benchmark's own)"))
    return findings


def _check_leaks(modalities: Mapping[str, ModalityTable], labels: LabelTable) -> list[Finding]:
    """Look for features that know the training labels, and for one recording in two splits."""
    splits = {one: split for one, split in zip(labels.utterance_ids, labels.splits, strict=True) if split}
    if not splits:
        return []
    videos = dict(zip(labels.utterance_ids, labels.video_ids, strict=True))
    targets = dict(zip(labels.utterance_ids, labels.values("M").tolist(), strict=True))
    means = {name: clip_means(table) for name, table in modalities.items()}
    findings = []
    for name, own in means.items():
        errors = knows_training_labels(own, targets, splits, videos)
        if errors is not None:
            inside, outside = errors
            findings.append(
                Finding(
                    "warning",
                    f"{name}: a linear model predicts the labels of unseen training videos far better than those of "
                    f"the other splits' videos (mean absolute error {inside:.3f} and {outside:.3f}): these features "
                    "seem fitted to the training labels, so that validation clips cannot choose settings, and scores "
                    "say little of new clips; encode the raw clips or transcripts again",
                )
            )
    sounds_and_pictures = [own for name, own in means.items() if name != "text"]
    pairs = same_in_two_splits(sounds_and_pictures, splits)
    if pairs:
        named = "; ".join(f"{one} ({splits[one]}) and {other} ({splits[other]})" for one, other in pairs[:NAMED])
        more = ", ..." if len(pairs) > NAMED else ""
        have = counted(len(pairs), "clip has", "clips have")
        findings.append(Finding("error", f"{have} the same features as a clip of another split: {named}{more}"))
    return findings


def _check_labels(labels: LabelTable) -> list[Finding]:
    findings = []
    for condition in CONDITIONS:
        values = labels.values(condition)
        known = values[np.isfinite(values)]
        scale = labels.scales.get(condition)
        if scale is not None and scale.kind == "nominal":
            findings += _check_classes(labels, condition)
            continue
        if not known.size:
            if condition == "M":
                findings.append(Finding("error", "label_M: no clip has a multimodal label"))
            continue
        if np.ptp(known) == 0:
            findings.append(Finding("error", f"label_{condition}: every label is {known[0]:g}"))
        if scale is not None and not scale.has_signs:
            words = f"from {known.min():g} to {known.max():g}, on average {known.mean():.3g}, on the scale {scale}"
            n_missing = len(values) - len(known)
            findings.append(Finding("note", f"label_{condition}: {len(known)} labels, {n_missing} missing: {words}"))
            continue
        shares = {
            name: float(share)
            for name, share in (
                ("negative", np.mean(known < 0)),
                ("neutral", np.mean(known == 0)),
                ("positive", np.mean(known > 0)),
            )
        }
        words = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        findings.append(
            Finding("note", f"label_{condition}: {len(known)} labels, {len(values) - len(known)} missing: {words}")
        )
        rare = [name for name in ("negative", "positive") if shares[name] < RARE_SHARE]
        if rare:
            findings.append(Finding("warning", f"label_{condition}: hardly any label is {' or '.join(rare)} ({words})"))
    return findings


def _check_classes(labels: LabelTable, condition: str) -> list[Finding]:
    """Look at the labels of a nominal scale."""
    counts = Counter(name for name in labels.classes(condition) if name is not None)
    n, n_missing = counts.total(), labels.table.num_rows - counts.total()
    if not n:
        return [Finding("error", "label_M: no clip has a multimodal label")] if condition == "M" else []
    words = ", ".join(f"{name} {counts[name] / n:.0%}" for name in labels.scales[condition].names)
    findings = [Finding("note", f"class_{condition}: {n} labels, {n_missing} missing: {words}")]
    if len(counts) == 1:
        findings.insert(0, Finding("error", f"class_{condition}: every label is {next(iter(counts))}"))
    return findings


def _check_features(table: ModalityTable) -> list[Finding]:
    """Look at every valid step once, row group by row group."""
    name = str(table.document.get("modality", table.path.stem))
    broken: list[str] = []
    zero: list[str] = []
    n_nan = n_inf = 0
    low = np.full(table.dimension, np.inf)
    high = np.full(table.dimension, -np.inf)
    for ids, features, mask in table.batches():
        finite = np.isfinite(features)
        bad = ~finite & mask[:, :, None]
        broken += [ids[row] for row in np.flatnonzero(bad.any(axis=(1, 2)))]
        n_nan += int(np.sum(np.isnan(features) & bad))
        n_inf += int(np.sum(np.isinf(features) & bad))
        used = finite & mask[:, :, None]
        zero += [ids[row] for row in np.flatnonzero(~(features != 0).any(axis=(1, 2)))]
        low = np.minimum(low, np.where(used, features, np.inf).min(axis=(0, 1)))
        high = np.maximum(high, np.where(used, features, -np.inf).max(axis=(0, 1)))
    findings = []
    if not len(table.lengths):
        findings.append(Finding("warning", f"{name}: empty, no clip has a sequence"))
    if broken:
        counts = f"{n_nan} NaN and {n_inf} infinities"
        findings.append(
            Finding("error", f"{name}: {counts} in {counted(len(broken), 'clip')}: {_named(sorted(broken))}")
        )
    if zero:
        of = f"{len(zero)} of {len(table.lengths)} sequences are all zero"
        findings.append(Finding("warning", f"{name}: {of}: {_named(sorted(zero))}"))
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


def _feature_names(table: ModalityTable, numbers: NDArray[np.int64]) -> str:
    names = table.feature_names
    return _named([names[number] if names else f"number {number}" for number in numbers.tolist()])
