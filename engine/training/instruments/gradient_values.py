"""Histogram and moments of the single values of many gradients, without storing the gradients."""

import torch
from torch import Tensor

from batchscope.engine.journal.events import ValueBins

EXPONENT_BIT, EXPONENTS = 23, 256  # float32: a sign, 8 bits of exponent, 23 of fraction


class ValueSum:
    """Counts gradient values by sign and power of two, and sums their first four powers.

    Args:
        device: device of the gradients.
        gaps: number of entries in a gradient buffer that are padding zeros and no values.
    """

    def __init__(self, device: torch.device, gaps: int = 0) -> None:
        self._counts = torch.zeros(2 * EXPONENTS, dtype=torch.int64, device=device)
        self._powers = torch.zeros(4, dtype=torch.float64, device=device)
        self._gaps = gaps
        self._values = self._zeros_to_drop = 0

    def add(self, gradient: Tensor) -> None:
        """Add the values of one finite gradient, shape (P,), float32."""
        # the top nine bits are sign and exponent, so bins of powers of two are exact and cheap
        top = (gradient.view(torch.int32) >> EXPONENT_BIT) + EXPONENTS
        self._counts += torch.bincount(top, minlength=2 * EXPONENTS)
        # scaled, because a fourth power may underflow in float32
        scale = gradient.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
        first = gradient / scale
        second = first * first
        sums = torch.stack(
            [first.sum(), second.sum(), (second * first).sum(), (second * second).sum()]
        )
        powers = torch.arange(1, 5, device=gradient.device)
        self._powers += sums.double() * scale.double() ** powers
        self._values += len(gradient) - self._gaps
        self._zeros_to_drop += self._gaps

    def result(self) -> ValueBins:
        """Return moments and counts of all values; at least one gradient must have been added."""
        mean, second, third, fourth = (self._powers / self._values).tolist()
        variance = max(0.0, second - mean**2)
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        return ValueBins(
            count=self._values,
            mean=mean,
            std=variance**0.5,
            kurtosis=central / variance**2 if variance**2 > 0 else None,
            bins=self._bins(),
        )

    def _bins(self) -> tuple[tuple[int, int], ...]:
        """Return pairs of index and count, smallest index first.

        Indices are those of `engine.metrics.norm_histogram.signed_edges`.
        """
        counts: dict[int, int] = {}
        for top, count in enumerate(self._counts.tolist()):
            exponent = top % EXPONENTS
            index = exponent if top >= EXPONENTS else -exponent
            counts[index] = counts.get(index, 0) + count
        counts[0] -= self._zeros_to_drop
        return tuple((index, count) for index, count in sorted(counts.items()) if count)
