"""Competition: successive small steps against one large step (Shen 2018).

From the same weights, on the same samples and at the same rate, by plain gradient steps whatever
the training's optimizer. Small steps that point apart partly cancel; the large step averages
their gradients before it is taken.
"""

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import NamedTuple

import torch
from torch import Tensor

from batchscope.engine.journal.events import Competing, Competition
from batchscope.engine.training.instruments.frozen_batches import Drawing, standing_still

EXAMPLES = 32


class _Draw(NamedTuple):
    """Dot products of the first small step, the sum of all and the large step.

    `lengths` is Σ |a_i| over the small steps; over their pairs i < j, `between` is Σ a_i·a_j and
    `lengths_between` Σ |a_i||a_j|.
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
        """The steps in the plane that the first small one and the sum of all span."""
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
    go_on: Callable[[], None],
) -> Competition | None:
    """`draws` times: steps of `pair[0]` samples against one of `pair[1]`, a multiple of it.

    Draws are left out in which a step is not finite, or in which the first, the large or all small
    steps but one have no length; None where fewer than two are left. `go_on` is called before
    each and may raise.
    """
    small, large = pair
    kept: list[_Draw] = []
    with standing_still(drawing.flat) as start:
        for batch in drawing.batches(large, draws, (*stream, small)):
            go_on()
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
        if norm > 0:  # by its direction: a step too short for a product with others still has one
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
    whole = all(math.isfinite(value) for value in drawn)
    long = min(drawn.first, drawn.total, drawn.large, lengths_between) > 0
    return drawn if whole and long else None


def _dot(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum(dtype=torch.float64))


def _moments(values: list[float]) -> tuple[float, float]:
    return fmean(values), stdev(values)
