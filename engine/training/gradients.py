"""Gradients of a batch by accumulation, and the norms of many steps as histograms."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.bins import EDGES
from engine.events import NormSlice
from engine.training.flat import FlatModel

_EDGES = np.array(EDGES)


def accumulate(
    flat: FlatModel,
    images: Tensor,
    labels: Tensor,
    batch: Tensor,
    micro_batch_size: int,
    mean: bool,
    heard: Callable[[int], None] | None = None,
) -> None:
    """Leave in `flat.gradient` the gradient of the loss of `batch` (indices, shape (B,)).

    The loss is the cross-entropy summed over the samples, divided by B if `mean`. Every
    micro-batch adds its sum, so a smaller last one has just the weight of its samples. After each,
    `heard` is told how many those were.
    """
    flat.gradient.zero_()
    scale = 1.0 / len(batch) if mean else 1.0
    weight = _scalar(scale, flat.gradient.device, flat.gradient.dtype)
    for micro_batch in torch.split(batch, micro_batch_size):
        logits = flat.logits(images[micro_batch])
        loss = functional.cross_entropy(logits, labels[micro_batch], reduction="sum")
        loss.backward(weight)  # type: ignore[no-untyped-call]
        if heard:
            heard(len(micro_batch))


@lru_cache(maxsize=64)
def _scalar(value: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A number on the device, kept: bringing it there anew would wait for a GPU at every step."""
    return torch.tensor(value, device=device, dtype=dtype)


def norm_slice(first_step: int, norms: NDArray[np.floating]) -> NormSlice:
    """Histogram and moments of the norms of consecutive steps, shape (n,)."""
    values = norms.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return NormSlice(first_step, 0, 0.0, 0.0, 0, (), len(values))
    counts, _ = np.histogram(finite, _EDGES)
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1])
    mean = float(finite.mean())
    return NormSlice(
        first_step=first_step,
        count=len(finite),
        mean=mean,
        squares=float(np.square(finite - mean).sum()),
        first_bin=first,
        counts=tuple(counts[first : last + 1].tolist()),
        broken=len(values) - len(finite),
    )
