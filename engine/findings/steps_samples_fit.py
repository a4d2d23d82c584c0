"""The hyperbola of steps and samples to a target, and the critical batch size in it.

McCandlish et al. 2018 (arXiv:1812.06162, eq. 2.11): a training that needs `S` steps of batch size
`B`, and so E = B S samples, to reach a target obeys

    (S/S_min − 1)(E/E_min − 1) = 1,    S = S_min (1 + B_crit/B),    E = E_min (1 + B/B_crit)

with B_crit = E_min/S_min, where either is twice its minimum. Both laws say the same, so one is
fitted: ln S = a + ln(1 + e^c/B), c = ln B_crit, with noise that multiplies. For a given c the level
a is a mean, so that one unknown is left, and it is looked for over all of a grid: there is no
starting value to get wrong.

The interval inverts a test, as Fieller's does for a ratio (Fieller 1954). Were c the truth,
ln S − ln(1 + e^c/B) would be level over the batch sizes, but for noise: its slope along the
derivative of the curve is a number a seed, of mean 0. What Student's t over the seeds does not
refuse is in the interval. Neither a noise that differs between batch sizes nor one that a seed
brings to all of them harms it, and nothing is linearized. Resampling three to five seeds
(percentile bootstrap) covers 0.80 to 0.91 where it says 0.95 (`benchmarks/coverage.py`).

The seeds know nothing of an error that all of them share at one batch size: a rate that suits it
badly. Where the means stray from the curve by more than the seeds explain (F test, without what a
seed adds everywhere), the slope of the means is judged by their own straying, with two degrees of
freedom fewer than there are batch sizes.

numpy and `scipy.special` are loaded where a curve is first fitted.
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
"""How far outside the range of batch sizes a critical one is looked for, in e-folds."""
POINTS, ZOOMS, HALVINGS = 401, 4, 40
EXACT = 1e-9
"""Logarithms that stray no further than this lie on the curve: it is what the search leaves."""


@dataclass(frozen=True, slots=True)
class Fit:
    """S_min steps, E_min samples and their ratio B_crit, with its interval of coverage 1 − `level`.

    `low` is 0 and `high` infinite where the interval has no such end. `strays` is the p of the
    means lying on the curve but for what the seeds spread.
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
        """Steps to the target at a batch size."""
        return self.steps_min * (1.0 + self.critical / batch_size)

    def samples(self, batch_size: float) -> float:
        """Samples to the target at a batch size."""
        return self.samples_min * (1.0 + batch_size / self.critical)


def fit(
    sizes: Sequence[float],
    steps: Sequence[Sequence[float]],
    every: Sequence[float] | None = None,
    level: float = LEVEL,
) -> Fit:
    """The curve through the steps (K, n) to the target: K batch sizes, n seeds in one order.

    `every` (K,) are the steps from one look at the target to the next. Nothing finer is known, and
    all seeds may be rounded alike, so ln S has a variance of (every/S)²/12 at least.

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
    """Logarithms (K, n) of steps at batch sizes (K,), looked at for critical batch sizes e^c."""

    def __init__(self, batch: "Floats", logs: "Floats", floor: "Floats") -> None:
        self._batch, self._logs, self._floor = batch, logs, floor
        self._means = logs.mean(axis=1)
        self._seeds = logs.shape[1]

    def _bend(self, c: "Floats") -> "tuple[Floats, Floats]":
        """ln(1 + e^c/B) and its derivative by c, centred over the sizes: shapes (G, K)."""
        import numpy as np

        away = c[:, None] - np.log(self._batch)
        slope = 1.0 / (1.0 + np.exp(-away))
        return np.logaddexp(0.0, away), slope - slope.mean(axis=1, keepdims=True)

    def _left(self, c: "Floats") -> "tuple[Floats, Floats]":
        """What of the means the level curve leaves, and the weights that make a slope of it."""
        bend, slope = self._bend(c)
        level = self._means - bend
        scale = (slope**2).sum(axis=1, keepdims=True)
        return level - level.mean(axis=1, keepdims=True), slope / scale

    def squares(self, c: "Floats") -> "Floats":
        """Sum of squares of what each curve leaves, of the means: shape (G,)."""
        squares: Floats = (self._left(c)[0] ** 2).sum(axis=1)
        return squares

    def level(self, c: float) -> float:
        """ln S_min where c is the truth."""
        import numpy as np

        return float((self._means - self._bend(np.array([c]))[0][0]).mean())

    def nearest(self, grid: "Floats") -> float:
        """The c of the least squares: the best of the grid, then of ever finer ones around it."""
        import numpy as np

        for _ in range(ZOOMS):
            at = int(self.squares(grid).argmin())
            low, high = grid[max(0, at - 1)], grid[min(len(grid) - 1, at + 1)]
            grid = np.linspace(low, high, POINTS)
        return float(grid[int(self.squares(grid).argmin())])

    def strays(self, c: float) -> float:
        """p of an F test: the means lie on the curve, but for the noise of single trials.

        That is what is left of a trial without the mean of its batch size and that of its seed.
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
        """|slope| − what it may be by chance, from the slopes of the single seeds."""
        import numpy as np

        _, weights = self._left(c)
        slopes = weights @ (self._logs - self._means[:, None])  # less their mean
        variance = slopes.var(axis=1, ddof=1) / self._seeds
        spread = np.sqrt(np.maximum(variance, (weights**2) @ self._floor))
        excess: Floats = np.abs(self._slope(c, weights)) - _student(self._seeds - 1, level) * spread
        return excess

    def error_of_means(self, c: "Floats", level: float) -> "Floats":
        """|slope| − what it may be by chance, from how the means stray from level and slope."""
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
    """The interval around the best c in which nothing is refused; 0 and infinity are open ends."""
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
