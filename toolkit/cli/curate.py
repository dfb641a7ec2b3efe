"""The command `fmltk curate`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import Place

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("features", type=Place())
@click.option("-o", "--out", type=PATH, default=Path("curation.csv"), show_default=True, help="The table to write.")
@output_options
def curate(features: AnyPath, *, out: Path, reporter: Reporter) -> None:
    r"""List the clips of FEATURES that a careful researcher would look at, one row per clip and reason.

    Write keep or exclude into the column decision, in any spreadsheet, and give the table to extract, train and dataset
    export as --exclude; a clip with one exclude is left out. The same command again keeps the decisions.

    \b
    fmltk curate features/ -o curation.csv
    fmltk train features/ --labels labels.parquet --exclude curation.csv
    """
    from fmltk.toolkit.curation.curate import curate as run
    from fmltk.toolkit.curation.curate import has_fingerprints
    from fmltk.toolkit.curation.findings import REASONS
    from fmltk.toolkit.curation.table import merge_decisions, write_curation
    from fmltk.toolkit.features.feature_set import read_features
    from fmltk.toolkit.io.outputs import hold_file

    n_clips = len(read_features(features))
    with hold_file(out):
        rows = merge_decisions(run(features), out)
        write_curation(rows, out)
    if not has_fingerprints(features):
        reporter.warn(
            f"{features} is of an older version, without fingerprints.parquet: the same content is found by the files' "
            "checksums alone; run `fmltk extract` again into another folder to find it by audio and video"
        )
    counts = Counter(row["reason"] for row in rows)
    n_listed = len({row["utterance_id"] for row in rows})
    n_decided = len({row["utterance_id"] for row in rows if row["decision"]})
    if reporter.json_output:
        document = {"out": str(out), "clips": n_clips, "to_look_at": n_listed, "decided": n_decided}
        reporter.json({**document, "reasons": dict(counts), "findings": rows})
        return
    said = [(reason, what, counts[reason]) for reason, what in REASONS.items() if counts[reason]]
    if said:
        reporter.table(("reason", "what it means", "clips"), said)
    done = f", {n_decided} of them decided" if n_decided else ""
    reporter.say(f"{n_listed} of {n_clips} clips to look at{done}: {out}. Fill in the column decision: keep or exclude")
