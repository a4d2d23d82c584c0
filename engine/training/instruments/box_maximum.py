"""Finds the maximum of a loss in a small box around the weights: the sharpness of a minimum.

Keskar et al. 2016 (arXiv:1609.04836), Metric 2.1: with C_ε = {y : |yᵢ| ≤ ε(|(A⁺x)ᵢ| + 1)},

    φ = (max over y in C_ε of f(x + Ay) − f(x)) / (1 + f(x)) × 100,

where A is the identity, or a random matrix (n, p) for a subspace of p dimensions. As in the paper,
L-BFGS-B searches for the maximum in ten iterations, so φ is a lower bound. The search begins at
y = 0.

The authors did not publish the code of their search. Here each yᵢ is scaled by the half-width of
the box and the loss by its slope at the start, so that neither the first step nor the stopping
criterion depends on how flat the minimum is. This scaling changes neither the box nor its maximum.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
LossAndGradient = Callable[[Vector], tuple[float, Vector]]

FIRST_SLOPE = 1e6
"""The largest scaled slope at the start, so large that the first step reaches the box's corners."""
OFFSET = 1e-3
"""Distance from y = 0, in half-widths, at which a search begins if the loss has no slope there."""
LEAST_SLOPE = 1e-100
"""Smaller slopes count as zero; a float32 loss has none as small."""


class BoxMaximum(NamedTuple):
    """The result of a search.

    Attributes:
        loss: the loss at the weights; None if not finite.
        highest: the highest loss found in the box; None if the loss is not finite somewhere.
        evaluations: number of evaluations of loss and gradient.
        iterations: number of iterations of L-BFGS-B.
        reason: why the maximum is unknown, or that the search stopped before its last iteration.
    """

    loss: float | None
    highest: float | None
    evaluations: int
    iterations: int
    reason: str = ""

    @property
    def sharpness(self) -> float | None:
        """φ in percent; None if a loss is not finite, or −1 or less, where φ has no meaning."""
        if self.loss is None or self.highest is None or self.loss <= -1.0:
            return None
        return (self.highest - self.loss) / (1.0 + self.loss) * 100.0


class Space(Protocol):
    """The space of y, given by a matrix A (n, p)."""

    def coordinates(self, x: Vector) -> Vector:
        """Return A⁺x of the weights x, shape (p,)."""

    def lift(self, y: Vector) -> Vector:
        """Return Ay, shape (n,)."""

    def pull(self, g: Vector) -> Vector:
        """Return Aᵀg of a gradient g, shape (p,)."""


class FullSpace:
    """The space of all directions: A is the identity."""

    def coordinates(self, x: Vector) -> Vector:
        """Return x."""
        return x

    def lift(self, y: Vector) -> Vector:
        """Return y."""
        return y

    def pull(self, g: Vector) -> Vector:
        """Return g."""
        return g


class Subspace:
    """The subspace spanned by the columns of a random matrix A.

    Its entries are independent standard normal numbers; the paper does not say how it draws A.

    Args:
        n: number of weights.
        p: dimensions of the subspace; A takes 4np bytes, in float32.
        seed: seed of the trial; trials of one seed and network share the subspace.
    """

    def __init__(self, n: int, p: int, seed: int) -> None:
        generator = np.random.default_rng([seed, n, p])
        self._a = generator.standard_normal((n, p), dtype=np.float32)

    @staticmethod
    def bytes_of(n: int, p: int) -> int:
        """Return the bytes of A (n, p) and of the normal equations."""
        return 4 * n * p + (4 + 2 * 8) * p * p

    def coordinates(self, x: Vector) -> Vector:
        """Return A⁺x, by the normal equations: random columns are well conditioned."""
        gram = (self._a.T @ self._a).astype(np.float64)
        return np.asarray(np.linalg.solve(gram, self.pull(x)), np.float64)

    def lift(self, y: Vector) -> Vector:
        """Return Ay."""
        return (self._a @ y.astype(np.float32)).astype(np.float64)

    def pull(self, g: Vector) -> Vector:
        """Return Aᵀg."""
        return (self._a.T @ g.astype(np.float32)).astype(np.float64)


class _NotFinite(Exception):
    """The loss is not finite somewhere in the box."""


def find_maximum(
    evaluate: LossAndGradient,
    x: Vector,
    epsilon: float,
    iterations: int = 10,
    space: Space | None = None,
) -> BoxMaximum:
    """Search for the highest value of a loss in a box around the weights.

    Args:
        evaluate: returns loss and gradient (n,) at weights (n,); it may raise.
        x: the weights, shape (n,).
        epsilon: ε, the relative half-width of the box.
        iterations: the most iterations of L-BFGS-B.
        space: the space to search; by default all directions.
    """
    space = space or FullSpace()
    widths = epsilon * (np.abs(space.coordinates(x)) + 1.0)
    search = _Search(evaluate, x, widths, space)
    try:
        return search.run(iterations)
    except _NotFinite:
        first = search.first if search.evaluations > 1 else None
        where = "in the box" if search.evaluations > 1 else "at the weights"
        return BoxMaximum(first, None, search.evaluations, 0, f"the loss is not finite {where}")


class _Search:
    """One search, in the scaled coordinates z = y / widths."""

    def __init__(self, evaluate: LossAndGradient, x: Vector, widths: Vector, space: Space) -> None:
        self._evaluate, self._x, self._widths, self._space = evaluate, x, widths, space
        self.evaluations, self.first, self.highest = 0, 0.0, -np.inf

    def run(self, iterations: int) -> BoxMaximum:
        from scipy.optimize import Bounds, minimize

        start = np.zeros_like(self._widths)
        self.first, slope = self._at(start)
        if not slope.any():
            # an exact stationary point: a search would never leave it
            start = OFFSET * np.random.default_rng(0).uniform(-1.0, 1.0, len(start))
            _, slope = self._at(start)
        steepest = float(np.abs(slope).max(initial=0.0))
        if steepest < LEAST_SLOPE:
            reason = "the loss has no slope"
            return BoxMaximum(self.first, self.highest, self.evaluations, 0, reason)
        scale = FIRST_SLOPE / steepest

        def negated(z: Vector) -> tuple[float, Vector]:
            loss, gradient = self._at(z)
            return -loss * scale, gradient * -scale

        optimum = minimize(
            negated,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(-1.0, 1.0),
            options={"maxiter": iterations, "ftol": 0.0, "gtol": 0.0},
        )
        if self.first <= -1.0:
            reason = "the loss is −1 or less, for which sharpness is not defined"
            return BoxMaximum(self.first, self.highest, self.evaluations, int(optimum.nit), reason)
        early = optimum.nit < iterations
        reason = (
            f"L-BFGS-B ended after {optimum.nit} iterations: {optimum.message}" if early else ""
        )
        return BoxMaximum(self.first, self.highest, self.evaluations, int(optimum.nit), reason)

    def _at(self, z: Vector) -> tuple[float, Vector]:
        """Return loss and slope at z, and remember the highest loss of all evaluations."""
        loss, gradient = self._evaluate(self._x + self._space.lift(self._widths * z))
        self.evaluations += 1
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise _NotFinite
        self.highest = max(self.highest, loss)
        return loss, self._space.pull(gradient) * self._widths
