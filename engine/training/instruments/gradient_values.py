"""Single values of many gradients, added up without keeping them."""

import torch
from torch import Tensor

from batchscope.engine.journal.events import ValueBins

EXPONENT_BIT, EXPONENTS = 23, 256  # float32: a sign, 8 bits of exponent, 23 of fraction


class ValueSum:
    """Counts by sign and power of two, and the first four moments, over gradients (P,) float32.

    The gaps of a flat buffer hold zeros that are no values; `gaps` says how many there are.
    """

    def __init__(self, device: torch.device, gaps: int = 0) -> None:
        self._counts = torch.zeros(2 * EXPONENTS, dtype=torch.int64, device=device)
        self._powers = torch.zeros(4, dtype=torch.float64, device=device)
        self._gaps = gaps
        self._values = self._zeros_to_drop = 0

    def add(self, gradient: Tensor) -> None:
        """Add the values of one finite gradient."""
        # sign and exponent are the top nine bits, so bins of powers of two are exact and cheap
        top = (gradient.view(torch.int32) >> EXPONENT_BIT) + EXPONENTS
        self._counts += torch.bincount(top, minlength=2 * EXPONENTS)
        # scaled, so that a fourth power does not fall below what float32 holds
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
        """Moments and counts of all values so far; at least one gradient was added."""
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
        """Pairs of index (see `engine.metrics.norm_histogram.signed_edges`) and count, smallest
        index first."""
        counts: dict[int, int] = {}
        for top, count in enumerate(self._counts.tolist()):
            exponent = top % EXPONENTS
            index = exponent if top >= EXPONENTS else -exponent
            counts[index] = counts.get(index, 0) + count
        counts[0] -= self._zeros_to_drop
        return tuple((index, count) for index, count in sorted(counts.items()) if count)
