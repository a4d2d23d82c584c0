"""Lists of jobs and when they end, compared with all possible orders."""

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.planning.list_scheduling import (
    MANY,
    Job,
    in_turns,
    longest_first,
    makespan,
    rank,
)

seconds = st.integers(1, 20).map(float)


def optimum(jobs: list[float], workers: int) -> float:
    """The best end of all ways to share jobs out."""
    ends = []
    for hands in product(range(workers), repeat=len(jobs)):
        loads = [0.0] * workers
        for hand, job in zip(hands, jobs, strict=True):
            loads[hand] += job
        ends.append(max(loads))
    return min(ends)


@pytest.mark.parametrize(
    ("jobs", "workers", "busy", "end"),
    [
        ([], 2, [], 0.0),
        ([], 2, [7.0], 7.0),
        ([3.0], 2, [], 3.0),
        ([3.0, 2.0], 1, [], 5.0),
        ([1.0, 1.0, 5.0], 2, [], 6.0),
        ([5.0, 1.0, 1.0], 2, [], 5.0),
        ([4.0], 2, [3.0], 4.0),
        ([4.0, 4.0], 2, [3.0], 7.0),
        ([1.0], 2, [9.0, 5.0], 9.0),
    ],
)
def test_makespans(jobs: list[float], workers: int, busy: list[float], end: float) -> None:
    assert makespan(jobs, workers, busy) == end


def test_with_very_many_jobs_the_work_is_divided_evenly() -> None:
    count = 2 * MANY + 2
    assert makespan([1.0] * count, 2) == count / 2
    assert makespan([1.0] * count, 2, [4.0]) == count / 2 + 2
    assert makespan([1.0] * count + [9999.0], 2) == 9999.0


@settings(deadline=None, max_examples=60)
@given(st.lists(seconds, min_size=1, max_size=6), st.integers(1, 3))
def test_the_longest_first_is_within_a_third_of_the_best(jobs: list[float], workers: int) -> None:
    """Graham (1969): 4/3 - 1/(3 m)."""
    best = optimum(jobs, workers)
    end = makespan(longest_first(jobs), workers)
    assert best <= end <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9


@settings(deadline=None, max_examples=40)
@given(st.lists(seconds, min_size=1, max_size=5), st.integers(1, 3))
def test_some_order_reaches_the_optimum(jobs: list[float], workers: int) -> None:
    ends = {makespan(list(order), workers) for order in permutations(jobs)}
    assert min(ends) == optimum(jobs, workers)


def ordered(jobs: list[Job], workers: int) -> list[Job]:
    turns = in_turns(jobs, workers)
    return sorted(jobs, key=lambda job: rank(job, turns))


def test_seed_by_seed_with_the_longest_job_first() -> None:
    jobs = [Job(turn, length) for length in (1.0, 8.0) for turn in (0, 1)]
    assert ordered(jobs, 1) == [Job(0, 8.0), Job(0, 1.0), Job(1, 8.0), Job(1, 1.0)]


def test_a_long_job_comes_first_if_the_sweep_then_ends_earlier() -> None:
    """In turns 2 + 10 = 12 seconds, the longest first 10."""
    jobs = [*[Job(0, 1.0)] * 4, Job(1, 10.0)]
    assert ordered(jobs, 2) == [Job(1, 10.0), *[Job(0, 1.0)] * 4]


@pytest.mark.parametrize(("last", "turns"), [(41.0, True), (39.0, False)])
def test_seed_by_seed_may_cost_five_percent(last: float, turns: bool) -> None:
    """In turns it ends after 2 + `last` seconds, the longest first after `last`."""
    assert in_turns([Job(0, 2.0), Job(0, 2.0), Job(1, last)], 2) is turns
