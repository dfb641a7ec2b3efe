"""How long a run will take, said before it begins where that is long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.extractors.contract import Reads
from fmltk.toolkit.machine import n_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.run.engine import Engine
    from fmltk.toolkit.run.tasks import RunSet
    from fmltk.toolkit.settings import RunOptions

LONG_RUN_H = 0.1  # CPU-hours from which a run's cost is said
MEASURED_FROM_S, MEASURED_FROM_TEXTS = 600.0, 1000  # with less to do, measuring is most of the work


def say_hours(what: str, amount: str, unit_cost: str, *, hours: float, options: RunOptions, reporter: Reporter) -> None:
    """Say how long something takes, if it is long: such as "--transcribe", "60 clips of 30 minutes", "0.20 CPU-s"."""
    if hours >= LONG_RUN_H:
        n_workers = options.n_workers or n_cores()
        reporter.say(
            f"{what}: {amount} take about {hours:.1f} CPU-hours ({unit_cost}), {hours / n_workers:.1f} hours with "
            f"{n_workers} workers; the same command continues where it was stopped"
        )


def say_cost(
    engine: Engine,
    sets: Mapping[str, RunSet],
    durations_s: Sequence[float],
    options: RunOptions,
    reporter: Reporter,
) -> None:
    """Measure the sets that have weights, where there is much to do, and say how long each takes.

    sets : by key, those that are extracted; durations_s : of the clips, as far as they are known
    """
    seconds, n_texts = sum(durations_s), len(durations_s)
    for key, one in sets.items():
        card = one.extractor.card
        of_text = card.reads is Reads.TEXT
        much = n_texts >= MEASURED_FROM_TEXTS if of_text else seconds >= MEASURED_FROM_S
        if not (one.name and card.weights and much):
            continue
        cost = engine.call("set_cost", key)
        if cost is None:
            continue
        hours = cost * (n_texts if of_text else seconds) / 3600
        amount = f"{n_texts:,} transcripts" if of_text else f"{n_texts:,} clips of {seconds / 60:.0f} minutes"
        unit = f"{cost:.3f} CPU-s per {'transcript' if of_text else 'second'}"
        say_hours(f"{key} ({one.name})", amount, unit, hours=hours, options=options, reporter=reporter)
