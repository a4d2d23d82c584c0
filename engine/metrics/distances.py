"""Measures how far the weights of a trial move: updates, path length, and distance reached.

Each function returns one number for a trial, or None where it was not measured. All norms are L2
norms over all weights.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.log_fit import LogFit, log_fit


def update_norm_mean(_: SweepState, trial: TrialState) -> float | None:
    """Return the mean norm of a single update of the weights over the whole run.

    Σ mᵢ sᵢ ÷ Σ sᵢ, where mᵢ is the mean of epoch i and sᵢ its steps: the budget may cut the last
    epoch short. None where an epoch has no mean.
    """
    steps = trial.records.column("steps")
    counts = [after - before for before, after in pairwise([0, *steps])]
    known = trial.records.known("update_norm_mean")
    if not known or len(known) < len(counts):
        return None
    return math.fsum(m * s for m, s in zip(known, counts, strict=True)) / math.fsum(counts)


def path_per_sample(_: SweepState, trial: TrialState) -> float | None:
    """Return the length of the path through the weights ÷ images seen, at the end.

    It compares small and large batches over the same number of images (after Shen 2018, who
    compares steps in this way).
    """
    last = trial.last
    if last is None or last.path_length is None or not last.samples:
        return None
    return last.path_length / last.samples


def distance_at_equal_samples(state: SweepState, trial: TrialState) -> float | None:
    """Return the distance from the initial weights after as many images as every trial has seen.

    That is the smallest total among the finished trials. Between two ends of epochs the distance
    is interpolated linearly, from 0 at the start. None where this trial saw fewer images.
    """
    wanted = _least_samples(state, state.version)
    ends = [(0.0, 0.0), *_ends(trial, "samples")]
    for (seen, near), (then, far) in pairwise(ends):
        if wanted == then > 0:
            return None if math.isnan(far) else far
        if seen < wanted < then and not math.isnan(near + far):
            return near + (wanted - seen) / (then - seen) * (far - near)
    return None


def distance_log_slope(_: SweepState, trial: TrialState) -> float | None:
    """Return the slope of the distance over ln(steps): its growth while the steps grow e-fold.

    It is the slope b of a + b ln(steps), fitted to the ends of epochs by least squares. Hoffer et
    al. 2017 (arXiv:1705.08741) find that the distance from the initial weights grows like the
    logarithm of the updates. None below three epochs.
    """
    fit = _fit(trial)
    return fit.slope if fit else None


def distance_log_r2(_: SweepState, trial: TrialState) -> float | None:
    """Return the share of the variance of the distances that this line explains (R²).

    None below three epochs.
    """
    fit = _fit(trial)
    return fit.r2 if fit else None


def distance_power(_: SweepState, trial: TrialState) -> float | None:
    """Return the exponent p of distance = c · stepsᵖ.

    It is the slope of ln(distance) on ln(steps), by least squares over the ends of epochs with a
    positive distance. p = 1 is a straight walk at constant speed, p = ½ a random walk (diffusion,
    Einstein 1905); logarithmic growth (Hoffer et al. 2017, arXiv:1705.08741) is slower than any
    power. None below three epochs.
    """
    ends = _ends(trial, "steps")
    fit = log_fit((steps, math.log(far)) for steps, far in ends if 0 < far < math.inf)
    return fit.slope if fit else None


def _fit(trial: TrialState) -> LogFit | None:
    ends = _ends(trial, "steps")
    return log_fit((steps, distance) for steps, distance in ends if not math.isnan(distance))


def _ends(trial: TrialState, along: str) -> Iterator[tuple[float, float]]:
    """Yield the steps or samples at the end of each epoch, with the distance from the start."""
    columns = (trial.records.column(name) for name in (along, "distance_from_init"))
    return zip(*columns, strict=True)


@lru_cache(maxsize=1)
def _least_samples(state: SweepState, version: int) -> int:
    """Return the number of images that every finished trial has seen; 0 without one.

    The result is kept while the state has that version: a claim needs it for every trial.
    """
    finished = (trial for trial in state.trials.values() if trial.status == "finished")
    return min((trial.last.samples for trial in finished if trial.last), default=0)
