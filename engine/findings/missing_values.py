"""What is known of the trials that have no value of a measure.

A value that is missing is seldom missing by chance. The estimate of |G|² is not positive where the
noise scale is largest, a target is missed by the slowest trainings, and a training diverges where
it is least stable. To leave such seeds out would bias what the others show. So a noise scale is
judged by what all seeds contribute to it, a missed target counts as the budget that was used in
vain, and of other missing values it is said on which side of the known ones they may be.
"""

from collections.abc import Iterable
from typing import Literal

from batchscope.engine.analysis.ratio_estimate import Quotient
from batchscope.engine.analysis.stack_times import TIMED, clocks
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.bias_variance import ErrorDecomposition
from batchscope.engine.metrics.metric import RatioParts, Spot
from batchscope.engine.metrics.registry import TRIAL, value_of
from batchscope.engine.metrics.target_reached import missed_after
from batchscope.engine.metrics.trial_registry import TO_TARGET

Unknown = Literal["below", "above"]
"""Where a value that is not known may be, compared with the known values of its side."""
BOTH: frozenset[Unknown] = frozenset({"below", "above"})
WORSE: dict[str, frozenset[Unknown]] = {
    "higher": frozenset({"below"}),
    "lower": frozenset({"above"}),
}
"""Where the worse values of a measure are, by the direction that is better."""


def bounds_of(state: SweepState, trials: Iterable[TrialState], measure: str) -> dict[int, float]:
    """Return, for each seed that finished without its target, what it used in vain."""
    if measure not in TO_TARGET:
        return {}
    finished = [trial for trial in trials if trial.status == "finished"]
    if measure in TIMED:
        finished = [trial for members in clocks(state, finished).values() for trial in members[:1]]
    used = {trial.seed: missed_after(trial) for trial in finished}
    name = measure.removesuffix("_to_target")
    return {seed: float(getattr(each, name)) for seed, each in used.items() if each is not None}


def is_ratio(measure: str) -> bool:
    """Return whether a measure is a ratio of means, judged by what each seed contributes."""
    metric = TRIAL.get(measure)
    return metric is not None and metric.parts is not None


def is_physical(measure: str) -> bool:
    """Return whether a measure is a time, a pace or a peak, whatever a training leads to."""
    metric = TRIAL.get(measure)
    return metric is not None and bool(metric.stack) and measure not in TO_TARGET


def worse_place(measure: str) -> int:
    """Return whether worse values of a measure are above (1) or below (−1); 0 if neither."""
    metric = TRIAL.get(measure)
    return {"higher": -1, "lower": 1}.get(metric.better if metric else "", 0)


def lacks_value(state: SweepState, trial: TrialState, measure: str, spot: Spot) -> bool:
    """Return whether a finished trial has no value of its own; few seeds are another matter."""
    if measure in ErrorDecomposition._fields:
        return trial.predicted is None
    return value_of(state, trial, measure, spot) is None


def quotient_of(state: SweepState, trials: Iterable[TrialState], measure: str) -> Quotient:
    """Return the ratio of means over the finished seeds, whatever the ratio of each of them is."""
    metric = TRIAL.get(measure)
    reads = metric.parts if metric else None
    finished = [trial for trial in trials if trial.status == "finished"]
    parts: list[RatioParts] = []
    if reads is not None:
        parts = [each for trial in finished if (each := reads(state, trial)) is not None]
    bases = [each.base for each in parts if each.base is not None]
    return Quotient([each.pair for each in parts], bases or None)


def unknown_values(
    measure: str, diverged: int, lacking: int, unmeasured: int, better: str = ""
) -> frozenset[Unknown]:
    """Return where the values of a side may be that are not known; empty if all are known.

    A training that diverged is worse than all that finished, and one that missed its target needs
    more than it used. Of any other value nothing is known. Times and memory do not depend on where
    a training leads.

    Args:
        measure: the measure that is compared.
        diverged: how many trials diverged.
        lacking: how many trials finished without a value of their own.
        unmeasured: how many of these contribute nothing to a ratio of means either.
        better: of a metric of a task, which direction is better; empty if it is not known.
    """
    metric = TRIAL.get(measure)
    if metric is None:
        return BOTH if lacking else WORSE.get(better, BOTH) if diverged else frozenset()
    unknown: frozenset[Unknown] = frozenset()
    if diverged and not is_physical(measure) and not metric.before_epochs:
        unknown |= WORSE.get(metric.better, BOTH)
    if lacking and measure in TO_TARGET:
        unknown |= {"above"}
    elif unmeasured if metric.parts else lacking:
        unknown |= BOTH
    return unknown
