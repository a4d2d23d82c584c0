"""How many workers with how many threads each: arithmetic on steps timed at the same time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from batchscope.engine.planning.list_scheduling import longest_first, makespan

ENOUGH = 1.05
WORTH_SECONDS = 120.0  # a sweep that takes less is over before it pays to ask
MOST_ON_A_GPU = 4


class Slots(NamedTuple):
    """So many workers, with so many threads each."""

    workers: int
    threads: int

    def __str__(self) -> str:
        workers, threads = ("s" if count != 1 else "" for count in self)
        return f"{self.workers} worker{workers} with {self.threads} thread{threads} each"


class Sample(NamedTuple):
    """A kind of trial that stands for the sweep: expected seconds of one, and how many wait."""

    seconds: float
    trials: int


def options(cores: int, trials: int) -> list[Slots]:
    """The divisions of so many cores that are worth timing, the most workers first."""
    threads = dict.fromkeys([*(2**power for power in range(cores.bit_length())), cores])
    slots = [Slots(min(trials, cores // each), each) for each in threads if each <= cores]
    return sorted(dict.fromkeys(slots), reverse=True)


def on_a_gpu(trials: int) -> list[Slots]:
    """How many workers may share one GPU, the fewest first."""
    return [Slots(count, 1) for count in (1, 2, MOST_ON_A_GPU) if count <= trials]


def choose_worker_count(
    timed: Mapping[Slots, Sequence[float]], samples: Sequence[Sample]
) -> tuple[Slots, float]:
    """The first of the slots, unless the sweep is expected to end at least 5 % earlier in others.

    `timed` has the seconds of a step of each sample in one worker, while the others did the same.
    Returns with it by what factor it is expected to be faster than the best of the others.
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
