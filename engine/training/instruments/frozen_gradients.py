"""Measures gradients of many batches of several sizes at the same, frozen weights.

In a training the weights depend on the batch size, and that alone changes the gradient norms. At
frozen weights only the batch differs (Shen 2018): the gradient of a mean loss has
E|g_B|^2 = |G|^2 + tr(Sigma)/B, which falls with B; that of a summed loss has
B^2 |G|^2 + B tr(Sigma), which rises.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from batchscope.engine.journal.events import Draws
from batchscope.engine.training.instruments.frozen_batches import Drawing, frozen_weights
from batchscope.engine.training.instruments.grad_norms import norm_slice
from batchscope.engine.training.instruments.gradient_values import ValueSum


def draw_sizes(
    drawing: Drawing,
    sizes: Iterable[int],
    draws: int,
    stream: tuple[int, ...],
    check_cancelled: Callable[[], None],
) -> tuple[Draws, ...]:
    """Measure the gradients of `draws` batches of each size.

    Args:
        drawing: draws batches and computes their gradients.
        sizes: batch sizes.
        draws: number of batches of each size.
        stream: selects the random batches, together with the seed.
        check_cancelled: called before each batch; it may wait or raise.

    Returns:
        One entry for each size.
    """
    with frozen_weights(drawing.flat):
        return tuple(_draw(drawing, size, draws, stream, check_cancelled) for size in sizes)


def _draw(
    drawing: Drawing,
    size: int,
    draws: int,
    stream: tuple[int, ...],
    check_cancelled: Callable[[], None],
) -> Draws:
    flat = drawing.flat
    values = ValueSum(flat.gradient.device, gaps=len(flat.gradient) - flat.parameters)
    directions = torch.zeros_like(flat.gradient)
    norms, pointing, finite = np.empty(draws), 0, 0
    for index, batch in enumerate(drawing.batches(size, draws, stream)):
        check_cancelled()
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
    """Return the mean cosine over all pairs of unit vectors; None for fewer than two.

    |sum u_i|^2 = n + sum over i != j of cos(i, j), for unit vectors u_i.

    Args:
        squared: the squared length of the sum of the vectors.
        count: number of vectors.
    """
    if count < 2:
        return None
    cosine = (squared - count) / (count * (count - 1))
    return max(-1.0, min(1.0, cosine))  # rounding may exceed the bounds a little
