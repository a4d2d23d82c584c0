"""The front of time and accuracy agrees with a naive computation, and leaves out lost trials."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from batchscope.engine.findings.pareto import front, pareto
from tests.unit.engine.findings_fixtures import Ended, configuration, record, sweep

SMALL = st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float))


@given(st.lists(st.one_of(SMALL, st.tuples(st.floats(0, 1e6), st.floats(0, 1)))))
def test_the_front_is_that_of_a_naive_computation(points: list[tuple[float, float]]) -> None:
    naive = [
        not any(t <= time and a >= accuracy and (t, a) != (time, accuracy) for t, a in points)
        for time, accuracy in points
    ]
    assert front(points) == naive


def ended(seconds: float, accuracy: float) -> Ended:
    return Ended(records=(record(accuracy, seconds=seconds),))


def test_points_have_means_intervals_and_their_place() -> None:
    state = sweep(
        [
            (configuration(8), [ended(4.0 + s / 10, 0.95 + s / 1000) for s in range(3)]),
            (configuration(32), [ended(2.0 + s / 10, 0.93 + s / 1000) for s in range(3)]),
            (configuration(128), [ended(5.0 + s / 10, 0.91 + s / 1000) for s in range(3)]),
            (configuration(512), [ended(2.1 + s, 0.93 + s / 1000) for s in range(3)]),
        ]
    )
    found = {point.batch_size: point for point in pareto(state)}
    assert [size for size, point in found.items() if point.front] == [8, 32]
    assert found[8].seconds.mean == pytest.approx(4.1)
    assert found[8].seconds.low is not None
    assert found[128].told  # slower and less accurate, by more than the seeds spread
    assert not found[512].told  # slower by less than its seeds spread, and as accurate
    assert not found[8].told


def test_each_size_of_stack_has_a_front_of_its_own() -> None:
    """32 trained alone would be behind 64, a stack of three; 128, also a stack, is behind 64."""
    values = {8: (6.0, 0.95, 3), 32: (4.0, 0.90, 1), 64: (3.0, 0.93, 3), 128: (5.0, 0.91, 3)}
    values |= {256: (2.0, 0.80, 1), 512: (9.0, 0.70, 1)}
    state = sweep(
        [
            (configuration(size), [replace(ended(s, a + n / 1e4), stacked=k) for n in range(3)])
            for size, (s, a, k) in values.items()
        ]
    )
    found = {point.batch_size: point for point in pareto(state)}
    assert {size: point.stacked for size, point in found.items()} == {
        size: stacked for size, (_, _, stacked) in values.items()
    }
    assert [size for size, point in found.items() if point.front] == [8, 32, 64, 256]
    assert [size for size, point in found.items() if point.told] == [128, 512]
    assert [point.seconds.n for point in found.values()] == [1, 3, 1, 1, 3, 3]


def test_a_configuration_that_lost_a_trial_is_left_out() -> None:
    state = sweep(
        [
            (configuration(8), [ended(4.0, 0.95)] * 3),
            (configuration(32), [ended(1.0, 0.99), ended(1.0, 0.99), Ended(0.1, "diverged")]),
            (configuration(64), [Ended(status="queued")] * 3),
        ]
    )
    assert [point.batch_size for point in pareto(state)] == [8]


@pytest.mark.parametrize(("slower", "told"), [(1, True), (9, False)])
def test_differences_to_the_front_are_adjusted_for_their_number(slower: int, told: bool) -> None:
    """p = 0.006 stands among two tests (time and accuracy of one size), and not among 18."""
    extra = [0.10, 0.11, 0.13]
    assert ttest_1samp(extra, 0).pvalue == pytest.approx(0.006, abs=5e-4)
    first = (configuration(8), [ended(2.0, 0.9)] * 3)
    behind = [ended(2.0 + each, 0.9) for each in extra]
    state = sweep([first, *((configuration(16 << at), behind) for at in range(slower))])
    assert [point.told for point in pareto(state)] == [False, *[told] * slower]
    assert [point.front for point in pareto(state)] == [True, *[False] * slower]
