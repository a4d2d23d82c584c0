"""Computes the order in which jobs are started, and when the last one ends.

List scheduling (Graham 1969): a free worker takes the next job of a list. With the longest job
first, the end is at most a third later than the optimum.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

ENOUGH = 1.05
MANY = 500


class Job(NamedTuple):
    """A job: its expected seconds, and as `turn` the index of its first seed."""

    turn: int
    seconds: float


def makespan(seconds: Sequence[float], workers: int, busy: Sequence[float] = ()) -> float:
    """Return the end of the last job of a list, in seconds (the makespan).

    With very many jobs the work is assumed to be divided evenly.

    Args:
        seconds: durations of the jobs, in the order in which they are started.
        workers: number of workers.
        busy: seconds until workers become free that are still busy.
    """
    if len(seconds) > MANY * workers:
        return max(max(seconds), (sum(seconds) + sum(busy)) / workers)
    free = sorted([*busy, *[0.0] * workers], reverse=True)[:workers]
    heapq.heapify(free)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def longest_first(seconds: Sequence[float]) -> list[float]:
    """Sort durations in descending order, with which list scheduling is close to optimal."""
    return sorted(seconds, reverse=True)


def in_turns(jobs: Sequence[Job], workers: int) -> bool:
    """Return whether to run all configurations with one seed before the next seed.

    This shows differences between configurations early. It is not done if starting the longest jobs
    first would end the sweep at least 5 % earlier.
    """
    seconds = [job.seconds for job in sorted(jobs, key=lambda job: rank(job, True))]
    best = makespan(longest_first(seconds), workers)
    return makespan(seconds, workers) <= ENOUGH * best


def rank(job: Job, turns: bool) -> tuple[float, float]:
    """Return the sort key of a job: by seed and then longest first, or only longest first."""
    return (job.turn, -job.seconds) if turns else (-job.seconds, job.turn)
