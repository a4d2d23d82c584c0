"""Measures the gradient noise scale of a training, from the gradients of parts of its batches.

After McCandlish et al. 2018 (arXiv:1812.06162), appendix A.1. A gradient of the mean loss of b
samples has E|g|² = |G|² + tr(Σ)/b, where G is the true gradient and Σ the covariance of single
samples' gradients. So both can be estimated from a batch of B samples in k parts of b₁ … b_k: with
p = Σ bᵢ|gᵢ|²/B, the mean over the parts, and q = |g|² of the whole batch,

    tr(Σ) ≈ B (p − q) / (k − 1)        |G|² ≈ q − tr(Σ)/B

are unbiased. Their ratio is not, so both are summed over the steps, and divided at the end.
"""

import math
from typing import Any

import torch
from torch import Tensor

from batchscope.engine.metrics.noise_scale import noise_scale
from batchscope.engine.networks.architectures import has_batch_norm
from batchscope.engine.training.instruments.instrument import (
    BatchParts,
    Instrument,
    Step,
    TrainingView,
    WeightedParts,
)

LARGE = 256
EVERY, EVERY_OF_SMALL = 32, 128
"""Steps from one measurement to the next, for batches of at least `LARGE` and for smaller ones.

A measurement costs a part of a step, and some additional calls, which matter for small batches.
"""


class PartsAccumulator:
    """Sums up the squared norms of the parts of one batch while its gradient accumulates.

    Args:
        gradient: the buffer, shape (..., P), a row for each replicate.
        scale: factor on the sum over samples in it.
    """

    def __init__(self, gradient: Tensor, scale: float) -> None:
        self._gradient, self._scale = gradient, scale
        self._before = torch.zeros_like(gradient)
        rows = gradient.shape[:-1]
        self._squares = torch.zeros(rows, dtype=torch.float64, device=gradient.device)
        self._count = 0

    def add(self, size: int) -> None:
        """Record a part of `size` samples, after its gradients were added to the buffer."""
        part = _norm(self._gradient - self._before) / (self._scale * size)
        self._squares += size * part**2
        self._before.copy_(self._gradient)
        self._count += 1

    def parts(self) -> BatchParts:
        """Return the parts so far."""
        return BatchParts(self._squares, self._count)


def first_part(batch_size: int) -> int:
    """Return the samples of the part that is measured separately if a batch is one micro-batch.

    A half, and of large batches a quarter, which costs less. The variance of the estimate is the
    same: tr(Σ) is B₁B₂/B · |g₁ − g₂|², where g₁ − g₂ has the covariance Σ · B/(B₁B₂) for any parts.
    """
    return batch_size // 4 if batch_size >= LARGE else batch_size // 2


def two_parts(
    first: Tensor, gradient: Tensor, size: int, batch_size: int, scale: float
) -> BatchParts:
    """Return two parts of a batch: its first `size` samples, and the rest.

    Args:
        first: gradient (..., P) of the first part, summed over its samples.
        gradient: gradient (..., P) of the batch, summed over its samples and multiplied by `scale`.
        size: samples of the first part.
        batch_size: samples of the batch.
        scale: see `gradient`.
    """
    rest = _norm(gradient / scale - first)
    return BatchParts(_norm(first) ** 2 / size + rest**2 / (batch_size - size), 2)


def estimates(
    parts: BatchParts | WeightedParts, gradient: Tensor, scale: float, batch_size: int
) -> Tensor:
    """Return tr(Σ), |G|² and 1: shape (..., 3), float64, on the device.

    Args:
        parts: at least two parts of the batch.
        gradient: gradient (..., P) of the batch, summed over its samples and multiplied by `scale`.
        scale: see `gradient`.
        batch_size: samples of the batch.
    """
    if isinstance(parts, WeightedParts):
        whole = (_norm(gradient) / parts.divisor) ** 2
        trace = parts.spread / (parts.count - 1)
    else:
        whole = (_norm(gradient) / (scale * batch_size)) ** 2
        trace = batch_size * (parts.squares / batch_size - whole) / (parts.count - 1)
    return torch.stack([trace, whole - trace / batch_size, torch.ones_like(whole)], -1)


def _norm(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1)
    return norms.double()


def every(batch_size: int) -> int:
    """Return the number of steps from one measurement to the next."""
    return EVERY if batch_size >= LARGE else EVERY_OF_SMALL


class NoiseScale(Instrument):
    """Measures the gradient noise scale of each replicate every `every` steps, as epoch means.

    Args:
        gradient: the buffer, shape (R, P).
        possible: False if a batch's gradient is not the mean of its parts' gradients (batch norm).
        weighted: whether the samples have weights (a task), so that two copies of the gradient are
            kept while a step measures.
    """

    NAME = "noise_scale"

    def __init__(self, gradient: Tensor, possible: bool, weighted: bool = False) -> None:
        self.possible, self._gradient = possible, gradient
        self.step_bytes = gradient.nbytes * (2 if weighted else 1) if possible else 0
        self._sums = torch.zeros(len(gradient), 3, dtype=torch.float64, device=gradient.device)

    @classmethod
    def of(cls, view: TrainingView) -> "NoiseScale":
        """Build the instrument for a training."""
        weighted = view.settings.task is not None
        return cls(view.gradient, not has_batch_norm(view.settings.model), weighted)

    def needs_gradient(self, step: Step) -> bool:
        """Return whether this step is measured: every `every`-th, unless its batch has no parts."""
        apart = EVERY if step.batch_size >= LARGE else EVERY_OF_SMALL
        return (step.number - 1) % apart == 0 and self.possible and step.samples > 1

    def needs_parts(self, step: Step) -> bool:
        """Return whether this step is measured."""
        return self.needs_gradient(step)

    def before_step(self, step: Step) -> None:
        """Add the estimates of this step to the sums, if it has parts."""
        if step.parts is not None:
            self._sums += estimates(step.parts, self._gradient, step.scale, step.samples)

    def of_replicate(self, replicate: int) -> tuple[float, float, int]:
        """Return the epoch's means of tr(Σ) and |G|², and the number of measurements."""
        trace, signal, count = self._sums[replicate].tolist()
        return (trace / count, signal / count, int(count)) if count else (0.0, 0.0, 0)

    def fields(self, replicate: int) -> dict[str, Any]:
        """Return noise scale, tr(Σ), |G|² and the number of measurements; None where unknown."""
        trace, signal, draws = self.of_replicate(replicate)
        return {
            "noise_scale": noise_scale(trace, signal),
            "noise_trace": trace if draws and math.isfinite(trace) else None,
            "noise_signal": signal if draws and math.isfinite(signal) else None,
            "noise_draws": draws,
        }

    def end_epoch(self) -> None:
        """Reset the sums for the next epoch."""
        self._sums.zero_()

    def held(self) -> list[Tensor]:
        """Return the tensors that are kept from step to step."""
        return [self._sums]

    def state(self) -> dict[str, Any]:
        """Return the sums of the epoch so far."""
        return {"sums": self._sums.clone()}

    def load(self, state: dict[str, Any]) -> None:
        """Load a state that `state` returned."""
        self._sums.copy_(state["sums"])
