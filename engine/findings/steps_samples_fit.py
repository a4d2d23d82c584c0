"""Fits the hyperbola of steps and samples to a target, and the critical batch size.

McCandlish et al. 2018 (arXiv:1812.06162, eq. 2.11): a training that needs `S` steps of batch size
`B`, and so E = B S samples, to reach a target obeys

    (S/S_min − 1)(E/E_min − 1) = 1,    S = S_min (1 + B_crit/B),    E = E_min (1 + B/B_crit)

with B_crit = E_min/S_min, the batch size at which both are twice their minimum. The second and the
third equation are equivalent, so only one is fitted: ln S = a + ln(1 + e^c/B), c = ln B_crit, with
multiplicative noise. For a given c the level a is a mean, so c is the only unknown. It is searched
on a grid, which needs no starting value.

The interval of c inverts a test, as Fieller's does for a ratio (Fieller 1954). If c is true,
ln S − ln(1 + e^c/B) is constant over the batch sizes, except for noise. So its slope along the
derivative of the curve, one number for each seed, has mean 0. The interval holds every c that
Student's t-test over the seeds does not reject. The noise may differ between batch sizes, and a
seed may shift all of them; nothing is linearized. For comparison, a percentile bootstrap over three
to five seeds covers 0.80 to 0.91 at a nominal 0.95 (`benchmarks/coverage.py`).

The spread over the seeds does not show an error that all seeds share at one batch size, such as an
unsuitable learning rate. If the means deviate from the curve by more than the seeds explain (F
test, without the shift of each seed), the slope of the means is tested against their own
deviations, with two degrees of freedom fewer than there are batch sizes.

numpy and `scipy.special` are loaded when the first curve is fitted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from batchscope.engine.analysis.statistics import LEVEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Method = Literal["t over the seeds", "t over the batch sizes", ""]
LEAST_SIZES, LEAST_SEEDS = 4, 2
BEYOND = math.log(1000.0)
"""How far beyond the range of batch sizes the critical one is searched, in natural logarithms."""
POINTS, ZOOMS, HALVINGS = 401, 4, 40
EXACT = 1e-9
"""Deviations of logarithms up to this count as zero: the search is no more accurate."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted curve.

    Attributes:
        steps_min: S_min, the fewest possible steps.
        samples_min: E_min, the fewest possible samples.
        critical: B_crit = E_min/S_min, in samples.
        low, high: its interval with coverage 1 − `level`; 0 or infinity where it is unbounded.
        method: how the interval was computed.
        strays: p value of the F test that the means lie on the curve.
        level: significance level.
    """

    steps_min: float
    samples_min: float
    critical: float
    low: float
    high: float
    method: Method
    strays: float
    level: float = LEVEL

    def steps(self, batch_size: float) -> float:
        """Return the steps to the target at a batch size."""
        return self.steps_min * (1.0 + self.critical / batch_size)

    def samples(self, batch_size: float) -> float:
        """Return the samples to the target at a batch size."""
        return self.samples_min * (1.0 + batch_size / self.critical)


def fit(
    sizes: Sequence[float],
    steps: Sequence[Sequence[float]],
    every: Sequence[float] | None = None,
    level: float = LEVEL,
) -> Fit:
    """Fit steps = S_min · (1 + B_crit/B) to the steps to the target, by least squares of ln S.

    Args:
        sizes: batch sizes (K,).
        steps: steps to the target (K, n), the n seeds in the same order for each batch size.
        every: steps between two checks of the target (K,). Steps are known only to this precision,
            and all seeds may be rounded in the same way, so ln S has at least a variance of
            (every/S)²/12.
        level: significance level of the interval.

    Raises:
        ValueError: fewer than four batch sizes or two seeds, or a number that is not positive.
    """
    import numpy as np

    batch, logs = np.array(sizes, np.float64), np.array(steps, np.float64)
    if len(batch) < LEAST_SIZES or logs.ndim != 2 or logs.shape[1] < LEAST_SEEDS:
        raise ValueError(f"needs {LEAST_SIZES} batch sizes and {LEAST_SEEDS} seeds at least")
    if len(logs) != len(batch) or not (batch > 0).all() or not (logs > 0).all():
        raise ValueError("needs positive steps for every batch size")
    looks = np.zeros(len(batch)) if every is None else np.array(every, np.float64)
    curve = _Curve(batch, np.log(logs), (looks / logs.mean(axis=1)) ** 2 / 12)
    grid = np.linspace(
        math.log(batch.min()) - BEYOND, math.log(batch.max()) + BEYOND, POINTS, dtype=np.float64
    )
    best = curve.nearest(grid)
    strays = curve.strays(best)
    method: Method = "t over the batch sizes" if strays < LEVEL else "t over the seeds"
    error = curve.error_of_means if strays < LEVEL else curve.error_of_seeds
    low, high = _ends(grid, best, lambda c: error(c, level))
    floor = math.exp(curve.level(best))
    critical = math.exp(best)
    return Fit(floor, floor * critical, critical, low, high, method, strays, level)


class _Curve:
    """Log-steps (K, n) at batch sizes (K,), evaluated for candidates c = ln B_crit."""

    def __init__(self, batch: "Floats", logs: "Floats", floor: "Floats") -> None:
        self._batch, self._logs, self._floor = batch, logs, floor
        self._means = logs.mean(axis=1)
        self._seeds = logs.shape[1]

    def _bend(self, c: "Floats") -> "tuple[Floats, Floats]":
        """Return ln(1 + e^c/B), and its derivative by c centred over the sizes; both (G, K)."""
        import numpy as np

        away = c[:, None] - np.log(self._batch)
        slope = 1.0 / (1.0 + np.exp(-away))
        return np.logaddexp(0.0, away), slope - slope.mean(axis=1, keepdims=True)

    def _left(self, c: "Floats") -> "tuple[Floats, Floats]":
        """Return the residuals of the means, and the weights that give their slope: both (G, K)."""
        bend, slope = self._bend(c)
        level = self._means - bend
        scale = (slope**2).sum(axis=1, keepdims=True)
        return level - level.mean(axis=1, keepdims=True), slope / scale

    def squares(self, c: "Floats") -> "Floats":
        """Return the sum of squared residuals of the means for each curve: shape (G,)."""
        squares: Floats = (self._left(c)[0] ** 2).sum(axis=1)
        return squares

    def level(self, c: float) -> float:
        """Return ln S_min for a given c."""
        import numpy as np

        return float((self._means - self._bend(np.array([c]))[0][0]).mean())

    def nearest(self, grid: "Floats") -> float:
        """Return the least-squares c: the best of the grid, then of finer grids around it."""
        import numpy as np

        for _ in range(ZOOMS):
            at = int(self.squares(grid).argmin())
            low, high = grid[max(0, at - 1)], grid[min(len(grid) - 1, at + 1)]
            grid = np.linspace(low, high, POINTS)
        return float(grid[int(self.squares(grid).argmin())])

    def strays(self, c: float) -> float:
        """Return the p value of an F test that the means lie on the curve.

        The noise of a single trial is its residual after subtracting the means of its batch size
        and of its seed.
        """
        import numpy as np
        from scipy.special import fdtrc

        sizes, seeds = self._logs.shape
        single = (self._logs - self._means[:, None]) - (self._logs.mean(0) - self._logs.mean())
        df = (sizes - 1) * (seeds - 1)
        noise = float((single**2).sum()) / df
        off = seeds * float(self.squares(np.array([c]))[0]) / (sizes - 2)
        if off <= max(EXACT**2, seeds * float(self._floor.mean())):
            return 1.0
        return float(fdtrc(sizes - 2, df, off / noise)) if noise > 0 else 0.0

    def error_of_seeds(self, c: "Floats", level: float) -> "Floats":
        """Return |slope| − its critical value, from the slopes of the single seeds: shape (G,)."""
        import numpy as np

        _, weights = self._left(c)
        slopes = weights @ (self._logs - self._means[:, None])  # less their mean
        variance = slopes.var(axis=1, ddof=1) / self._seeds
        spread = np.sqrt(np.maximum(variance, (weights**2) @ self._floor))
        excess: Floats = np.abs(self._slope(c, weights)) - _student(self._seeds - 1, level) * spread
        return excess

    def error_of_means(self, c: "Floats", level: float) -> "Floats":
        """Return |slope| − its critical value, from the residuals of the means: shape (G,)."""
        import numpy as np

        left, weights = self._left(c)
        own = self._slope(c, weights)
        scale = (weights**2).sum(axis=1)  # 1 over the squared length of the derivative
        rest = (left**2).sum(axis=1) - own**2 / scale
        df = len(self._batch) - 2
        spread = np.sqrt(np.maximum(rest, 0.0) / df * scale)
        excess: Floats = np.abs(own) - _student(df, level) * spread
        return excess

    def _slope(self, c: "Floats", weights: "Floats") -> "Floats":
        slope: Floats = (weights * (self._means - self._bend(c)[0])).sum(axis=1)
        return slope


def _student(df: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - level / 2))


def _ends(
    grid: "Floats", best: float, refused: "Callable[[Floats], Floats]"
) -> tuple[float, float]:
    """Return the ends of the interval around the best c in which no c is rejected.

    Args:
        grid: candidates for c (G,), rising.
        best: the least-squares c.
        refused: positive for every c that the test rejects.

    Returns:
        Batch sizes e^c; 0 or infinity where the interval is unbounded.
    """
    import numpy as np

    def end(side: "Floats", none: float) -> float:
        out = np.flatnonzero(refused(side) > 0) if len(side) else np.array([], int)
        if not len(out):
            return none
        first = int(out[0])
        inside, outside = (float(side[first - 1]) if first else best), float(side[first])
        for _ in range(HALVINGS):
            middle = (inside + outside) / 2
            if float(refused(np.array([middle]))[0]) > 0:
                outside = middle
            else:
                inside = middle
        return math.exp(inside)

    return end(grid[grid < best][::-1], 0.0), end(grid[grid > best], math.inf)
