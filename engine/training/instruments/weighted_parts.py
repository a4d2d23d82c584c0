"""The gradient noise of a task's batch, whose samples may have unequal weights.

The gradient of a batch is g = Σ sᵢ ÷ Σ wᵢ, where sᵢ is the gradient of a sample's summed loss and
wᵢ its weight, such as its tokens. Samples are drawn, not tokens, so the noise is that of samples.
To first order, g scatters about the true gradient G as a mean of B independent residuals,

    g − G ≈ 1/B · Σ (sᵢ − G wᵢ)/w̄,        so Cov(g) ≈ C/B with C = Cov(sᵢ − G wᵢ)/w̄²,

the linearization of a ratio of sums (Cochran 1977, Sampling Techniques, chapter 6). The noise scale
is tr(C)/|G|², in samples. For a batch in k parts of bⱼ samples with the sums Sⱼ and Wⱼ,

    tr(C) ≈ 1/(k − 1) · Σ |Sⱼ − g Wⱼ|²/bⱼ ÷ (Σ Wⱼ/B)²,

which is never negative, and with equal weights is the estimate of `noise_scale`. (The mean of
|Sⱼ/Wⱼ|² would not do: where a sample's weight and gradient are related, its bias is as large as the
noise.)
"""

import torch
from torch import Tensor

from batchscope.engine.training.instruments.instrument import WeightedParts

Weight = float | Tensor


class WeightedAccumulator:
    """Sums up the parts of one batch while the sum of its gradients accumulates.

    Args:
        gradient: the buffer (1, P), which holds the sum until it is divided by the weight.
    """

    def __init__(self, gradient: Tensor) -> None:
        self._gradient = gradient
        self._sum, self._weighted = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self._squares: Weight = 0.0
        self._weight_squares: Weight = 0.0
        self._weight: Weight = 0.0
        self._samples = self._count = 0

    def add(self, size: int, weight: Weight) -> None:
        """Record a part, after its gradient was added to the buffer.

        Args:
            size: number of samples.
            weight: their weight.
        """
        part = self._gradient - self._sum
        self._squares = self._squares + _dot(part, part) / size
        self._weighted += part * (weight / size)
        self._weight_squares = self._weight_squares + weight * weight / size
        self._weight = self._weight + weight
        self._sum.copy_(self._gradient)
        self._samples, self._count = self._samples + size, self._count + 1

    def parts(self, mean: bool) -> WeightedParts:
        """Return the parts so far.

        Args:
            mean: whether the buffer is divided by the weight in the end.
        """
        whole = self._sum / self._weight
        cross = _dot(whole, self._weighted)
        residual = self._squares - 2.0 * cross + _dot(whole, whole) * self._weight_squares
        spread = residual / (self._weight / self._samples) ** 2
        return WeightedParts(spread.clamp_min(0.0), self._count, 1.0 if mean else self._weight)


def two_weighted_parts(
    sums: tuple[Tensor, Tensor],
    weights: tuple[Weight, Weight],
    sizes: tuple[int, int],
    mean: bool,
) -> WeightedParts:
    """Return two parts of a batch.

    Args:
        sums: S₁ and S₂, each (1, P).
        weights: W₁ and W₂.
        sizes: b₁ and b₂.
        mean: whether the gradient of the batch is divided by its weight.
    """
    (first, rest), (one, other) = sums, weights
    weight, samples = one + other, sum(sizes)
    residual = (first * other - rest * one) / weight  # of the second part it is the negative
    spread = _dot(residual, residual) * (1.0 / sizes[0] + 1.0 / sizes[1])
    return WeightedParts(spread / (weight / samples) ** 2, 2, 1.0 if mean else weight)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Return the dot product of each row, float64."""
    return (one * other).sum(-1, dtype=torch.float64)
