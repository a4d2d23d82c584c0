"""Counts and moments of single values, compared with numpy and scipy."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from batchscope.engine.journal.events import ValueBins
from batchscope.engine.metrics.norm_histogram import signed_edges
from batchscope.engine.training.instruments.gradient_values import ValueSum
from tests.unit.training_fixtures import CPU

SMALLEST_NORMAL, LARGEST = 2.0**-126, float(np.finfo(np.float32).max)
MAGNITUDES = np.array([0.0, *(2.0**e for e in range(-126, 129))])

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
Gradients = list[list[float]]


def added(gradients: Gradients, gaps: int = 0) -> ValueBins:
    total = ValueSum(CPU, gaps)
    for gradient in gradients:
        total.add(torch.tensor(gradient))
    return total.result()


def naive_counts(values: NDArray[np.float64]) -> dict[int, int]:
    """Count the magnitudes of each sign with numpy."""
    positive, _ = np.histogram(values[values >= 0], MAGNITUDES)
    negative, _ = np.histogram(-values[values < 0], MAGNITUDES)
    counts = {index: int(count) for index, count in enumerate(positive)}
    for index, count in enumerate(negative):
        counts[-index] = counts.get(-index, 0) + int(count) if index else counts[0] + int(count)
    return {index: count for index, count in counts.items() if count}


@given(st.lists(st.lists(floats, min_size=4, max_size=4), min_size=1, max_size=5))
@example([[0.0, -0.0, 1.0, -1.0]])
@example([[SMALLEST_NORMAL, -SMALLEST_NORMAL, SMALLEST_NORMAL / 2, LARGEST]])
@example([[0.5, 0.75, -0.5, float(np.nextafter(np.float32(0.5), np.float32(0)))]])
def test_counts_equal_those_of_numpy(gradients: Gradients) -> None:
    assert dict(added(gradients).bins) == naive_counts(np.array(gradients).ravel())


@given(st.integers(-254, 254))
def test_edges_are_those_of_magnitudes(index: int) -> None:
    low, high = signed_edges(index)
    if index:
        assert min(abs(low), abs(high)) == MAGNITUDES[abs(index)]
        assert max(abs(low), abs(high)) == MAGNITUDES[abs(index) + 1]
        assert (low > 0) == (index > 0)
    else:
        assert (low, high) == (-SMALLEST_NORMAL, SMALLEST_NORMAL)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("draw", ["normal", "t", "shifted"])
def test_moments_equal_those_of_scipy(draw: str, scale: float) -> None:
    generator = np.random.default_rng(3)
    drawn = {
        "normal": generator.normal(size=(20, 5000)),
        "t": generator.standard_t(5, size=(20, 5000)),
        "shifted": generator.normal(size=(20, 5000)) + 3,
    }[draw]
    gradients = (drawn * scale).astype(np.float32)
    values = gradients.astype(np.float64).ravel()
    found = added(gradients.tolist())
    assert found.count == 100_000
    assert found.mean == pytest.approx(values.mean(), rel=1e-5, abs=1e-7 * scale)
    assert found.std == pytest.approx(values.std(), rel=1e-5)
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False), rel=1e-4)


def test_gaps_are_not_counted() -> None:
    found = added([[1.0, -2.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0, 0.0]], gaps=2)
    values = np.array([1, -2, 0, 3, 0, 0])
    assert found.count == 6
    assert dict(found.bins) == naive_counts(values)
    assert [found.mean, found.std] == pytest.approx([values.mean(), values.std()])
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False))


def test_zeros_have_no_kurtosis() -> None:
    assert added([[0.0, 0.0]]) == ValueBins(2, 0.0, 0.0, None, ((0, 2),))
