"""In which order jobs are handed out, and when the last of them ends: pure arithmetic.

List scheduling (Graham 1969): whoever is free takes the next job of a list. With the longest first
the end comes at most a third later than the best there is.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

ENOUGH = 1.05
MANY = 500


class Job(NamedTuple):
    """So many expected seconds of work; `turn` is the index of the first seed in it."""

    turn: int
    seconds: float


def makespan(seconds: Sequence[float], workers: int, busy: Sequence[float] = ()) -> float:
    """When the last job ends that `workers` take from the list; `busy` is until when they are not.

    Of very many jobs none matters by itself: then the work is shared out evenly.
    """
    if len(seconds) > MANY * workers:
        return max(max(seconds), (sum(seconds) + sum(busy)) / workers)
    free = sorted([*busy, *[0.0] * workers], reverse=True)[:workers]
    heapq.heapify(free)
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def longest_first(seconds: Sequence[float]) -> list[float]:
    """The order in which list scheduling comes close to the best end."""
    return sorted(seconds, reverse=True)


def in_turns(jobs: Sequence[Job], workers: int) -> bool:
    """Whether one seed of all configurations comes after the other.

    So it is, because pairs show early what is to be seen, unless the longest first would end the
    whole at least 5 % earlier.
    """
    seconds = [job.seconds for job in sorted(jobs, key=lambda job: rank(job, True))]
    best = makespan(longest_first(seconds), workers)
    return makespan(seconds, workers) <= ENOUGH * best


def rank(job: Job, turns: bool) -> tuple[float, float]:
    """What to sort jobs by: in turns and the longest of each first, or the longest of all."""
    return (job.turn, -job.seconds) if turns else (-job.seconds, job.turn)
