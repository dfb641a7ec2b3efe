"""`fmltk annotation agreement`: how far raters agree, each rater, and the most disputed clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fmltk.annotation.settings import FILE, AgreementOptions
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.console import Reporter


@click.command()
@click.argument("ratings", type=FILE)
@settings_options(AgreementOptions, "options")
@output_options
def agreement(ratings: Path, *, options: AgreementOptions, reporter: Reporter) -> None:
    r"""Show how far the annotators of RATINGS agree, how each compares with the others, and the most disputed clips.

    \b
    fmltk annotation agreement ratings.parquet
    """
    from fmltk.annotation import agreement_tables as tables
    from fmltk.annotation.patterns import PATTERNS
    from fmltk.annotation.protocols import OUT_OF_PROTOCOL
    from fmltk.annotation.quality import marked_raters, overview
    from fmltk.annotation.ratings import FLAGS, flag_counts, flagged_raters, read_ratings

    table = read_ratings(ratings)
    found = overview(table, n_items=options.n_items, n_bootstrap=options.n_bootstrap, seed=options.seed)
    flags = flag_counts(table)
    if reporter.json_output:
        reporter.json(
            {
                "agreement": found.agreement,
                "flags": flags,
                "raters": found.raters,
                "disputed": found.disputed,
                "patterns": PATTERNS,
            }
        )
        return
    reporter.table(tables.AGREEMENT_COLUMNS, tables.agreement_rows(found.agreement))
    reporter.table(tables.RATER_COLUMNS, tables.rater_rows(found.raters))
    reporter.table(tables.DISPUTED_COLUMNS, tables.disputed_rows(found.disputed), title="Most disputed clips")
    for flag in OUT_OF_PROTOCOL:
        if flag in flags:
            who = ", ".join(f"{name} ({count})" for name, count in flagged_raters(table, flag).items())
            reporter.warn(
                f"{flag} ({flags[flag]} ratings): {FLAGS[flag]}; aggregate --protocol-strict leaves them out: {who}"
            )
    for pattern, meaning in PATTERNS.items():
        suspicious = marked_raters(pattern, found.raters)
        if suspicious:
            reporter.warn(f"{pattern}, {meaning}: {', '.join(suspicious)}")
    reporter.suggest("annotation", "aggregate", ratings, "-o", ratings.with_name("labels.parquet"))
