"""The highest loss in a box, compared with closed forms, all corners, and bounds."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batchscope.engine.training.instruments.box_maximum import (
    LossAndGradient,
    Subspace,
    Vector,
    find_maximum,
)

EPSILON = 0.05


def quadratic(h: NDArray[np.float64]) -> LossAndGradient:
    """½ xᵀHx and its gradient."""
    return lambda x: (float(x @ h @ x) / 2, h @ x)


def highest_corner(loss: Callable[[Vector], float], x: Vector, widths: Vector) -> float:
    """Try all corners; a convex loss has its maximum at one of them."""
    signs = itertools.product((-1.0, 1.0), repeat=len(x))
    return max(loss(x + widths * np.array(sign)) for sign in signs)


def test_a_diagonal_quadratic_rises_to_the_closed_form() -> None:
    h = np.array([4.0, 1.0, 0.25, 9.0])
    x = np.array([0.5, -2.0, 3.0, -0.1])
    widths = EPSILON * (np.abs(x) + 1)
    low, high = h @ x**2 / 2, h @ (np.abs(x) + widths) ** 2 / 2
    found = find_maximum(quadratic(np.diag(h)), x, EPSILON)
    assert found.loss == pytest.approx(low, rel=1e-12)
    assert found.highest == pytest.approx(high, rel=1e-9)
    assert found.sharpness == pytest.approx((high - low) / (1 + low) * 100, rel=1e-8)


def test_a_full_quadratic_rises_to_its_highest_corner() -> None:
    root = np.random.default_rng(3).uniform(0.1, 1.0, (6, 6))
    h, x = root @ root.T, np.linspace(0.2, 1.5, 6)  # all slopes rise, so the corner is known
    widths = EPSILON * (x + 1)
    found = find_maximum(quadratic(h), x, EPSILON)
    assert found.highest == pytest.approx((x + widths) @ h @ (x + widths) / 2, rel=1e-9)
    loss = lambda at: float(at @ h @ at) / 2  # noqa: E731
    assert found.highest == pytest.approx(highest_corner(loss, x, widths), rel=1e-9)


def test_a_linear_loss_rises_by_the_sum_of_its_slopes() -> None:
    g, x = np.array([3.0, -0.5, 1e-7]), np.array([1.0, -4.0, 0.0])
    found = find_maximum(lambda at: (7.0 + float(g @ at), g), x, 1e-3)
    assert found.loss is not None
    assert found.highest is not None
    rise = 1e-3 * np.abs(g) @ (np.abs(x) + 1)
    assert found.highest - found.loss == pytest.approx(rise, rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_the_result_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    """At the minimum the slope is zero, so the search begins next to it."""
    h = np.array([2.0, 5.0, 1.0])
    found = find_maximum(quadratic(np.diag(scale * h)), np.zeros(3), EPSILON)
    assert found.loss == 0.0
    assert found.highest == pytest.approx(scale * h.sum() * EPSILON**2 / 2, rel=1e-9)


def test_a_constant_loss_has_zero_sharpness_and_a_reason() -> None:
    found = find_maximum(lambda x: (2.0, np.zeros(3)), np.ones(3), EPSILON)
    assert found.sharpness == 0.0
    assert "slope" in found.reason


def test_only_the_subspace_is_searched() -> None:
    """φ = max over |y| <= ε(|A⁺x| + 1) of f(x + Ay), with A⁺ as numpy has it."""
    h = np.diag(np.linspace(0.5, 2.0, 8))
    x = np.random.default_rng(1).normal(size=8)
    space = Subspace(8, 3, seed=5)
    a = np.stack([space.lift(unit) for unit in np.eye(3)], axis=1)
    coordinates = np.linalg.pinv(a) @ x
    np.testing.assert_allclose(space.coordinates(x), coordinates, rtol=1e-4)
    widths = EPSILON * (np.abs(coordinates) + 1)
    loss = lambda y: float((x + a @ y) @ h @ (x + a @ y)) / 2  # noqa: E731
    found = find_maximum(quadratic(h), x, EPSILON, 30, space)
    assert found.highest is not None
    assert found.highest == pytest.approx(highest_corner(loss, np.zeros(3), widths), rel=1e-5)
    again = Subspace(8, 3, seed=5)
    np.testing.assert_array_equal(again.lift(np.ones(3)), space.lift(np.ones(3)))
    assert not np.array_equal(Subspace(8, 3, seed=6).lift(np.ones(3)), space.lift(np.ones(3)))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_has_no_sharpness(broken: float) -> None:
    def evaluate(x: Vector) -> tuple[float, Vector]:
        return (broken if x[0] > 1.01 else float(x.sum())), np.ones(2)

    found = find_maximum(evaluate, np.ones(2), EPSILON)
    assert (found.loss, found.highest, found.sharpness) == (2.0, None, None)
    assert "in the box" in found.reason
    first = find_maximum(lambda x: (broken, np.ones(2)), np.ones(2), EPSILON)
    assert (first.loss, first.sharpness) == (None, None)
    assert "at the weights" in first.reason


def test_a_search_that_ends_early_has_a_reason() -> None:
    found = find_maximum(quadratic(np.eye(2)), np.ones(2), EPSILON, iterations=1000)
    assert found.iterations < 1000
    assert f"{found.iterations} iterations" in found.reason
    assert (
        find_maximum(quadratic(np.eye(2)), np.array([1.0, 2.0]), EPSILON, iterations=1).reason == ""
    )


@settings(max_examples=60, deadline=None)
@given(
    h=st.lists(st.floats(-5, 5), min_size=9, max_size=9),
    x=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    epsilon=st.floats(1e-4, 0.5),
)
def test_the_rise_is_between_zero_and_the_maximum_in_the_box(
    h: list[float], x: list[float], epsilon: float
) -> None:
    """Also for saddles and hills, which rise by the slope at first."""
    matrix, start, seen = np.reshape(h, (3, 3)), np.array(x), list[Vector]()
    matrix = matrix + matrix.T
    shift = 1e3  # losses are positive

    def evaluate(at: Vector) -> tuple[float, Vector]:
        seen.append(at.copy())
        return shift + float(at @ matrix @ at) / 2, matrix @ at

    found = find_maximum(evaluate, start, epsilon)
    assert found.loss is not None
    assert found.highest is not None
    assert found.sharpness is not None
    assert found.sharpness >= 0.0
    assert found.evaluations == len(seen)
    widths = epsilon * (np.abs(start) + 1)
    assert all((np.abs(at - start) <= widths * (1 + 1e-9)).all() for at in seen)
    assert found.highest == max(evaluate(at)[0] for at in seen[: found.evaluations])
    norm = np.linalg.norm(matrix, 2)
    far = np.linalg.norm(widths)
    bound = np.linalg.norm(matrix @ start) * far + norm * far**2 / 2
    assert found.highest - found.loss <= bound * (1 + 1e-9) + 1e-9
