"""Chooses the number of workers and the threads of each, from steps timed at the same time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from batchscope.engine.planning.list_scheduling import longest_first, makespan

ENOUGH = 1.05
WORTH_SECONDS = 120.0  # for a shorter sweep measuring would take longer than it saves
MOST_ON_A_GPU = 4


class Slots(NamedTuple):
    """A number of workers and the number of threads of each."""

    workers: int
    threads: int

    def __str__(self) -> str:
        workers, threads = ("s" if count != 1 else "" for count in self)
        return f"{self.workers} worker{workers} with {self.threads} thread{threads} each"


class Sample(NamedTuple):
    """A kind of trial: the expected seconds of one, and the number of queued ones."""

    seconds: float
    trials: int


def options(cores: int, trials: int) -> list[Slots]:
    """Return the divisions of CPU cores to time, those with most workers first."""
    threads = dict.fromkeys([*(2**power for power in range(cores.bit_length())), cores])
    slots = [Slots(min(trials, cores // each), each) for each in threads if each <= cores]
    return sorted(dict.fromkeys(slots), reverse=True)


def on_a_gpu(trials: int) -> list[Slots]:
    """Return the numbers of workers on one GPU to time, the fewest first."""
    return [Slots(count, 1) for count in (1, 2, MOST_ON_A_GPU) if count <= trials]


def choose_worker_count(
    timed: Mapping[Slots, Sequence[float]], samples: Sequence[Sample]
) -> tuple[Slots, float]:
    """Choose the first slots, unless the sweep is expected to end at least 5 % earlier in others.

    Args:
        timed: for each slots, the seconds of a step of each sample while all workers run it.
        samples: the kinds of trials in the sweep.

    Returns:
        The chosen slots, and how many times faster they are than the best of the others.
    """
    first = next(iter(timed))

    def end(slots: Slots) -> float:
        jobs = [
            sample.seconds * timed[slots][at] / timed[first][at]
            for at, sample in enumerate(samples)
            for _ in range(sample.trials)
        ]
        return makespan(longest_first(jobs), slots.workers)

    ends = {slots: end(slots) for slots in timed}
    best = min(timed, key=lambda slots: ends[slots])
    chosen = first if ends[first] <= ENOUGH * ends[best] else best
    others = [seconds for slots, seconds in ends.items() if slots != chosen]
    return chosen, min(others, default=ends[chosen]) / ends[chosen]
