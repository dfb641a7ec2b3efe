"""The datasheet of a release: README.md, whose head lets `datasets.load_dataset` open the folder.

Its questions are those of Gebru et al., Datasheets for Datasets, 2021, as far as files answer them; what only the
authors know is taken from `Terms`, and said to be missing where it was not given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmltk.annotation import agreement_tables
from fmltk.annotation.protocols import OUT_OF_PROTOCOL
from fmltk.annotation.publishing.origin import policy_of
from fmltk.annotation.ratings import FLAGS, flag_counts
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS
from fmltk.toolkit.io.documents import json_text
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from fmltk.annotation.publishing.figures import Figure
    from fmltk.annotation.publishing.terms import Terms
    from fmltk.annotation.settings import Policy
    from fmltk.toolkit.features.label_table import LabelTable

_MISSING = "*not stated*"
_SAW = {
    "M": "text, audio and video",
    "T": "text alone",
    "A": "audio alone",
    "V": "silent video alone",
    "AT": "audio and text",
    "VT": "silent video and text",
    "AV": "audio and video",
}


@dataclass(frozen=True)
class Contents:
    """The contents of a release: its anonymous tables, and what is measured on them."""

    labels: LabelTable
    ratings: pa.Table
    agreement: Mapping[str, Mapping[str, Any]]  # what `quality.overview` gives
    summary: Mapping[str, Any]  # what `summarise_labels` gives
    figures: Sequence[Figure]


def datasheet(contents: Contents, terms: Terms) -> str:
    """Return README.md: front matter for Hugging Face, then the datasheet in Markdown."""
    parts = [
        *_front_matter(terms),
        f"# {terms.title}\n",
        f"{terms.description or f'Why the labels were made: {_MISSING}.'}\n",
        "## What was rated\n",
        *_rated(contents),
        "## By whom, and how far they agree\n",
        *_raters(contents),
        "## From ratings to labels\n",
        *_labels(contents),
        "## Files\n",
        *_files(contents),
        "## Privacy\n",
        "Raters are numbered in an order that only a secret of the authors explains. Times of day, the ids of the "
        "labelling server, addresses and comments are not part of the release; the seconds per answer are.\n",
        "## Terms\n",
        *_terms(terms),
    ]
    return "\n".join(parts)


def _front_matter(terms: Terms) -> list[str]:
    licence = (terms.licence or "unknown").lower()
    return [
        "---",
        f"pretty_name: {json_text(terms.title)}",  # a string of JSON is one of YAML
        f"license: {json_text(licence if '/' not in licence else 'other')}",
        "configs:",
        "- config_name: labels",
        "  data_files: labels.parquet",
        "  default: true",
        "- config_name: ratings",
        "  data_files: ratings.parquet",
        "---\n",
    ]


def _rated(contents: Contents) -> Iterator[str]:
    labels, sizes = contents.labels, contents.summary["sizes"]
    yield f"- {sizes['total']:,} clips of {len(set(labels.video_ids)):,} videos"
    for condition, scale in contents.summary["scales"].items():
        yield f"- {condition}: {_SAW[condition]}, on the scale {scale}"
    splits = ", ".join(f"{part} {count:,}" for part, count in sizes.items() if part not in ("total", "none"))
    how = labels.metadata.get("split", {}).get("how")
    yield f"- Splits: {splits or 'none'}" + (f" ({how})" if splits and how else "") + "\n"


def _raters(contents: Contents) -> Iterator[str]:
    ratings = contents.ratings
    n_raters = len(ratings.column("annotator").unique())
    statuses = Counter(ratings.column("status").to_pylist())
    said = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    yield f"{n_raters} annotators gave {len(ratings):,} answers: {said}. A skipped, empty or missing one is not a 0.\n"
    rows = [[_text(cell) for cell in row] for row in agreement_tables.agreement_rows(contents.agreement)]
    columns = [name[:1].upper() + name[1:] for name in agreement_tables.AGREEMENT_COLUMNS]
    note = "Alpha is Krippendorff's, with its 95 % interval from 1,000 resamples of clips."
    yield ResultTable("agreement", "Agreement", columns, rows, note=note).markdown()
    flags = flag_counts(ratings)
    rows = [
        [name, str(count), "yes" if name in OUT_OF_PROTOCOL else "no", FLAGS[name]] for name, count in flags.items()
    ]
    columns = ["Flag", "Ratings", "Violates the paper's protocol", "Meaning"]
    yield ResultTable("flags", "Flagged ratings", columns, rows).markdown() if rows else "No rating has a flag.\n"


def _labels(contents: Contents) -> Iterator[str]:
    labels = contents.labels
    policy = policy_of(labels)
    if policy is not None:
        yield " ".join(_policy(policy, labels)) + "\n"
    for figure in contents.figures:
        yield figure.table.markdown()
    reasons = _reasons(labels)
    if reasons:
        yield ResultTable(
            "null", "Clips without a label, and why", ["Condition", "Reason", "Clips"], reasons
        ).markdown()


def _reasons(labels: LabelTable) -> list[list[str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for condition in labels.scales:
        for reason, has_label in zip(labels.reasons(condition), labels.labelled(condition), strict=True):
            if not has_label:
                counts[condition, reason or "unknown"] += 1
    ordered = sorted(counts.items(), key=lambda entry: (CONDITIONS.index(entry[0][0]), entry[0][1]))
    return [[condition, reason, str(count)] for (condition, reason), count in ordered]


def _files(contents: Contents) -> Iterator[str]:
    yield "- `labels.parquet`, `labels.csv`: one row per clip; `label_AT` is the label of condition AT, `n_AT` its"
    yield "  ratings, `spread_AT` their standard deviation, `class_AT` its class, `reason_AT` why there is none"
    yield "- `ratings.parquet`, `ratings.csv`: one row per clip, condition and annotator; the CSV lacks empty columns"
    for figure in contents.figures:
        key = figure.table.key
        drawing = f", `{key}.svg`" if figure.chart else ""
        yield f"- `{key}.tex`, `{key}.csv`{drawing}: {figure.table.title.lower()}"
    yield "- `croissant.json`: this description for programs (Croissant 1.0), with the checksum of every table\n"
    yield "```python\nimport datasets\n"
    yield 'labels = datasets.load_dataset("path/of/this/folder", "labels")["train"]'
    yield 'ratings = datasets.load_dataset("path/of/this/folder", "ratings")["train"]\n```\n'
    yield "One table is one part for `datasets`, which it calls train; the column `split` has the split of each clip.\n"


def _terms(terms: Terms) -> Iterator[str]:
    fields = {
        "Licence": terms.licence,
        "Made by": ", ".join(terms.creators),
        "Published": terms.date,
        "Address": terms.address,
        "Version": terms.version,
        "Citation": terms.citation,
    }
    for name, value in fields.items():
        yield f"- {name}: {value or _MISSING}"
    yield "- The licence is that of the labels and ratings. The clips are not part of the release.\n"


def _policy(policy: Policy, labels: LabelTable) -> Iterator[str]:
    """Yield how ratings became labels, in sentences; what cannot matter is left out."""
    of_words = all(scale.kind == "nominal" for scale in labels.scales.values())
    label = "most frequent word" if of_words else "mean"
    fewest = f"a panel of {policy.panel}" if policy.at_least is None else f"{policy.at_least} or more"
    first = f"count by their first {policy.panel}"
    more = {"null": "have no label", "first": first, "all": "count by all of them"}[policy.more]
    yield f"A label that is made of ratings is the {label} of {fewest}."
    yield f"Clips with more than {policy.panel} ratings {more}."
    if CH_SIMS_SCALE in labels.scales.values():
        between = "that of its interval" if policy.nearest else "none"
        yield f"The class of a mean between the eleven values that five ratings can have is {between}."
    if policy.protocol_strict:
        yield "Ratings that violate the protocol were left out."
    if policy.adjudicators:
        yield f"The answer of {', '.join(policy.adjudicators)} is the label where there is one."
    if policy.ground_truth:
        yield "An answer that is marked as ground truth is the label."
    for old, new in policy.replacements:
        yield f"{new} replaced {old}."


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return "–" if cell != cell else f"{cell:.3f}"  # noqa: PLR0124 - NaN is not itself
    return "–" if cell is None else str(cell)
