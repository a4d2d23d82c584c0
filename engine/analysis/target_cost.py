"""What a target cost: steps, samples and seconds of training until a trial reached it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from batchscope.engine.analysis.figures import kin
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.target_reached import reached
from batchscope.engine.spec import Configuration, Settings


class TargetCost(NamedTuple):
    """Of one trial; `every` is how many steps lie between two looks at the target."""

    steps: float
    samples: float
    seconds: float
    every: float


def cost_of(trial: TrialState) -> TargetCost | None:
    """What the target cost a trial; None where it did not reach it, or has none.

    A trial ends once it is there, so its totals are those to the target.
    """
    totals, started = reached(trial), trial.started
    if totals is None or started is None:
        return None
    checks = min(trial.settings.train.target_checks, started.steps_per_epoch)
    return TargetCost(
        steps=totals.steps,
        samples=totals.samples,
        seconds=totals.seconds,
        every=started.steps_per_epoch / checks,
    )


def series(settings: Settings) -> Settings:
    """What the batch sizes of one curve have in common: a budget only bounds how long they try."""
    alike = kin(settings)
    train = replace(alike.train, epochs=None, steps=None, samples=None, seconds=None)
    return replace(alike, train=train)


def costs(state: SweepState, configuration: Configuration) -> list[TargetCost | None]:
    """What the target cost each of its trials, in the order of the seeds."""
    trials = sorted(state.replicates(configuration.id), key=lambda trial: trial.seed)
    return [cost_of(trial) for trial in trials]


def means(trial_costs: Sequence[TargetCost]) -> TargetCost:
    """The mean of each figure over several trials."""
    columns = zip(*trial_costs, strict=True)
    return TargetCost._make(math.fsum(column) / len(trial_costs) for column in columns)
