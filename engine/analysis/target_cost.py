"""The cost of a target: steps, images and seconds of training until a trial reached it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from batchscope.engine.analysis.figures import kin
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.target_reached import reached
from batchscope.engine.schedule.target import canonical
from batchscope.engine.spec import Configuration, Settings


class TargetCost(NamedTuple):
    """The cost for one trial; `every` is the number of steps between two checks of the target."""

    steps: float
    samples: float
    seconds: float
    every: float


def cost_of(trial: TrialState) -> TargetCost | None:
    """Return the cost of the target for a trial; None if it has no target or missed it.

    A trial ends when it reaches its target, so the cost is its totals.
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
    """Return the settings that all batch sizes of one curve share: those that `kin` keeps.

    The budget is left out too: it only limits how long they train. A target is the same whichever
    keys state it.
    """
    alike = kin(settings)
    train = replace(canonical(alike.train), epochs=None, steps=None, samples=None, seconds=None)
    return replace(alike, train=train)


def costs(state: SweepState, configuration: Configuration) -> list[TargetCost | None]:
    """Return the cost for each trial of a configuration, in the order of the seeds."""
    trials = sorted(state.replicates(configuration.id), key=lambda trial: trial.seed)
    return [cost_of(trial) for trial in trials]


def means(trial_costs: Sequence[TargetCost]) -> TargetCost:
    """Return the mean steps, images and seconds over several trials."""
    columns = zip(*trial_costs, strict=True)
    return TargetCost._make(math.fsum(column) / len(trial_costs) for column in columns)
