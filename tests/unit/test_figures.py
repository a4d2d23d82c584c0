"""Figures across seeds, on sweeps whose every number was chosen."""

import math
from itertools import pairwise
from statistics import StatisticsError

import numpy as np
import pytest

from engine import figures
from engine.bins import Norms
from engine.events import AnyEvent, EpochRecord, NormSlice, TrialStatus
from engine.figures import EpochTime, Point
from engine.spec import Configuration, Model
from engine.state import SweepState
from engine.training.gradients import norm_slice
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


# ---- curves


def test_a_curve_is_mean_and_range_over_the_seeds_that_came_so_far() -> None:
    b8 = configuration(8, seeds=3)
    reached = {0: [0.5, 0.7, 0.9], 1: [0.6, 0.9], 2: []}
    events: list[AnyEvent] = []
    for seed, accuracies in reached.items():
        found = [record(n, test_accuracy=a) for n, a in enumerate(accuracies, start=1)]
        events += [started(b8, seed), epochs(b8, *found, seed=seed)]
    curve = figures.curve(fold(b8, events=events), "b8", accuracy)
    assert [(p.x, p.low, p.high, p.n) for p in curve] == [
        *[(1, 0.5, 0.6, 2), (2, 0.7, 0.9, 2), (3, 0.9, 0.9, 1)],
    ]
    assert [p.mean for p in curve] == pytest.approx([0.55, 0.8, 0.9], rel=1e-14)


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
    assert figures.curve(state, "b8", loss) == [Point(1, 1.5, 1, 2, 2), Point(2, 4, 4, 4, 1)]
    assert figures.curve(state, "b8", lambda _: math.nan) == []


def test_a_curve_is_of_one_configuration() -> None:
    b8, b32 = configuration(8), configuration(32)
    events = [*timed(b8, 1.0), started(b32), epochs(b32, record(1, test_accuracy=0.1))]
    state = fold(b8, b32, events=events)
    assert figures.curve(state, "b32", accuracy) == [Point(1, 0.1, 0.1, 0.1, 1)]


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
    return figures.pace(state, state.replicates("b8"))


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
