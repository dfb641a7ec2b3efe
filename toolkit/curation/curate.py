"""A feature folder's clips to look at, each with its reasons."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.audio.spectrum import N_MELS
from fmltk.toolkit.curation.duplicates import find_matches
from fmltk.toolkit.curation.findings import REASONS, SAME_CONTENT, Finding, findings_of_row
from fmltk.toolkit.curation.texts import text_findings, transcript_findings
from fmltk.toolkit.features.clip_row import SKIPPED
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.fingerprints import FINGERPRINT_FILE, FINGERPRINT_RATES_HZ
from fmltk.toolkit.features.layout import MANIFEST_FILE
from fmltk.toolkit.io.parquet import open_parquet, reading
from fmltk.toolkit.speech.table import read_transcribed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.feature_set import FeatureSet
    from fmltk.toolkit.io.paths import AnyPath

SAME_START_S = 0.05  # offsets of two copies below this are those of their encoders
NAMED = 5  # other clips of the same content that a row names
_NOUNS = {"audio": "audio", "vision": "video"}


def curate(features: AnyPath) -> list[Finding]:
    """Return the clips of a feature folder that a careful researcher would look at: one finding per clip and reason.

    In the order of the manifest, then of REASONS. Clips that were left out on purpose are not among them.

    Raises StoreError if `features` is not a feature folder or cannot be read.
    """
    folder = read_features(features)
    rows = [row for row in read_rows(folder.path) if row["status"] != SKIPPED]
    levels = _level_ranges_db(folder)
    found = [one for row in rows for one in findings_of_row(row, level_range_db=levels.get(row["utterance_id"]))]
    heard = read_transcribed(folder.path)
    found += [*text_findings(rows), *transcript_findings(rows, heard), *_same_content(folder.path, rows)]
    at = {row["utterance_id"]: number for number, row in enumerate(rows)}
    rank = {reason: number for number, reason in enumerate(REASONS)}
    return sorted(found, key=lambda one: (at[one.utterance_id], rank[one.reason]))


def read_rows(folder: AnyPath) -> list[dict[str, Any]]:
    """Return the rows of a feature folder's manifest by column, None where a cell is null."""
    path = folder / MANIFEST_FILE
    with open_parquet(path) as file, reading(path):
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def has_fingerprints(folder: AnyPath) -> bool:
    """Return whether the folder says what its clips are known by; those of older versions do not."""
    return bool((folder / FINGERPRINT_FILE).is_file())


def _level_ranges_db(features: FeatureSet) -> dict[str, float]:
    """Return by clip how far the loudest tenth of its audio lies above the quietest, by the first MFCC."""
    table = features.modalities.get("audio")
    if table is None or "mfcc_0" not in table.feature_names:
        return {}
    column = table.feature_names.index("mfcc_0")
    ranges = {}
    for utterance, values, valid in table.sequences():
        if valid.any():
            low, high = np.percentile(values[valid, column], [10, 90]) / np.sqrt(N_MELS)  # of the mean mel energy
            ranges[utterance] = float(high - low)
    return ranges


def _same_content(folder: AnyPath, rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return the clips whose file, audio or video another clip has too."""
    ids = [str(row["utterance_id"]) for row in rows]
    shared: defaultdict[tuple[int, int], list[str]] = defaultdict(list)  # which pairs share what
    offsets_s: dict[tuple[int, int], float] = {}
    for pair in _same_files(rows):
        shared[pair].append("file")
    for kind, words in _fingerprints(folder, ids).items():
        rate_hz = FINGERPRINT_RATES_HZ[kind]
        for match in find_matches(words, rate_hz=rate_hz):
            pair = (match.first, match.second)
            if "file" not in shared[pair]:
                shared[pair].append(_NOUNS[kind])
            offsets_s.setdefault(pair, match.offset / rate_hz)
    others: defaultdict[int, list[str]] = defaultdict(list)
    for (first, second), kinds in sorted(shared.items()):
        what, offset_s = " and ".join(kinds), offsets_s.get((first, second), 0.0)
        for own, other, start_s in ((first, second, -offset_s), (second, first, offset_s)):
            later = f" from {start_s:.2f} s on" if start_s > SAME_START_S else ""
            others[own].append(f"the {what} of {ids[other]}{later}")
    return [Finding(ids[own], SAME_CONTENT, _listed(named)) for own, named in others.items()]


def _listed(named: Sequence[str]) -> str:
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def _same_files(rows: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return the pairs of clips that are the same part of files of the same bytes; of many, each with the first."""
    first: dict[tuple[object, ...], int] = {}
    pairs = []
    for number, row in enumerate(rows):
        if row.get("sha256") is not None:
            part = (row["sha256"], row.get("start_s"), row.get("end_s"))
            if part in first:
                pairs.append((first[part], number))
            first.setdefault(part, number)
    return pairs


def _fingerprints(folder: AnyPath, ids: Sequence[str]) -> dict[str, list[NDArray[np.uint16]]]:
    """Return of each modality the clips' words, in the order of `ids`, empty where a clip has none."""
    if not has_fingerprints(folder):
        return {}
    path = folder / FINGERPRINT_FILE
    with open_parquet(path) as file, reading(path):
        table = file.read()
        at = {utterance: row for row, utterance in enumerate(table["utterance_id"].to_pylist())}
        found: dict[str, list[NDArray[np.uint16]]] = {}
        for kind in FINGERPRINT_RATES_HZ:
            column = table[kind].combine_chunks()
            lists = [column[at[one]].values if one in at else None for one in ids]
            found[kind] = [
                np.zeros(0, np.uint16) if words is None else words.to_numpy(zero_copy_only=False) for words in lists
            ]
    return found
