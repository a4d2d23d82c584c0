"""Compares successive small steps with one large step on the same samples (Shen 2018).

Both start at the same weights and use the same learning rate. All steps are plain gradient steps,
independent of the optimizer of the training. Small steps in different directions partly cancel; the
large step averages their gradients first.
"""

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import NamedTuple

import torch
from torch import Tensor

from batchscope.engine.journal.events import Competing, Competition
from batchscope.engine.training.instruments.frozen_batches import Drawing, frozen_weights

EXAMPLES = 32


class _Draw(NamedTuple):
    """Dot products of the steps of one draw.

    Attributes:
        first: squared length of the first small step.
        total: squared length of the sum of all small steps.
        large: squared length of the large step.
        first_total: dot product of the first small step and the sum.
        first_large: dot product of the first small step and the large step.
        total_large: dot product of the sum and the large step.
        lengths: Σ |a_i| over the small steps a_i.
        between: Σ a_i·a_j over pairs i < j of small steps.
        lengths_between: Σ |a_i||a_j| over the same pairs.
    """

    first: float
    total: float
    large: float
    first_total: float
    first_large: float
    total_large: float
    lengths: float
    between: float
    lengths_between: float

    @property
    def cosine(self) -> float:
        return self.total_large / math.sqrt(self.total * self.large)

    @property
    def length_ratio(self) -> float:
        return math.sqrt(self.total / self.large)

    @property
    def straightness(self) -> float:
        return math.sqrt(self.total) / self.lengths

    @property
    def step_cosine(self) -> float:
        return self.between / self.lengths_between

    def projected(self) -> Competing:
        """Return the steps in the plane spanned by the first small step and the sum."""
        length = math.sqrt(self.total)
        x = self.first_total / length
        y = math.sqrt(max(0.0, self.first - x**2))
        large_x = self.total_large / length
        large_y = (self.first_large - x * large_x) / y if y > 0 else 0.0
        outside = math.sqrt(max(0.0, self.large - large_x**2 - large_y**2))
        return Competing(length, (x, y), (large_x, large_y), outside)


def compete(
    drawing: Drawing,
    pair: tuple[int, int],
    draws: int,
    lr: float,
    stream: tuple[int, ...],
    check_cancelled: Callable[[], None],
) -> Competition | None:
    """Compare steps on `pair[0]` samples with one step on `pair[1]` samples, `draws` times.

    Draws are discarded if a step is not finite, if the first step, the large step or the sum of the
    small steps is zero, or if fewer than two small steps are not zero.

    Args:
        drawing: draws batches and computes their gradients.
        pair: small and large batch size; the large one is a multiple of the small one.
        draws: number of draws.
        lr: learning rate of all steps.
        stream: selects the random batches, together with the seed.
        check_cancelled: called before each draw; it may wait or raise.

    Returns:
        Means and standard deviations over the draws; None if fewer than two are usable.
    """
    small, large = pair
    kept: list[_Draw] = []
    with frozen_weights(drawing.flat) as start:
        for batch in drawing.batches(large, draws, (*stream, small)):
            check_cancelled()
            drawn = _steps(drawing, batch, small, lr, start)
            if drawn:
                kept.append(drawn)
    if len(kept) < 2:
        return None
    return Competition(
        small=small,
        large=large,
        draws=len(kept),
        lr=lr,
        cosine=_moments([one.cosine for one in kept]),
        length_ratio=_moments([one.length_ratio for one in kept]),
        straightness=_moments([one.straightness for one in kept]),
        step_cosine=_moments([one.step_cosine for one in kept]),
        examples=tuple(one.projected() for one in kept[:EXAMPLES]),
    )


def _steps(drawing: Drawing, batch: Tensor, small: int, lr: float, start: Tensor) -> _Draw | None:
    weights = drawing.flat.weights.detach()
    large_step = drawing.gradient(batch) * -lr
    first_step, total = None, torch.zeros_like(large_step)
    lengths = between = lengths_between = 0.0
    for part in torch.split(batch, small):
        gradient = drawing.gradient(part)
        norm = float(drawing.flat.norm())
        if norm > 0:  # normalized first: products of very short steps would underflow
            between += _dot(gradient / norm, total) * -lr * norm
        lengths_between += lr * norm * lengths
        lengths += lr * norm
        weights.add_(gradient, alpha=-lr)
        total.add_(gradient, alpha=-lr)
        if first_step is None:
            first_step = total.clone()
    assert first_step is not None
    weights.copy_(start)
    drawn = _Draw(
        _dot(first_step, first_step),
        _dot(total, total),
        _dot(large_step, large_step),
        _dot(first_step, total),
        _dot(first_step, large_step),
        _dot(total, large_step),
        lengths,
        between,
        lengths_between,
    )
    finite = all(math.isfinite(value) for value in drawn)
    has_lengths = min(drawn.first, drawn.total, drawn.large, lengths_between) > 0
    return drawn if finite and has_lengths else None


def _dot(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum(dtype=torch.float64))


def _moments(values: list[float]) -> tuple[float, float]:
    return fmean(values), stdev(values)
