"""The gradient noise scale of a training, from parts of its batches measured apart.

After McCandlish et al. 2018 (arXiv:1812.06162), appendix A.1. A gradient of the mean loss of b
samples has E|g|² = |G|² + tr(Σ)/b, where G is the true gradient and Σ the covariance of single
samples' gradients. So a batch of B samples in k parts of b₁ … b_k tells both: with
p = Σ bᵢ|gᵢ|²/B, the mean over the parts, and q = |g|² of the whole,

    tr(Σ) ≈ B (p − q) / (k − 1)        |G|² ≈ q − tr(Σ)/B

are unbiased. Their ratio is not, so both are summed, and divided last.
"""

from typing import Any

import torch
from torch import Tensor

LARGE = 256
EVERY, EVERY_OF_SMALL = 32, 128
"""Steps from one measurement to the next, of batches of at least `LARGE` and of smaller ones.

One costs a part of a step where the batch is whole, and some calls more, which small batches feel.
"""


class NoiseAccumulator:
    """Sums up the parts of one batch while its gradient accumulates.

    `gradient` (..., P) is the buffer, a row for each replicate; `scale` is what the sum over
    samples is multiplied by in it.
    """

    def __init__(self, gradient: Tensor, scale: float) -> None:
        self._gradient, self._scale = gradient, scale
        self._before = torch.zeros_like(gradient)
        rows = gradient.shape[:-1]
        self._squares = torch.zeros(rows, dtype=torch.float64, device=gradient.device)
        self._count = 0

    def add(self, size: int) -> None:
        """The samples of one more part have been added to the buffer."""
        part = _norm(self._gradient - self._before) / (self._scale * size)
        self._squares += size * part**2
        self._before.copy_(self._gradient)
        self._count += 1

    def estimates(self, batch_size: int) -> Tensor:
        """tr(Σ), |G|² and 1: shape (..., 3), float64, on the device."""
        return estimates(self._squares, self._gradient, self._scale, self._count, batch_size)


def first_part(batch_size: int) -> int:
    """Samples of the part that is measured apart where the batch is whole.

    A half, and of large batches a quarter, which costs less. The estimates spread no more for it:
    tr(Σ) is B₁B₂/B · |g₁ − g₂|², where g₁ − g₂ has the covariance Σ · B/(B₁B₂), whatever the parts.
    """
    return batch_size // 4 if batch_size >= LARGE else batch_size // 2


def two_parts(first: Tensor, gradient: Tensor, size: int, batch_size: int, scale: float) -> Tensor:
    """The same from the gradient (..., P) of a batch and that of its first `size` samples alone.

    Both are sums over samples; `gradient` is multiplied by `scale`, `first` is not.
    """
    rest = _norm(gradient / scale - first)
    squares = _norm(first) ** 2 / size + rest**2 / (batch_size - size)
    return estimates(squares, gradient, scale, 2, batch_size)


def estimates(
    squares: Tensor, gradient: Tensor, scale: float, parts: int, batch_size: int
) -> Tensor:
    """tr(Σ), |G|² and 1, from Σ bᵢ|gᵢ|² of the parts and the gradient of the whole."""
    whole = (_norm(gradient) / (scale * batch_size)) ** 2
    trace = batch_size * (squares / batch_size - whole) / (parts - 1)
    return torch.stack([trace, whole - trace / batch_size, torch.ones_like(whole)], -1)


def _norm(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1)
    return norms.double()


def every(batch_size: int) -> int:
    """Steps from one measurement to the next."""
    return EVERY if batch_size >= LARGE else EVERY_OF_SMALL


class NoiseScale:
    """Measures every so many steps, and sums over an epoch; reads nothing from the device before.

    Of each of `replicates` by itself.

    Attributes:
        possible: false where a gradient of parts is none of the whole (batch norm).
    """

    def __init__(
        self, device: torch.device, possible: bool, batch_size: int, replicates: int = 1
    ) -> None:
        self.possible = possible
        self._every = every(batch_size)
        self._sums = torch.zeros(replicates, 3, dtype=torch.float64, device=device)

    def follow(self, batch_size: int) -> None:
        """Measure as often as batches of this size want it."""
        self._every = every(batch_size)

    def due(self, step: int, samples: int) -> bool:
        """Whether to measure at a step (from 1) on so many samples."""
        return self.possible and samples > 1 and (step - 1) % self._every == 0

    def add(self, measurement: Tensor) -> None:
        """Take what a step has told, (R, 3); where it is not finite, the training ends anyway."""
        self._sums += measurement

    def of(self, replicate: int) -> tuple[float, float, int]:
        """Means of tr(Σ) and |G|² over the epoch's measurements so far, and how many there were."""
        trace, signal, count = self._sums[replicate].tolist()
        return (trace / count, signal / count, int(count)) if count else (0.0, 0.0, 0)

    def end_epoch(self) -> None:
        """Begin anew."""
        self._sums.zero_()

    def held(self) -> list[Tensor]:
        """The tensors that it keeps."""
        return [self._sums]

    def state(self) -> dict[str, Any]:
        """What it has measured so far, between two steps."""
        return {"sums": self._sums.clone()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what was measured before."""
        self._sums.copy_(state["sums"])
