"""The fixed bins, and slices merged into one sum."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.journal.events import NormSlice
from batchscope.engine.metrics.norm_histogram import EDGES, Norms, Pool
from batchscope.engine.training.instruments.grad_norms import norm_slice

pieces = st.lists(
    st.lists(st.floats(1e-4, 1e4) | st.sampled_from([0.0, 1.0, math.nan, math.inf]), max_size=12),
    max_size=8,
)


def slices_of(values: list[list[float]]) -> list[NormSlice]:
    firsts = itertools.accumulate((len(piece) for piece in values), initial=0)
    return [
        norm_slice(first, np.array(piece)) for first, piece in zip(firsts, values, strict=False)
    ]


def test_twenty_bins_a_decade_between_two_open_ones() -> None:
    assert (EDGES[0], EDGES[-1]) == (0.0, math.inf)
    assert len(EDGES) == 1 + (20 * 20 + 1) + 1
    np.testing.assert_allclose(EDGES[1:-1], np.logspace(-10, 10, 401), rtol=1e-14)
    assert [edge for edge in (1e-10, 1.0, 10.0, 1000.0, 1e10) if edge not in EDGES] == []


@settings(deadline=None)
@given(pieces)
def test_merged_slices_equal_all_norms_at_once(values: list[list[float]]) -> None:
    merged = Norms(slices_of(values))
    norms = np.array([value for piece in values for value in piece])
    finite = norms[np.isfinite(norms)]

    assert (merged.count, merged.broken) == (len(finite), len(norms) - len(finite))
    counts, _ = np.histogram(finite, np.array(EDGES))
    assert merged.bins == {int(i): int(counts[i]) for i in np.flatnonzero(counts)}

    if not len(finite):
        assert (merged.mean, merged.std, merged.cv) == (None, None, None)
        return
    assert merged.mean == pytest.approx(np.mean(finite), rel=1e-12)
    if len(finite) == 1:
        assert (merged.std, merged.cv) == (None, None)
        return
    # Rounding of the moments is relative to the largest norm.
    rounding = 1e-7 * float(np.max(finite))
    assert merged.std == pytest.approx(np.std(finite, ddof=1), rel=1e-9, abs=rounding)
    if np.mean(finite) > 0:
        cv = np.std(finite, ddof=1) / np.mean(finite)
        assert merged.cv == pytest.approx(cv, rel=1e-9, abs=1e-6)


@settings(deadline=None)
@given(pieces)
def test_the_order_of_the_slices_does_not_matter(values: list[list[float]]) -> None:
    slices = slices_of(values)
    forward, backward = Norms(slices), Norms(reversed(slices))
    assert forward.bins == backward.bins
    assert (forward.count, forward.broken) == (backward.count, backward.broken)
    assert forward.mean == pytest.approx(backward.mean, rel=1e-12)


def test_by_hand() -> None:
    """2, 4, 4, 4, 5, 5, 7, 9: mean 5, squared deviations 32."""
    merged = Norms(slices_of([[2, 4, 4], [], [4, 5], [5, 7, 9]]))
    assert (merged.count, merged.mean) == (8, 5.0)
    assert merged.std == pytest.approx(math.sqrt(32 / 7), rel=1e-15)
    assert merged.cv == pytest.approx(math.sqrt(32 / 7) / 5, rel=1e-15)


def test_close_norms_keep_their_spread() -> None:
    merged = Norms(slices_of([[1e8], [1e8 + 1], [1e8 + 2]]))
    assert (merged.mean, merged.std) == (1e8 + 1, 1.0)


def test_added_one_by_one_equals_given_at_once() -> None:
    slices = slices_of([[1, 2], [300], [0, 0.5]])
    growing = Norms()
    for piece in slices:
        growing.add(piece)
    at_once = Norms(slices)
    assert growing.bins == at_once.bins
    assert (growing.mean, growing.std) == (at_once.mean, at_once.std)


@pytest.mark.parametrize("values", [[], [[]], [[], []], [[math.nan], [math.inf]]])
def test_nothing_has_no_moments(values: list[list[float]]) -> None:
    merged = Norms(slices_of(values))
    assert (merged.count, merged.bins) == (0, {})
    assert (merged.mean, merged.std, merged.cv) == (None, None, None)
    assert merged.broken == sum(len(piece) for piece in values)


def test_one_norm_has_no_spread() -> None:
    merged = Norms(slices_of([[3.0]]))
    assert (merged.mean, merged.std, merged.cv) == (3.0, None, None)


def test_zeros_have_no_coefficient_of_variation() -> None:
    merged = Norms(slices_of([[0.0, 0.0], [0.0]]))
    assert (merged.mean, merged.std, merged.cv, merged.bins) == (0.0, 0.0, None, {0: 3})


def test_seeds_that_differ_in_their_means_alone_have_no_spread() -> None:
    """What lies between seeds is their weights, not what a batch drew."""
    seeds = [[norm_slice(0, np.array([1.0, 1.0]))], [norm_slice(0, np.array([3.0, 3.0]))]]
    pool = Pool(map(Norms, seeds))
    assert (pool.count, pool.mean, pool.cv) == (4, 2.0, 0.0)
    assert Norms(piece for seed in seeds for piece in seed).cv == pytest.approx(
        np.std([1, 1, 3, 3], ddof=1) / 2
    )


def test_the_spread_of_seeds_is_the_mean_of_theirs() -> None:
    one, other = np.array([1.0, 2.0, 4.0]), np.array([10.0, 11.0])
    pool = Pool(
        map(Norms, [[norm_slice(0, one[:1]), norm_slice(1, one[1:])], [norm_slice(0, other)], []])
    )
    expected = [np.std(values, ddof=1) / np.mean(values) for values in (one, other)]
    assert pool.cv == pytest.approx(np.mean(expected))
    assert Pool([]).cv is None
