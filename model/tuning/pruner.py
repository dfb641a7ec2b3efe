"""When a trial is given up: at an epoch where its stage is worse than most complete trials' were at that epoch."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.pruners import BasePruner
    from optuna.study import Study
    from optuna.trial import FrozenTrial

EPOCHS_PER_STAGE = 100_000  # steps of Optuna that a stage has, so that trials are compared at the same stage and epoch
LEAST_TRIALS = 5  # that are complete, before any is given up
LEAST_EPOCHS = 3  # of a stage, before it is looked at


def best_of_stage(values: Mapping[int, float], step: int) -> float:
    """Return the smallest value of a step's stage up to that step; infinite where there is none.

    >>> best_of_stage({1: 0.5, 2: 0.3, 100_001: 0.1, 100_002: 0.2}, 100_002)
    0.1
    """
    first = step - step % EPOCHS_PER_STAGE
    return min((value for at, value in values.items() if first <= at <= step), default=math.inf)


def is_hopeless(values: Mapping[int, float], step: int, others: list[Mapping[int, float]]) -> bool:
    """Return whether a trial's best value in its stage so far is worse than the median of the complete trials'."""
    if len(others) < LEAST_TRIALS or step % EPOCHS_PER_STAGE <= LEAST_EPOCHS:
        return False
    return best_of_stage(values, step) > median(best_of_stage(one, step) for one in others)


def stage_pruner() -> BasePruner:
    """Return the rule as Optuna asks for it. Optuna's own pruners compare a trial's best of all its stages."""
    from optuna.pruners import BasePruner
    from optuna.trial import TrialState

    class StagePruner(BasePruner):
        def prune(self, study: Study, trial: FrozenTrial) -> bool:
            step = trial.last_step
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            others: list[Mapping[int, float]] = [one.intermediate_values for one in complete]
            return step is not None and is_hopeless(trial.intermediate_values, step, others)

    return StagePruner()
