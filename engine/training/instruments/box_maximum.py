"""Sharpness of a minimum: how far the loss rises in a small box around the weights.

Keskar et al. 2016 (arXiv:1609.04836), Metric 2.1: with C_ε = {y : |yᵢ| ≤ ε(|(A⁺x)ᵢ| + 1)},

    φ = (max over y in C_ε of f(x + Ay) − f(x)) / (1 + f(x)) × 100,

where A is the identity, or random (n, p) for a subspace of p dimensions. The maximum is looked for
by L-BFGS-B in ten iterations, as in the paper, so φ is a lower bound of what the box holds. The
search begins at y = 0. The authors did not publish their search, so this is settled here: each
yᵢ is counted in its half-width and the loss by its first slope, so that neither the first step nor
the end depends on how flat the minimum is. A box and its maximum are the same for that.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
LossAndGradient = Callable[[Vector], tuple[float, Vector]]

FIRST_SLOPE = 1e6
"""The largest slope that L-BFGS-B sees at first: its first step then reaches the box's corners."""
ASIDE = 1e-3
"""How far from y = 0, in half-widths, a search begins where the loss has no slope there."""
LEAST_SLOPE = 1e-100
"""Of float32 losses there is none below; nothing could be counted by it."""


class Climb(NamedTuple):
    """The loss at the weights and the highest that was found in the box; None if not finite.

    `reason` says why there is no maximum, or that the search ended before its last iteration.
    """

    loss: float | None
    highest: float | None
    evaluations: int
    iterations: int
    reason: str = ""

    @property
    def sharpness(self) -> float | None:
        """φ, in percent."""
        if self.loss is None or self.highest is None:
            return None
        return (self.highest - self.loss) / (1.0 + self.loss) * 100.0


class Space(Protocol):
    """Where y lives: `coordinates` A⁺x of the weights, `lift` Ay, and `pull` Aᵀg of a gradient."""

    def coordinates(self, x: Vector) -> Vector:
        """A⁺x, shape (p,)."""

    def lift(self, y: Vector) -> Vector:
        """Ay, shape (n,)."""

    def pull(self, g: Vector) -> Vector:
        """Aᵀg, shape (p,)."""


class Whole:
    """All directions: A is the identity."""

    def coordinates(self, x: Vector) -> Vector:
        """The weights themselves."""
        return x

    def lift(self, y: Vector) -> Vector:
        """The same direction."""
        return y

    def pull(self, g: Vector) -> Vector:
        """The same gradient."""
        return g


class Subspace:
    """The columns of a random matrix A (n, p), of independent standard normal numbers.

    How the paper draws its A it does not say. The seed is that of a trial, so that trials of one
    seed and network are looked at in the same subspace. A is kept in float32: 4np bytes.
    """

    def __init__(self, n: int, p: int, seed: int) -> None:
        generator = np.random.default_rng([seed, n, p])
        self._a = generator.standard_normal((n, p), dtype=np.float32)

    @staticmethod
    def bytes_of(n: int, p: int) -> int:
        """What A (n, p) takes, and the normal equations beside it."""
        return 4 * n * p + (4 + 2 * 8) * p * p

    def coordinates(self, x: Vector) -> Vector:
        """A⁺x, by the normal equations: random columns are far from dependent."""
        gram = (self._a.T @ self._a).astype(np.float64)
        return np.asarray(np.linalg.solve(gram, self.pull(x)), np.float64)

    def lift(self, y: Vector) -> Vector:
        """Ay."""
        return (self._a @ y.astype(np.float32)).astype(np.float64)

    def pull(self, g: Vector) -> Vector:
        """Aᵀg."""
        return (self._a.T @ g.astype(np.float32)).astype(np.float64)


class _Broken(Exception):
    """The loss is not finite at a place in the box."""


def climb(
    evaluate: LossAndGradient,
    x: Vector,
    epsilon: float,
    iterations: int = 10,
    space: Space | None = None,
) -> Climb:
    """The highest value of a loss in the box of half-width `epsilon` around `x`, shape (n,).

    `evaluate` gives loss and gradient (n,) at weights (n,), and may raise.
    """
    space = space or Whole()
    widths = epsilon * (np.abs(space.coordinates(x)) + 1.0)
    search = _Search(evaluate, x, widths, space)
    try:
        return search.run(iterations)
    except _Broken:
        first = search.first if search.evaluations > 1 else None
        where = "in the box" if search.evaluations > 1 else "at the weights"
        return Climb(first, None, search.evaluations, 0, f"the loss is not finite {where}")


class _Search:
    """One search, in coordinates z = y / widths."""

    def __init__(self, evaluate: LossAndGradient, x: Vector, widths: Vector, space: Space) -> None:
        self._evaluate, self._x, self._widths, self._space = evaluate, x, widths, space
        self.evaluations, self.first, self.highest = 0, 0.0, -np.inf

    def run(self, iterations: int) -> Climb:
        from scipy.optimize import Bounds, minimize

        start = np.zeros_like(self._widths)
        self.first, slope = self._at(start)
        if not slope.any():
            # an exact stationary point: no search from there would ever leave it
            start = ASIDE * np.random.default_rng(0).uniform(-1.0, 1.0, len(start))
            _, slope = self._at(start)
        steepest = float(np.abs(slope).max(initial=0.0))
        if steepest < LEAST_SLOPE:
            return Climb(self.first, self.highest, self.evaluations, 0, "the loss has no slope")
        scale = FIRST_SLOPE / steepest

        def falling(z: Vector) -> tuple[float, Vector]:
            loss, gradient = self._at(z)
            return -loss * scale, gradient * -scale

        optimum = minimize(
            falling,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(-1.0, 1.0),
            options={"maxiter": iterations, "ftol": 0.0, "gtol": 0.0},
        )
        early = optimum.nit < iterations
        reason = (
            f"L-BFGS-B ended after {optimum.nit} iterations: {optimum.message}" if early else ""
        )
        return Climb(self.first, self.highest, self.evaluations, int(optimum.nit), reason)

    def _at(self, z: Vector) -> tuple[float, Vector]:
        """Loss and slope; the highest loss is kept, the first one among them, so none is lost."""
        loss, gradient = self._evaluate(self._x + self._space.lift(self._widths * z))
        self.evaluations += 1
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise _Broken
        self.highest = max(self.highest, loss)
        return loss, self._space.pull(gradient) * self._widths
