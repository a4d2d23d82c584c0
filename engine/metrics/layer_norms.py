"""Gradient norms by layer, as a trial reports them: mean, variation, and share of the total.

For the layers l of a network |g|² = Σ_l |g_l|², so the share of a layer is E|g_l|² ÷ Σ_k E|g_k|²,
with means over the measured steps: the shares of all layers sum up to 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from batchscope.engine.journal.trial_state import TrialState


@dataclass(frozen=True, slots=True)
class LayerNorms:
    """Gradient norms of one layer of one trial over some steps.

    Attributes:
        layer: name of the layer, such as `conv1`.
        parameters: number of its weights and biases.
        draws: number of measured steps.
        mean: mean norm.
        squares: sum of squared deviations from the mean.
        share: its share of the squared norm of the whole gradient, from 0 to 1; None where all
            gradients are zero.
    """

    layer: str
    parameters: int
    draws: int
    mean: float
    squares: float
    share: float | None

    @property
    def cv(self) -> float | None:
        """Coefficient of variation, std (n − 1) ÷ mean; None where it is not defined."""
        if self.draws < 2 or self.mean <= 0:
            return None
        return math.sqrt(self.squares / (self.draws - 1)) / self.mean


def has_layer_norms(trial: TrialState) -> bool:
    """Return whether a trial has reported gradient norms by layer."""
    return len(trial.records.column("layer_mean")) > 0


def stated_norms(trial: TrialState) -> Iterator[tuple[int, int, list[LayerNorms]]]:
    """Yield each epoch that reports norms by layer: its number, its last step, and the norms.

    The norms are those of the steps since the previous such epoch.
    """
    layers = trial.started.layers if trial.started else ()
    records = trial.records
    ends = [0, *map(int, records.column("layer_ends"))]
    mean, squares = records.column("layer_mean"), records.column("layer_squares")
    for at, (first, last) in enumerate(pairwise(ends)):
        if layers and last - first == len(layers):
            draws = int(records.column("layer_draws")[at])
            sums = [Moments(draws, mean[row], squares[row]) for row in range(first, last)]
            epoch, steps = int(records.column("epoch")[at]), int(records.column("steps")[at])
            yield epoch, steps, _shared(trial, sums)


def layer_norms(trial: TrialState, start: float = 0.0, stop: float = 1.0) -> list[LayerNorms]:
    """Return the norms of each layer over a share of the planned steps, empty where unknown.

    An epoch's norms count if the middle of their steps lies within `start` <= share < `stop`,
    or beyond a `stop` of 1.
    """
    planned, before = trial.planned_steps, 0
    sums: list[Moments] = []
    for _, steps, layers in stated_norms(trial):
        share = (before + steps) / 2 / planned if planned else 0.0
        before = steps
        if start <= share and (share < stop or stop >= 1.0):
            sums = sums or [Moments() for _ in layers]
            for moments, each in zip(sums, layers, strict=True):
                moments.join(each.draws, each.mean, each.squares)
    return _shared(trial, sums)


@dataclass(slots=True)
class Moments:
    """Count, mean and squared deviations, merged by Chan et al. (1979)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def join(self, count: int, mean: float, squares: float) -> None:
        """Add other values by their moments."""
        if not count:
            return
        total, delta = self.count + count, mean - self.mean
        self.squares += squares + delta * delta * self.count * count / total
        self.mean += delta * count / total
        self.count = total


def _shared(trial: TrialState, sums: list[Moments]) -> list[LayerNorms]:
    """Return the norms of each layer with its share of the gradient's energy; empty if unknown."""
    if not trial.started or not any(one.count for one in sums):
        return []
    energies = [one.mean**2 + one.squares / one.count for one in sums]
    whole = math.fsum(energies)
    described = zip(
        trial.started.layers, trial.started.layer_parameters, sums, energies, strict=True
    )
    return [
        LayerNorms(
            layer=name,
            parameters=parameters,
            draws=one.count,
            mean=one.mean,
            squares=one.squares,
            share=energy / whole if whole > 0 else None,
        )
        for name, parameters, one, energy in described
    ]
