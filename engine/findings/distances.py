"""How far a training walks: single updates, the path they make, and the distance it ends at.

Each is one number a trial, or none where it was not measured. All norms are L2 over all weights.
"""

import math
from functools import lru_cache
from itertools import pairwise

from engine.figures import LogFit, log_fit
from engine.state import SweepState, TrialState


def update_norm_mean(_: SweepState, trial: TrialState) -> float | None:
    """Mean norm of a single update of the weights over the whole run.

    Σ mᵢ sᵢ ÷ Σ sᵢ, where mᵢ is the mean of epoch i and sᵢ its steps: a budget may cut the last
    epoch short. None where an epoch has no mean.
    """
    counts = [after - before for before, after in pairwise([0, *(r.steps for r in trial.records)])]
    means = [record.update_norm_mean for record in trial.records]
    known = [mean for mean in means if mean is not None]
    if not known or len(known) < len(means):
        return None
    return math.fsum(m * s for m, s in zip(known, counts, strict=True)) / sum(counts)


def path_per_sample(_: SweepState, trial: TrialState) -> float | None:
    """Length of the path through the weights ÷ samples seen, at the end.

    Small and large batches are thereby compared for the same number of samples (after Shen 2018,
    who compares steps so).
    """
    last = trial.last
    if last is None or last.path_length is None or not last.samples:
        return None
    return last.path_length / last.samples


def distance_at_equal_samples(state: SweepState, trial: TrialState) -> float | None:
    """Distance from the initial weights when as many samples were seen as in every finished trial.

    That many are the least of their totals. Between two ends of epochs the distance is taken to
    change linearly with the samples, from 0 at the start. None where this trial saw fewer.
    """
    wanted = _least_samples(state, state.version)
    ends = [(0, 0.0), *((r.samples, r.distance_from_init) for r in trial.records)]
    for (seen, near), (then, far) in pairwise(ends):
        if wanted == then > 0:
            return far
        if seen < wanted < then and near is not None and far is not None:
            return near + (wanted - seen) / (then - seen) * (far - near)
    return None


def distance_log_slope(_: SweepState, trial: TrialState) -> float | None:
    """By how much the distance grows while the steps grow e-fold: slope b of a + b ln(steps).

    Least squares over the ends of epochs. Hoffer et al. 2017 (arXiv:1705.08741) find that the
    distance from the initial weights grows like the logarithm of the updates. None below three
    epochs.
    """
    fit = _fit(trial)
    return fit.slope if fit else None


def distance_log_r2(_: SweepState, trial: TrialState) -> float | None:
    """Share of the variance of the distances that this line explains: R², 1 where they lie on it.

    None below three epochs.
    """
    fit = _fit(trial)
    return fit.r2 if fit else None


def distance_power(_: SweepState, trial: TrialState) -> float | None:
    """Exponent p of distance = c · stepsᵖ: slope of ln(distance) on ln(steps), least squares.

    Over the ends of epochs whose distance is positive. 1 is a straight walk at constant speed, ½
    a random one (diffusion, Einstein 1905); the logarithmic growth of Hoffer et al. 2017
    (arXiv:1705.08741) falls below every such power. None below three epochs.
    """
    ends = ((record.steps, record.distance_from_init or 0.0) for record in trial.records)
    fit = log_fit((steps, math.log(far)) for steps, far in ends if 0 < far < math.inf)
    return fit.slope if fit else None


def _fit(trial: TrialState) -> LogFit | None:
    ends = ((record.steps, record.distance_from_init) for record in trial.records)
    return log_fit((steps, distance) for steps, distance in ends if distance is not None)


@lru_cache(maxsize=1)
def _least_samples(state: SweepState, version: int) -> int:
    """Samples that every finished trial saw; 0 without one.

    Kept while the state is of that version: a claim asks for it once a trial.
    """
    finished = (trial for trial in state.trials.values() if trial.status == "finished")
    return min((trial.last.samples for trial in finished if trial.last), default=0)
