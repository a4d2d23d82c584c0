"""The frozen-weight probe: many batches of several sizes, at one and the same weights.

Along a training the weights change with the batch size, and so do the gradients' norms for that
reason alone. At frozen weights only the batch differs (Shen 2018). There a mean-reduced gradient
has E|g_B|^2 = |G|^2 + tr(Sigma)/B, which falls with B, a sum-reduced one B^2 |G|^2 + B tr(Sigma),
which rises.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from batchscope.engine.journal.events import Draws
from batchscope.engine.training.instruments.frozen_batches import Drawing, standing_still
from batchscope.engine.training.instruments.grad_norms import norm_slice
from batchscope.engine.training.instruments.gradient_values import ValueSum


def draw_sizes(
    drawing: Drawing,
    sizes: Iterable[int],
    draws: int,
    stream: tuple[int, ...],
    go_on: Callable[[], None],
) -> tuple[Draws, ...]:
    """Gradients of `draws` batches of every size; `go_on` is called before each and may raise."""
    with standing_still(drawing.flat):
        return tuple(_draw(drawing, size, draws, stream, go_on) for size in sizes)


def _draw(
    drawing: Drawing,
    size: int,
    draws: int,
    stream: tuple[int, ...],
    go_on: Callable[[], None],
) -> Draws:
    flat = drawing.flat
    values = ValueSum(flat.gradient.device, gaps=len(flat.gradient) - flat.parameters)
    directions = torch.zeros_like(flat.gradient)
    norms, pointing, finite = np.empty(draws), 0, 0
    for index, batch in enumerate(drawing.batches(size, draws, stream)):
        go_on()
        gradient = drawing.gradient(batch)
        norms[index] = norm = float(flat.norm())
        if not math.isfinite(norm):
            continue
        values.add(gradient)
        finite += 1
        if norm > 0:
            directions.add_(gradient, alpha=1 / norm)
            pointing += 1
    return Draws(
        batch_size=size,
        norms=norm_slice(0, norms),
        values=values.result() if finite else None,
        pairwise_cosine=_pairwise_cosine(
            float(directions.square().sum(dtype=torch.float64)), pointing
        ),
    )


def _pairwise_cosine(squared: float, count: int) -> float | None:
    """Mean cosine over all pairs of `count` directions whose sum has the squared length given.

    |sum u_i|^2 = n + sum over i != j of cos(i, j), for unit vectors u_i.
    """
    if count < 2:
        return None
    cosine = (squared - count) / (count * (count - 1))
    return max(-1.0, min(1.0, cosine))  # rounding may carry it a little beyond
