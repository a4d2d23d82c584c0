"""The error of a configuration as bias and variance over its seeds, for 0–1 loss without noise.

Domingos 2000 (A Unified Bias-Variance Decomposition and its Applications, theorem 2). The *main
prediction* of an image is what most seeds say. Its bias is 1 where that is wrong, else 0; its
variance V is the share of seeds that say something else. Then for every image

    error = bias + c₂ V,  c₂ = 1 where the main prediction is right,
                          c₂ = −P(right | not the main prediction) where it is wrong:

seeds that stray from a wrong main prediction may be right by it (with two classes they always are,
so that c₂ = −1). Where several classes are said by equally many seeds, the figures are means over
taking each of them for the main prediction; the identity holds for each, so for the mean.

The uncertainty over the seeds is the jackknife's (Quenouille 1956, Tukey 1958), from four seeds on:
with three it leaves two, for which the decomposition says nothing.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from batchscope.engine.analysis.figures import by_batch_size
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.metrics.prediction_codec import unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


LEAST_SEEDS = 3
"""With two, each that strays is half of a tie: all of the error is then bias, whatever it is."""
LEAST_JUDGED = LEAST_SEEDS + 1
"""The jackknife leaves one out, and of two net variance is 0 always: three would have no error."""
FEW = "bias and variance are judged from 4 seeds on: of fewer no seed has a value of its own"


class ErrorDecomposition(NamedTuple):
    """Means over the images; error = bias + variance_unbiased − variance_biased.

    `variance` is the mean of V. `variance_unbiased` is the mean of V where the main prediction is
    right and of 0 elsewhere; `variance_biased` that of |c₂| V where it is wrong: what straying
    mends. `net_variance` is their difference. With two classes both add up to `variance`; with more
    some of it leads from one wrong class to another, and moves no error.
    """

    error: float
    bias: float
    variance: float
    variance_unbiased: float
    variance_biased: float
    net_variance: float


class Decomposed(NamedTuple):
    """The parts, and those that every seed stands for: their mean is the whole.

    Seed i stands for θ − (n − 1)(θ₍₋ᵢ₎ − θ̄), where θ₍₋ᵢ₎ is the figure of all seeds but i and θ̄ the
    mean of these: Tukey's pseudo-values, moved so that their mean is the figure itself. To first
    order θ is a mean over the seeds of just these values, so a t test may take them as it takes any
    other value a seed; and √(variance ÷ n) of them is the jackknife's standard error.
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


class BiasVariance(Struct, frozen=True, kw_only=True):
    """The decomposition of one configuration over so many `seeds`, each part with its error.

    Of three seeds the errors of the parts are None; that of `error`, a mean, is not.
    """

    configuration: str
    label: str
    batch_size: int
    seeds: int
    error: float
    bias: float
    variance: float
    variance_unbiased: float
    variance_biased: float
    net_variance: float
    error_se: float
    bias_se: float | None = None
    variance_se: float | None = None
    variance_unbiased_se: float | None = None
    variance_biased_se: float | None = None
    net_variance_se: float | None = None


def bias_variances(state: SweepState) -> list[BiasVariance]:
    """One for every configuration of which three seeds finished, smaller batch sizes first."""
    decompositions = []
    for name in by_batch_size(state):
        trials = _predicting(state, name)
        parts = decomposed_over(trials)
        if parts is None:
            continue
        each = state.configurations[name]
        errors = parts.errors._asdict()
        known = errors if len(trials) >= LEAST_JUDGED else {"error": errors["error"]}
        decompositions.append(
            BiasVariance(
                configuration=name,
                label=each.label,
                batch_size=each.settings.train.batch_size,
                seeds=len(trials),
                **parts.whole._asdict(),
                **{f"{key}_se": value for key, value in known.items()},
            )
        )
    return decompositions


def part_of(state: SweepState, trial: TrialState, name: str) -> float | None:
    """What a seed stands for of a part of its configuration; None below four seeds."""
    trials = _predicting(state, trial.configuration)
    if len(trials) < LEAST_JUDGED:
        return None
    at = next((index for index, each in enumerate(trials) if each.id == trial.id), None)
    parts = None if at is None else decomposed_over(trials)
    return None if parts is None or at is None else float(getattr(parts.seeds[at], name))


def whole_of(state: SweepState, configuration: str, name: str) -> tuple[float, int] | None:
    """A part of a configuration and the seeds behind it; None below three."""
    trials = _predicting(state, configuration)
    parts = decomposed_over(trials)
    return (float(getattr(parts.whole, name)), len(trials)) if parts else None


def bias(state: SweepState, trial: TrialState) -> float | None:
    """Share of the test images whose main prediction over the seeds is wrong."""
    return part_of(state, trial, "bias")


def variance(state: SweepState, trial: TrialState) -> float | None:
    """Mean share of the seeds that stray from the main prediction."""
    return part_of(state, trial, "variance")


def variance_unbiased(state: SweepState, trial: TrialState) -> float | None:
    """What of the error comes from straying from main predictions that are right."""
    return part_of(state, trial, "variance_unbiased")


def variance_biased(state: SweepState, trial: TrialState) -> float | None:
    """What of the error is mended by straying from main predictions that are wrong."""
    return part_of(state, trial, "variance_biased")


def net_variance(state: SweepState, trial: TrialState) -> float | None:
    """The error − the bias."""
    return part_of(state, trial, "net_variance")


def decomposed_over(trials: Sequence[TrialState]) -> Decomposed | None:
    """The decomposition over trials; None below three, or where they do not compare."""
    predictions = [trial.predicted for trial in trials if trial.predicted is not None]
    if len(predictions) < LEAST_SEEDS:
        return None
    if len({(each.classes, each.images) for each in predictions}) > 1:
        return None
    return decompose(tuple(each.packed for each in predictions), predictions[0].classes)


@lru_cache(maxsize=256)
def decompose(packed: tuple[bytes, ...], classes: int) -> Decomposed:
    """What so many trials make of the same images; the same bytes are looked at once."""
    missed = unpack(packed)
    images = missed.shape[1]
    missed = missed[:, missed.any(0)]  # where all are right there is nothing to add up
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


def _predicting(state: SweepState, configuration: str) -> list[TrialState]:
    """Finished replicates whose predictions are in the journal; older journals hold none."""
    return [
        trial
        for trial in state.replicates(configuration)
        if trial.status == "finished" and trial.predicted is not None
    ]


def _counts(missed: "NDArray[np.uint8]", classes: int) -> "NDArray[np.int64]":
    """How many trials are off by each number of classes, (classes, images)."""
    import numpy as np

    return np.stack([(missed == off).sum(0) for off in range(classes)])


def _left_out(counts: "NDArray[np.int64]", one: "NDArray[np.uint8]") -> "NDArray[np.int64]":
    """The counts without those of one trial (images,)."""
    left = counts.copy()
    left[one, range(len(one))] -= 1
    return left


def _parts(counts: "NDArray[np.int64]", seeds: int, images: int) -> ErrorDecomposition:
    """The decomposition of counts (classes, images); images that all get right are not in there."""
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


LABEL_MOST = 22
PARTS = ("error", "bias", "net_variance", "variance")
NAMES = ("error", "bias", "+ net variance", "(variance)")


def part_lines(rows: Sequence[BiasVariance]) -> list[str]:
    """A line for each configuration, in percent ± the jackknife's standard error.

    Of three seeds the parts have none. Without any configuration there is no line.
    """
    if not rows:
        return []
    longest = max(len(each.label) for each in rows)
    width = min(LABEL_MOST, max(len("batch size"), longest))
    lines = [f"{'batch size':>{width}}" + "".join(f"{name:>15}" for name in NAMES) + "  %"]
    for each in rows:
        cells = (f"{_cell(each, part):>15}" for part in PARTS)
        lines.append(f"{each.label[:width]:>{width}}{''.join(cells)}")
    return lines


def _cell(of: BiasVariance, part: str) -> str:
    """A part in percent, ± its standard error where it has one."""
    value, error = getattr(of, part), getattr(of, f"{part}_se")
    return f"{100 * value:.2f}" + ("" if error is None else f" ± {100 * error:.2f}")
