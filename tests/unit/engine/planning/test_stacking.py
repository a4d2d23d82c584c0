"""Dividing replicates into stacks, compared with all possible divisions."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.planning.list_scheduling import ENOUGH
from batchscope.engine.planning.stacking import (
    WORTH,
    Pieces,
    StackTiming,
    candidates,
    divide,
    fixed,
    largest_stack,
    step_seconds,
)
from batchscope.engine.spec import MAX_TRIALS, Run, Settings
from tests.unit.training_fixtures import configuration


def timed(cost: Callable[[int], float], *sizes: int) -> list[StackTiming]:
    return [StackTiming(size, cost(size)) for size in sizes]


def cheap(size: int) -> float:
    """Two thirds of a step are the same for any number of replicates."""
    return 2.0 + size


def divisions(count: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Every way to write a number as a sum, largest part first."""
    if count == 0:
        yield ()
    for part in range(min(count, largest), 0, -1):
        for rest in divisions(count - part, part):
            yield (part, *rest)


def optimum(costs: list[float], workers: int) -> float:
    ends = []
    for hands in product(range(workers), repeat=len(costs)):
        loads = [0.0] * workers
        for hand, cost in zip(hands, costs, strict=True):
            loads[hand] += cost
        ends.append(max(loads))
    return min(ends)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(1, 3), st.integers(0, 5), st.integers(1, 4))
def test_the_best_of_all_divisions_with_linear_costs(
    seeds: int, workers: int, once: int, each: int
) -> None:
    """Whatever part of a step is shared, no division ends the sweep 5 % earlier."""

    def cost(size: int) -> float:
        return float(once + each * size)

    sizes = range(1, seeds + 1)
    found = divide(seeds, seeds, timed(cost, *sizes), cost(1), workers)
    best = min(optimum(list(map(cost, d)), workers) for d in divisions(seeds, seeds))
    ours = optimum(list(map(cost, found.sizes)), workers)
    whole = sum(map(cost, found.sizes))
    assert sum(found.sizes) == seeds
    assert found.sizes == tuple(sorted(found.sizes, reverse=True))
    if any(seeds * cost(1) >= WORTH * sum(map(cost, d)) for d in divisions(seeds, seeds)):
        assert best <= ours <= ENOUGH * best + 1e-9
    else:
        assert (found.sizes, whole) == ((1,) * seeds, seeds * cost(1))


def test_idle_workers_get_a_stack() -> None:
    assert divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 2).sizes == (3, 2)
    assert divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 1).sizes == (5,)
    assert divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 3).sizes == (2, 2, 1)
    assert divide(16, 16, timed(cheap, 1, 4, 8, 16), 3.0, 2).sizes == (8, 8)


def test_busy_workers_get_no_stack() -> None:
    assert divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 2, others=[7.0] * 5).sizes == (5,)
    assert divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 2, busy=[7.0]).sizes == (5,)
    assert divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 2, busy=[0.5]).sizes == (3, 2)


def test_seconds_scale_with_the_trial() -> None:
    """Alone 100 s, a stack of five 7/3 of that: the other worker is free after 200 s."""
    stacks = [StackTiming(stack.size, stack.seconds / 1e4) for stack in timed(cheap, 1, 2, 3, 5)]
    assert divide(5, 5, stacks, 100.0, 2, busy=[200.0]).sizes == (5,)
    assert divide(5, 5, stacks, 100.0, 2, busy=[20.0]).sizes == (3, 2)


def test_the_reason_names_the_gain() -> None:
    assert divide(5, 5, timed(cheap, 1, 5), 3.0, 1).reason == "2.1 × as fast as one after the other"


def test_a_gain_below_five_percent_is_not_stacked() -> None:
    alone = divide(4, 4, timed(lambda size: 0.96 * size if size > 1 else 1.0, 1, 2, 4), 1.0, 1)
    assert alone == Pieces(
        (1, 1, 1, 1), "alone: a stack of 4 is only 1.04 × as fast as one after the other"
    )
    assert divide(4, 4, timed(lambda size: 0.9 * size, 1, 2), 0.9, 1).sizes == (1, 1, 1, 1)
    stacked = divide(4, 4, timed(lambda size: 0.9 * size if size > 1 else 1.0, 1, 2, 4), 1.0, 1)
    assert max(stacked.sizes) > 1


def test_a_stack_that_would_end_later_is_not_used() -> None:
    """Two workers train two replicates in 3 s; one stack of both takes 4."""
    found = divide(2, 2, timed(cheap, 1, 2), 3.0, 2)
    assert found == Pieces((1, 1), "alone: one stack of replicates would end later")


def test_without_measurements_nothing_is_stacked() -> None:
    assert divide(3, 3, [], 1.0, 1) == Pieces((1, 1, 1))
    assert divide(1, 1, timed(cheap, 1), 1.0, 1) == Pieces((1,))
    assert divide(3, 3, timed(cheap, 2, 3), 1.0, 1) == Pieces((1, 1, 1))
    assert divide(3, 3, timed(cheap, 1), 1.0, 1) == Pieces((1, 1, 1))


def test_no_stack_is_larger_than_the_timed_ones() -> None:
    assert divide(10, 10, timed(cheap, 1, 2, 4), 3.0, 1).sizes == (4, 3, 3)


def test_no_stack_is_larger_than_allowed() -> None:
    assert divide(10, 3, timed(cheap, 1, 2, 4), 3.0, 1).sizes == (3, 3, 2, 2)
    assert divide(10, 1, timed(cheap, 1, 2, 4), 3.0, 1) == Pieces((1,) * 10)


def test_a_little_earlier_is_not_worth_more_work() -> None:
    """One stack takes 7 s, two on both workers 5: of 57 s the difference is 4 %, of 27 s 7 %."""
    stacks = timed(cheap, 1, 2, 3, 5)
    assert divide(5, 5, stacks, 3.0, 2, others=[50.0, 50.0]).sizes == (5,)
    assert divide(5, 5, stacks, 3.0, 2, others=[20.0, 20.0]).sizes == (3, 2)


def test_times_are_interpolated_between_sizes() -> None:
    stacks = [StackTiming(8, 5.0), StackTiming(1, 1.0), StackTiming(4, 2.0)]
    assert [step_seconds(size, stacks) for size in (1, 2, 3, 4, 6, 8)] == [
        *(1.0, pytest.approx(4 / 3), pytest.approx(5 / 3), 2.0, 3.5, 5.0)
    ]


@pytest.mark.parametrize(
    ("seeds", "workers", "sizes"),
    [
        (1, 2, (1,)),
        (2, 2, (1, 2)),
        (5, 2, (1, 2, 3, 4, 5)),
        (5, 4, (1, 2, 4, 5)),
        (16, 2, (1, 2, 4, 8, 16)),
        (20, 3, (1, 2, 4, 7, 8, 16, 20)),
    ],
)
def test_timed_sizes(seeds: int, workers: int, sizes: tuple[int, ...]) -> None:
    assert candidates(seeds, workers) == sizes


def test_the_presets_size() -> None:
    assert fixed(7, 3).sizes == (3, 3, 1)
    assert fixed(6, 3).sizes == (3, 3)
    assert fixed(2, 2) == Pieces((2,), "as the preset says")


@pytest.mark.parametrize(
    ("run", "train", "largest"),
    [
        (Run(), {}, MAX_TRIALS),
        (Run(stack="never"), {}, 1),
        (Run(stack=1), {}, 1),
        (Run(stack=6), {}, 6),
        (Run(timing="alone"), {}, 1),
        (Run(timing="alone", stack=6), {}, 1),
        (Run(), {"precision": "bf16"}, 1),
        (Run(stack=6), {"epochs": None, "seconds": 3.0}, 1),
        (Run(), {"target_accuracy": 0.9}, MAX_TRIALS),
    ],
)
def test_which_settings_allow_stacks(run: Run, train: dict[str, object], largest: int) -> None:
    made: Settings = configuration(64).settings
    made = replace(made, run=run, train=replace(made.train, **train))
    assert largest_stack(made) == largest


def test_whole_stacks_all_replicates_or_none() -> None:
    divided = divide(5, 5, timed(cheap, 1, 2, 3, 5), 3.0, 2, whole=True)
    assert divided.sizes == (5,)  # though 3 and 2 would end sooner
    assert divide(5, 3, timed(cheap, 1, 2, 3), 3.0, 2, whole=True).sizes == (1,) * 5
