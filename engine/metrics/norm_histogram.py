"""Logarithmic bins for gradient norms, the same in all runs so that histograms can be added.

There are twenty bins a decade from 1e-10 to 1e10, one bin below that starts at 0, and one above
that ends at infinity. Bin `i` holds `EDGES[i] <= norm < EDGES[i + 1]`.
"""

import math
from collections.abc import Iterable

from batchscope.engine.journal.events import NormSlice

BINS_PER_DECADE = 20
LOWEST, HIGHEST = -10, 10
EDGES: tuple[float, ...] = (
    0.0,
    *(
        10.0 ** (index / BINS_PER_DECADE)
        for index in range(LOWEST * BINS_PER_DECADE, HIGHEST * BINS_PER_DECADE + 1)
    ),
    math.inf,
)


def signed_edges(index: int) -> tuple[float, float]:
    """Return the ends of a bin of signed values, with magnitudes 2^e <= |value| < 2^(e + 1).

    Index 0 holds zero and the subnormal float32 values, |value| < 2^-126; index e + 127 holds
    positive values, -(e + 127) negative ones.
    """
    if index == 0:
        return -(2.0**-126), 2.0**-126
    low, high = 2.0 ** (abs(index) - 127), 2.0 ** (abs(index) - 126)
    return (low, high) if index > 0 else (-high, -low)


class Norms:
    """Gradient norms of several slices: counts by bin, and moments merged by Chan et al. (1979)."""

    def __init__(self, slices: Iterable[NormSlice] = ()) -> None:
        self.count = 0
        self.broken = 0
        self.bins: dict[int, int] = {}
        self._mean = 0.0
        self._squares = 0.0
        for piece in slices:
            self.add(piece)

    def add(self, piece: NormSlice) -> None:
        """Add the norms of a slice."""
        self.broken += piece.broken
        for offset, count in enumerate(piece.counts):
            if count:
                index = piece.first_bin + offset
                self.bins[index] = self.bins.get(index, 0) + count
        self.join(piece.count, piece.mean, piece.squares)

    def join(self, count: int, mean: float, squares: float) -> None:
        """Add norms without bins: their count, mean, and sum of squared deviations from it."""
        if not count:
            return
        total = self.count + count
        delta = mean - self._mean
        self._squares += squares + delta * delta * self.count * count / total
        self._mean += delta * count / total
        self.count = total

    def merge(self, other: "Norms") -> None:
        """Add all norms of another histogram."""
        self.broken += other.broken
        for index, count in other.bins.items():
            self.bins[index] = self.bins.get(index, 0) + count
        self.join(other.count, other._mean, other._squares)

    @property
    def mean(self) -> float | None:
        """The mean norm; None without norms."""
        return self._mean if self.count else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation (n − 1); None below two norms."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else None

    @property
    def cv(self) -> float | None:
        """The coefficient of variation, std ÷ mean; None where it is not defined."""
        std = self.std
        return std / self._mean if std is not None and self._mean > 0 else None


class Pool(Norms):
    """Norms of several seeds together; their `cv` leaves out the differences between seeds."""

    def __init__(self, seeds: Iterable[Norms]) -> None:
        super().__init__()
        self._within: list[float] = []
        for seed in seeds:
            self.merge(seed)
            if seed.cv is not None:
                self._within.append(seed.cv)

    @property
    def cv(self) -> float | None:
        """The mean over the seeds of the coefficient of variation within each."""
        return sum(self._within) / len(self._within) if self._within else None
