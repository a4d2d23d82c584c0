"""Time against accuracy: the front is that of a naive computation, and what it leaves out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.findings.pareto import front, pareto
from tests.unit.findings_fixtures import Ended, configuration, record, sweep

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


def test_a_configuration_that_lost_a_trial_is_left_out() -> None:
    state = sweep(
        [
            (configuration(8), [ended(4.0, 0.95)] * 3),
            (configuration(32), [ended(1.0, 0.99), ended(1.0, 0.99), Ended(0.1, "diverged")]),
            (configuration(64), [Ended(status="queued")] * 3),
        ]
    )
    assert [point.batch_size for point in pareto(state)] == [8]
