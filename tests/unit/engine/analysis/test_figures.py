"""Figures across seeds, on sweeps whose every number was chosen."""

import math
from itertools import pairwise
from statistics import StatisticsError, fmean, stdev

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from batchscope.engine.analysis import figures
from batchscope.engine.analysis.figures import EpochTime
from batchscope.engine.journal.events import AnyEvent, EpochRecord, NormSlice, TrialStatus
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.log_fit import log_fit
from batchscope.engine.metrics.norm_histogram import Norms
from batchscope.engine.metrics.pace import pace
from batchscope.engine.spec import Configuration, Model
from batchscope.engine.training.instruments.grad_norms import norm_slice
from tests.unit.training_fixtures import (
    TRAIN_SIZE,
    configuration,
    ended,
    epochs,
    opened,
    record,
    started,
)


def fold(*configurations: Configuration, events: list[AnyEvent]) -> SweepState:
    return SweepState().fold([*opened(configurations), *events])


def accuracy(of: EpochRecord) -> float | None:
    return of.test_accuracy


def loss(of: EpochRecord) -> float | None:
    return of.test_loss


def timed(of: Configuration, *seconds: float, seed: int = 0) -> list[AnyEvent]:
    """A trial whose whole epochs took so long."""
    return [
        started(of, seed),
        epochs(of, *(record(n, seconds=s) for n, s in enumerate(seconds, start=1)), seed=seed),
    ]


# ---- fits and pooled moments


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(-100, 100)), min_size=3, max_size=40),
)
def test_the_fit_is_numpys(points: list[tuple[float, float]]) -> None:
    logs = np.log([x for x, _ in points])
    values = np.array([y for _, y in points])
    assume(np.ptp(logs) > 0.1)
    found = log_fit(points)
    assert found is not None
    slope, intercept = np.polyfit(logs, values, 1)
    assert found.slope == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert found.intercept == pytest.approx(intercept, rel=1e-6, abs=1e-6)
    if np.ptp(values) > 0.1:
        r2 = np.corrcoef(logs, values)[0, 1] ** 2
        assert found.r2 == pytest.approx(r2, abs=1e-6)


def test_a_line_on_the_logarithm_is_found_whole() -> None:
    points = [(10.0**k, 3 + 2 * k * math.log(10)) for k in range(5)]
    fit = log_fit(points)
    assert fit == pytest.approx((2.0, 3.0, 1.0), rel=1e-12)


def test_there_is_no_fit_of_few_points_or_of_one_place() -> None:
    assert log_fit([(1, 1), (2, 2)]) is None
    assert log_fit([(0, 0), (1, 1), (2, 2)]) is None
    assert log_fit([(2, 1), (2, 2), (2, 3)]) is None
    assert log_fit([(1, 5), (2, 5), (3, 5)]) == (0.0, 5.0, 1.0)


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9), min_size=1, max_size=5),
)
def test_pooled_moments_are_those_of_all_values(parts: list[list[float]]) -> None:
    found = figures.pooled((fmean(part), stdev(part), len(part)) for part in parts)
    every = [value for part in parts for value in part]
    assert found == pytest.approx((fmean(every), stdev(every)), rel=1e-6, abs=1e-6)


def test_nothing_pools_to_nothing() -> None:
    assert figures.pooled([]) is None
    assert figures.pooled([(1.0, 2.0, 0)]) is None
    assert figures.pooled([(1.0, 0.0, 1)]) == (1.0, 0.0)


def test_last_values_are_those_of_finished_trials() -> None:
    b8 = configuration(8, seeds=5)
    events: list[AnyEvent] = []
    statuses: list[TrialStatus | None] = ["finished", "diverged", "stopped", None, "finished"]
    for seed, status in enumerate(statuses):
        found = (record(1, test_accuracy=0.3), record(2, test_accuracy=0.5 + seed / 10))
        events += [started(b8, seed), epochs(b8, *found, seed=seed)]
        if status:
            events.append(ended(b8, seed, status=status))
    assert figures.last_values(fold(b8, events=events), "b8", accuracy) == [0.5, 0.9]


def test_mean_and_deviation() -> None:
    assert figures.mean_and_deviation([2, 4, 4, 4, 5, 5, 7, 9]) == (5, math.sqrt(32 / 7))
    assert figures.mean_and_deviation([3.0]) == (3.0, None)
    with pytest.raises(StatisticsError):
        figures.mean_and_deviation([])


# ---- epoch times


def test_configurations_in_the_order_of_their_batch_size_then_of_the_preset() -> None:
    sweep = [
        configuration(128),
        configuration(8),
        configuration(32, name="b32-b", lr=0.2),
        configuration(32, name="b32-a"),
    ]
    state = fold(*sweep, events=[])
    assert figures.by_batch_size(state) == ["b8", "b32-b", "b32-a", "b128"]


def test_epoch_time_and_its_ratio_to_the_next_smaller_batch_size() -> None:
    b8, b32, b128, b512 = (configuration(size) for size in (8, 32, 128, 512))
    events = [*timed(b128, 9, 2, 2), *timed(b8, 9, 8, 10, 6), *timed(b512, 9, 4)]
    state = fold(b512, b8, b128, b32, events=events)
    assert figures.epoch_times(state) == [
        EpochTime("b8", 8, 8, TRAIN_SIZE / 8, None),
        EpochTime("b128", 128, 2, TRAIN_SIZE / 2, 4.0),
        EpochTime("b512", 512, 4, TRAIN_SIZE / 4, 0.5),
    ]


def test_twins_of_one_batch_size_compare_with_the_smaller_one_and_not_with_each_other() -> None:
    b8, one, two = (
        configuration(8),
        configuration(32, name="one"),
        configuration(32, name="two", lr=0.2),
    )
    state = fold(b8, one, two, events=[*timed(b8, 9, 6), *timed(one, 9, 3), *timed(two, 9, 2)])
    assert [time.ratio for time in figures.epoch_times(state)] == [None, 2.0, 3.0]


def test_batches_larger_than_the_training_set_are_the_full_batch() -> None:
    b512, b2000, b5000 = (configuration(size) for size in (512, 2000, 5000))
    events = [*timed(b512, 9, 4), *timed(b2000, 9, 2), *timed(b5000, 9, 1)]
    times = figures.epoch_times(fold(b512, b2000, b5000, events=events))
    assert [time.batch_size for time in times] == [512, TRAIN_SIZE, TRAIN_SIZE]
    assert [time.ratio for time in times] == [None, 2.0, 4.0]


def test_no_epoch_time_before_an_epoch() -> None:
    b8 = configuration(8)
    assert figures.epoch_times(fold(b8, events=[])) == []
    assert figures.epoch_times(fold(b8, events=[started(b8)])) == []


def pace_of(*trials: list[EpochRecord]) -> tuple[float | None, float | None]:
    b8 = configuration(8, seeds=len(trials))
    events: list[AnyEvent] = []
    for seed, records in enumerate(trials):
        events += [started(b8, seed), epochs(b8, *records, seed=seed)]
    state = fold(b8, events=events)
    return pace(state, state.replicates("b8"))


def test_pace_leaves_out_the_first_epoch_of_every_trial() -> None:
    first = [record(1, seconds=100), record(2, seconds=2), record(3, seconds=4)]
    second = [record(1, seconds=90), record(2, seconds=3)]
    assert pace_of(first, second) == (3, TRAIN_SIZE / 3)


def test_pace_is_a_median() -> None:
    records = [record(1), *(record(n, seconds=s) for n, s in enumerate((1, 50, 2, 3), start=2))]
    assert pace_of(records) == (2.5, (TRAIN_SIZE / 2 + TRAIN_SIZE / 3) / 2)


def test_pace_leaves_out_an_epoch_that_was_cut_short() -> None:
    short = record(3, seconds=0.1, epoch_samples=TRAIN_SIZE - 1)
    assert pace_of([record(1, seconds=9), record(2, seconds=2), short]) == (2, TRAIN_SIZE / 2)


def test_the_first_epoch_counts_where_it_is_alone() -> None:
    short = record(2, seconds=0.1, epoch_samples=5)
    assert pace_of([record(1, seconds=9), short]) == (9, TRAIN_SIZE / 9)


def test_no_pace_without_a_whole_epoch() -> None:
    assert pace_of([record(1, epoch_samples=5)]) == (None, None)
    assert pace_of([record(1, seconds=0.0)]) == (None, None)
    assert pace_of([]) == (None, None)


# ---- gradient norms


B64 = configuration(64, seeds=2, epochs=4)  # 23 steps an epoch, 92 in all


def pieces(epoch: int) -> list[NormSlice]:
    """Slices of 4 steps (the last of 3), each norm the number of its step."""
    begin = 23 * (epoch - 1)
    return [
        norm_slice(first, np.arange(first, min(first + 4, begin + 23), dtype=np.float32))
        for first in range(begin, begin + 23, 4)
    ]


def normed(of: Configuration, seed: int = 0) -> list[AnyEvent]:
    records = [record(n, steps=23 * n, norms=pieces(n)) for n in range(1, 5)]
    return [started(of, seed), epochs(of, *records, seed=seed)]


def test_the_whole_run_has_the_norms_of_all_seeds() -> None:
    state = fold(B64, events=[*normed(B64), *normed(B64, 1)])
    norms = figures.norms(state, "b64")
    steps = np.tile(np.arange(92), 2)
    assert norms.count == 184
    assert norms.mean == pytest.approx(steps.mean(), rel=1e-12)
    assert norms.std == pytest.approx(steps.std(ddof=1), rel=1e-12)


@pytest.mark.parametrize(
    ("start", "stop", "steps"),
    [
        (0.0, 0.1, [*range(8)]),  # middles 2 and 6, the next is 10 of 92
        (0.0, 0.25, [*range(23)]),
        (0.25, 0.5, [*range(23, 46)]),
        (0.9, 1.0, [*range(81, 92)]),  # middles 83, 87 and 90.5
        (0.0, 0.0, []),
    ],
)
def test_a_share_has_the_slices_whose_middle_lies_in_it(
    start: float, stop: float, steps: list[int]
) -> None:
    state = fold(B64, events=normed(B64))
    norms = figures.norms(state, "b64", start, stop)
    assert norms.count == len(steps)
    assert norms.mean == (pytest.approx(np.mean(steps), rel=1e-12) if steps else None)


@pytest.mark.parametrize("parts", [2, 3, 7, 10])
def test_shares_that_meet_hold_every_norm_once(parts: int) -> None:
    state = fold(B64, events=[*normed(B64), *normed(B64, 1)])
    cuts = [part / parts for part in range(parts + 1)]
    shares = [figures.norms(state, "b64", a, b) for a, b in pairwise(cuts)]
    assert sum(share.count for share in shares) == 184
    together: dict[int, int] = {}
    for share in shares:
        for index, count in share.bins.items():
            together[index] = together.get(index, 0) + count
    assert together == figures.norms(state, "b64").bins


def test_a_share_is_of_the_planned_steps_also_while_the_trial_runs() -> None:
    state = fold(B64, events=[started(B64), epochs(B64, record(1, steps=23, norms=pieces(1)))])
    assert figures.norms(state, "b64", 0.0, 0.1).count == 8
    assert figures.norms(state, "b64", 0.9, 1.0).count == 0


def test_the_ratio_compares_one_network_with_itself() -> None:
    """Twice the batch halves the time of each network; the cnn is ten times the mlp."""
    chosen = [
        configuration(size, name=f"{model}{size}", model=Model(name=model))
        for size in (8, 16)
        for model in ("mlp", "cnn")
    ]
    seconds = {"mlp8": 2.0, "cnn8": 20.0, "mlp16": 1.0, "cnn16": 10.0}
    events = [event for c in chosen for event in timed(c, 9.0, seconds[c.id])]
    ratios = {t.configuration: t.ratio for t in figures.epoch_times(fold(*chosen, events=events))}
    assert ratios == {"mlp8": None, "cnn8": None, "mlp16": 2.0, "cnn16": 2.0}


def test_without_a_planned_number_of_steps_early_is_not_the_whole_run() -> None:
    """A budget in seconds."""
    by_the_clock = configuration(64, name="clock", seconds=5.0)
    state = fold(by_the_clock, events=normed(by_the_clock))
    assert figures.norms(state, "clock").count == 92
    assert figures.norms(state, "clock", 0.0, 0.1).count < 92


def test_no_norms_before_the_first_epoch() -> None:
    norms = figures.norms(fold(B64, events=[started(B64)]), "b64")
    assert (norms.count, norms.mean, norms.bins) == (0, None, Norms().bins)
