"""Curves over the seeds, and their smoothing, on sweeps whose every number was chosen."""

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.analysis.curves import Curve, curve
from batchscope.engine.analysis.figures import Along
from batchscope.engine.analysis.smoothing import smoothed
from batchscope.engine.journal.events import AnyEvent, EpochRecord
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration
from tests.unit.training_fixtures import configuration, epochs, opened, record, started

Row = tuple[float, float, float | None, int]


def fold(*configurations: Configuration, events: list[AnyEvent]) -> SweepState:
    return SweepState().fold([*opened(configurations), *events])


def rows(of: Curve) -> list[Row]:
    """x, mean, deviation (None for a single seed) and the number of seeds."""
    columns = (of.x.tolist(), of.mean.tolist(), of.deviation.tolist(), of.n.tolist())
    return [
        (x, mean, None if math.isnan(deviation) else deviation, n)
        for x, mean, deviation, n in zip(*columns, strict=True)
    ]


def accuracy(of: EpochRecord) -> float | None:
    return of.test_accuracy


def loss(of: EpochRecord) -> float | None:
    return of.test_loss


def test_a_curve_is_mean_and_deviation_over_the_seeds_that_came_so_far() -> None:
    b8 = configuration(8, seeds=3)
    reached = {0: [0.5, 0.75, 0.875], 1: [0.25, 0.25], 2: []}
    events: list[AnyEvent] = []
    for seed, accuracies in reached.items():
        found = [record(n, test_accuracy=a) for n, a in enumerate(accuracies, start=1)]
        events += [started(b8, seed), epochs(b8, *found, seed=seed)]
    assert rows(curve(fold(b8, events=events), "b8", accuracy)) == [
        (1, 0.375, stdev([0.5, 0.25]), 2),
        (2, 0.5, stdev([0.75, 0.25]), 2),
        (3, 0.875, None, 1),
    ]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_curve_has_the_moments_of_the_standard_library(values: list[list[float]]) -> None:
    b8 = configuration(8, seeds=len(values))
    events: list[AnyEvent] = []
    for seed, losses in enumerate(values):
        found = [record(n, test_loss=each) for n, each in enumerate(losses, start=1)]
        events += [started(b8, seed), epochs(b8, *found, seed=seed)]
    of = curve(fold(b8, events=events), "b8", loss)
    for at, column in enumerate(zip(*values, strict=True)):
        assert of.mean[at] == pytest.approx(fmean(column), rel=1e-12, abs=1e-9)
        if len(column) > 1:
            assert of.deviation[at] == pytest.approx(stdev(column), rel=1e-9, abs=1e-8)


def test_a_curve_leaves_out_what_is_not_known() -> None:
    b8 = configuration(8, seeds=2)
    state = fold(
        b8,
        events=[
            started(b8),
            epochs(b8, record(1, test_loss=1.0), record(2, test_loss=None)),
            started(b8, 1),
            epochs(b8, record(1, test_loss=2.0), record(2, test_loss=4.0), seed=1),
        ],
    )
    assert rows(curve(state, "b8", loss)) == [(1, 1.5, stdev([1, 2]), 2), (2, 4, None, 1)]
    assert len(curve(state, "b8", lambda _: math.nan)) == 0


def test_a_curve_is_of_one_configuration() -> None:
    b8, b32 = configuration(8), configuration(32)
    events = [
        started(b8),
        epochs(b8, record(1, test_accuracy=0.5)),
        started(b32),
        epochs(b32, record(1, test_accuracy=0.1)),
    ]
    assert rows(curve(fold(b8, b32, events=events), "b32", accuracy)) == [(1, 0.1, None, 1)]


def reached(epoch: int, steps: int, seconds: float, distance: float | None) -> EpochRecord:
    return replace(
        record(epoch, steps=steps, seconds=seconds, test_accuracy=epoch / 10),
        samples=8 * steps,
        distance_from_init=distance,
    )


@pytest.mark.parametrize(
    ("along", "xs"),
    [
        ("epochs", [1, 2, 3]),
        ("steps", [100, 200, 230]),
        ("samples", [800, 1600, 1840]),
        ("seconds", [1.5, 4.5, 7.5]),
        ("distance", [2.0, 3.5, 5.0]),
    ],
)
def test_a_curve_lies_over_whatever_the_seeds_have_reached(along: Along, xs: list[float]) -> None:
    """The third epoch is cut short, for one seed earlier than for the other."""
    b8 = configuration(8, seeds=2)
    one = [reached(1, 100, 1, 1.0), reached(2, 200, 2, 3.0), reached(3, 220, 3, 4.0)]
    two = [reached(1, 100, 2, 3.0), reached(2, 200, 4, 4.0), reached(3, 240, 3, 6.0)]
    events = [started(b8), epochs(b8, *one), started(b8, 1), epochs(b8, *two, seed=1)]
    of = curve(fold(b8, events=events), "b8", accuracy, along)
    assert of.x.tolist() == pytest.approx(xs, rel=1e-14)
    assert of.n.tolist() == [2, 2, 2]


def test_a_point_lies_at_the_mean_of_those_seeds_alone_that_have_a_value() -> None:
    b8 = configuration(8, seeds=2)
    one, two = reached(1, 100, 1, 1.0), replace(reached(1, 100, 9, 7.0), test_loss=None)
    events = [started(b8), epochs(b8, one), started(b8, 1), epochs(b8, two, seed=1)]
    ((x, _, _, n),) = rows(curve(fold(b8, events=events), "b8", loss, "seconds"))
    assert (x, n) == (1.0, 1)
    events[3] = epochs(b8, replace(two, test_loss=2.0, distance_from_init=None), seed=1)
    ((x, mean, _, n),) = rows(curve(fold(b8, events=events), "b8", loss, "distance"))
    assert (x, mean, n) == (1.0, 0.5, 1)


@pytest.mark.parametrize(
    ("along", "x", "epoch"),
    [
        ("epochs", 0.9, None),
        ("epochs", 1.0, 1),
        ("epochs", 1.99, 1),
        ("epochs", 99.0, 3),
        ("distance", 2.5, 1),  # it went away to 4 and came back to 3
        ("distance", 3.5, 3),
        ("distance", 4.0, 2),
    ],
)
def test_a_reading_is_the_nearest_point_at_x_or_before(
    along: Along, x: float, epoch: int | None
) -> None:
    b8 = configuration(8)
    found = [reached(1, 1, 1, 2.0), reached(2, 2, 1, 4.0), reached(3, 3, 1, 3.0)]
    of = curve(fold(b8, events=[started(b8), epochs(b8, *found)]), "b8", accuracy, along)
    assert of.row_at(x) == (None if epoch is None else epoch - 1)


# ---- smoothing


def naive(values: list[float], strength: float) -> list[float]:
    """Every average anew, from its definition."""
    found: list[float] = []
    for last, value in enumerate(values):
        known = [at for at in range(last + 1) if math.isfinite(values[at])]
        weights = [strength ** (len(known) - 1 - place) for place in range(len(known))]
        total = math.fsum(w * values[at] for w, at in zip(weights, known, strict=True))
        found.append(total / math.fsum(weights) if math.isfinite(value) else value)
    return found


gaps = st.sampled_from([math.nan, math.inf, -math.inf])


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), gaps), max_size=40),
    st.floats(0, 0.999),
)
def test_smoothing_equals_the_average_of_its_definition(
    values: list[float], strength: float
) -> None:
    expected = naive(values, strength)
    assert smoothed(values, strength) == pytest.approx(expected, rel=1e-9, abs=1e-6, nan_ok=True)


def test_smoothing_begins_at_the_first_value_and_forgets_it() -> None:
    assert smoothed([8.0, 0.0, 0.0], 0.5) == [8.0, pytest.approx(8 / 3), pytest.approx(8 / 7)]


@given(st.floats(-1e9, 1e9), st.integers(0, 30), st.floats(0, 0.999))
def test_what_is_constant_stays_so_to_the_last_bit(
    value: float, count: int, strength: float
) -> None:
    assert smoothed([value] * count, strength) == [value] * count


@given(st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_no_strength_changes_nothing(values: list[float]) -> None:
    assert smoothed(values, 0.0) == values


def test_a_gap_stays_a_gap_and_weighs_nothing() -> None:
    whole, broken = smoothed([1.0, 2.0, 3.0], 0.9), smoothed([1.0, math.nan, 2.0, 3.0], 0.9)
    assert math.isnan(broken[1])
    assert [broken[0], *broken[2:]] == whole
