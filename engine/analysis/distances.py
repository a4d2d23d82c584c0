"""How far a training walks: single updates, the path they make, and the distance it ends at.

Each is one number a trial, or none where it was not measured. All norms are L2 over all weights.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from batchscope.engine.analysis.figures import LogFit, log_fit
from batchscope.engine.journal.sweep_state import SweepState, TrialState


def update_norm_mean(_: SweepState, trial: TrialState) -> float | None:
    """Mean norm of a single update of the weights over the whole run.

    Σ mᵢ sᵢ ÷ Σ sᵢ, where mᵢ is the mean of epoch i and sᵢ its steps: a budget may cut the last
    epoch short. None where an epoch has no mean.
    """
    steps = trial.records.column("steps")
    counts = [after - before for before, after in pairwise([0, *steps])]
    known = trial.records.known("update_norm_mean")
    if not known or len(known) < len(counts):
        return None
    return math.fsum(m * s for m, s in zip(known, counts, strict=True)) / math.fsum(counts)


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
    ends = [(0.0, 0.0), *_ends(trial, "samples")]
    for (seen, near), (then, far) in pairwise(ends):
        if wanted == then > 0:
            return None if math.isnan(far) else far
        if seen < wanted < then and not math.isnan(near + far):
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
    ends = _ends(trial, "steps")
    fit = log_fit((steps, math.log(far)) for steps, far in ends if 0 < far < math.inf)
    return fit.slope if fit else None


def _fit(trial: TrialState) -> LogFit | None:
    ends = _ends(trial, "steps")
    return log_fit((steps, distance) for steps, distance in ends if not math.isnan(distance))


def _ends(trial: TrialState, along: str) -> Iterator[tuple[float, float]]:
    """How far the training was at the ends of epochs, and the distance there."""
    columns = (trial.records.column(name) for name in (along, "distance_from_init"))
    return zip(*columns, strict=True)


@lru_cache(maxsize=1)
def _least_samples(state: SweepState, version: int) -> int:
    """Samples that every finished trial saw; 0 without one.

    Kept while the state is of that version: a claim asks for it once a trial.
    """
    finished = (trial for trial in state.trials.values() if trial.status == "finished")
    return min((trial.last.samples for trial in finished if trial.last), default=0)
