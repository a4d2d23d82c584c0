"""The test error of several seeds as bias and variance, for 0–1 loss without noise.

Domingos 2000 (A Unified Bias-Variance Decomposition and its Applications, theorem 2). The *main
prediction* of an image is the class that most seeds predict. Its bias is 1 where that is wrong,
else 0; its variance V is the share of seeds that predict another class. Then for every image

    error = bias + c₂ V,  c₂ = 1 where the main prediction is right,
                          c₂ = −P(right | not the main prediction) where it is wrong:

seeds that differ from a wrong main prediction may be right (with two classes they always are, so
that c₂ = −1). Where several classes are predicted by equally many seeds, the figures are means over
taking each of them for the main prediction; the identity holds for each, so for the mean.

The uncertainty over the seeds is that of the jackknife (Quenouille 1956, Tukey 1958), from four
seeds on: with three it leaves two, for which the decomposition says nothing.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.prediction_codec import unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LEAST_SEEDS = 3
"""With two, each image on which they differ is a tie: all of the error is then bias."""
LEAST_JUDGED = LEAST_SEEDS + 1
"""The jackknife leaves one out, and net variance of two is always 0: three would have no error."""


class ErrorDecomposition(NamedTuple):
    """Means over the images; error = bias + variance_unbiased − variance_biased.

    `variance` is the mean of V. `variance_unbiased` is the mean of V where the main prediction is
    right and of 0 elsewhere; `variance_biased` is the mean of |c₂| V where it is wrong: the error
    that is avoided there. `net_variance` is their difference. With two classes both add up to
    `variance`; with more, some of it is between two wrong classes and changes no error.
    """

    error: float
    bias: float
    variance: float
    variance_unbiased: float
    variance_biased: float
    net_variance: float


class Decomposed(NamedTuple):
    """The decomposition over all seeds, and a value for each seed; their mean is the whole.

    The value of seed i is θ − (n − 1)(θ₍₋ᵢ₎ − θ̄), θ₍₋ᵢ₎ being the figure of all seeds but i and θ̄
    the mean of these: Tukey's pseudo-values, moved so that their mean is the figure itself. To
    first order θ is a mean over the seeds of these values, so a t test may take them as it takes
    any other value of a seed; and √(variance ÷ n) of them is the jackknife's standard error.
    """

    whole: ErrorDecomposition
    seeds: tuple[ErrorDecomposition, ...]

    @property
    def errors(self) -> ErrorDecomposition:
        """The jackknife's standard error of each part."""
        n = len(self.seeds)  # four or more
        return ErrorDecomposition._make(
            math.sqrt(math.fsum((value - part) ** 2 for value in values) / (n - 1) / n)
            for part, values in zip(self.whole, zip(*self.seeds, strict=True), strict=True)
        )


def part(name: str) -> Callable[[SweepState, TrialState], float | None]:
    """Return a function that reads one part of the error of a trial: see `part_of`."""
    return lambda state, trial: part_of(state, trial, name)


def part_of(state: SweepState, trial: TrialState, name: str) -> float | None:
    """Return a seed's pseudo-value of a part of the error (jackknife); None below four seeds."""
    trials = predicting(state, trial.configuration)
    if len(trials) < LEAST_JUDGED:
        return None
    at = next((index for index, each in enumerate(trials) if each.id == trial.id), None)
    parts = None if at is None else decomposed_over(trials)
    return None if parts is None or at is None else float(getattr(parts.seeds[at], name))


def whole_of(state: SweepState, configuration: str, name: str) -> tuple[float, int] | None:
    """Return a part of a configuration's error and its number of seeds; None below three."""
    trials = predicting(state, configuration)
    parts = decomposed_over(trials)
    return (float(getattr(parts.whole, name)), len(trials)) if parts else None


def predicting(state: SweepState, configuration: str) -> list[TrialState]:
    """Return the finished replicates that have predictions; older journals contain none."""
    return [
        trial
        for trial in state.replicates(configuration)
        if trial.status == "finished" and trial.predicted is not None
    ]


def decomposed_over(trials: Sequence[TrialState]) -> Decomposed | None:
    """Decompose the error over trials; None below three trials, or on different images."""
    predictions = [trial.predicted for trial in trials if trial.predicted is not None]
    if len(predictions) < LEAST_SEEDS:
        return None
    if differ(trials):
        return None
    return decompose(tuple(each.packed for each in predictions), predictions[0].classes)


def differ(trials: Sequence[TrialState]) -> bool:
    """Return whether trials predicted other images, or other right classes of them."""
    predictions = (trial.predicted for trial in trials if trial.predicted is not None)
    return len({(each.classes, each.images, each.labels) for each in predictions}) > 1


@lru_cache(maxsize=256)
def decompose(packed: tuple[bytes, ...], classes: int) -> Decomposed:
    """Decompose the error from packed predictions of several trials on the same images."""
    missed = unpack(packed)
    images = missed.shape[1]
    missed = missed[:, missed.any(0)]  # an image that all predict rightly adds nothing
    counts = _counts(missed, classes)
    whole = _parts(counts, len(packed), images)
    without = [_parts(_left_out(counts, one), len(packed) - 1, images) for one in missed]
    middle = [math.fsum(values) / len(without) for values in zip(*without, strict=True)]
    seeds = tuple(
        ErrorDecomposition._make(
            part - (len(packed) - 1) * (left - mean)
            for part, left, mean in zip(whole, each, middle, strict=True)
        )
        for each in without
    )
    return Decomposed(whole, seeds)


def _counts(missed: "NDArray[np.uint8]", classes: int) -> "NDArray[np.int64]":
    """Count for each image the trials that are off by each number of classes: (classes, images)."""
    import numpy as np

    return np.stack([(missed == off).sum(0) for off in range(classes)])


def _left_out(counts: "NDArray[np.int64]", one: "NDArray[np.uint8]") -> "NDArray[np.int64]":
    """Return the counts (classes, images) without those of one trial (images,)."""
    left = counts.copy()
    left[one, range(len(one))] -= 1
    return left


def _parts(counts: "NDArray[np.int64]", seeds: int, images: int) -> ErrorDecomposition:
    """Decompose the error from counts (classes, wrong images), as means over all `images`."""
    most = counts.max(0)
    modes = (counts == most).sum(0)
    right = (counts[0] == most) / modes  # share of the main predictions that are right
    straying, hits = 1 - most / seeds, counts[0] / seeds
    bias, unbiased = (1 - right).sum() / images, (right * straying).sum() / images
    biased = ((1 - right) * hits).sum() / images
    return ErrorDecomposition(
        error=float((1 - hits).sum() / images),
        bias=float(bias),
        variance=float(straying.sum() / images),
        variance_unbiased=float(unbiased),
        variance_biased=float(biased),
        net_variance=float(unbiased - biased),
    )
