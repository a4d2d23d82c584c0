"""Chooses how many replicates are trained together as one stack, from timed steps.

A step of a stack takes longer than that of one replicate, but often less than the steps of all of
them one after the other. Fewer and larger stacks are less work; more and smaller ones keep more
workers busy. The stacks are chosen with which the sweep ends first.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from batchscope.engine.planning.list_scheduling import ENOUGH, longest_first, makespan
from batchscope.engine.spec import MAX_TRIALS, Settings

WORTH = 1.05


class StackTiming(Struct, frozen=True):
    """The measurement of a stack of `size` replicates.

    `seconds` is the duration of one step of all of them, `peak_bytes` the peak bytes of live
    tensors during it, including the data.
    """

    size: int
    seconds: float
    peak_bytes: int = 0


class Pieces(NamedTuple):
    """The sizes of the stacks, largest first, and the reason in a few words."""

    sizes: tuple[int, ...]
    reason: str = ""


def largest_stack(settings: Settings) -> int:
    """Return the largest stack that the settings allow, independent of measurements.

    It is 1 with a budget in seconds, with epochs timed alone and with data-parallel workers, which
    need one trial at a time; in bf16, where a stack would round differently; and for a task.
    """
    run, train = settings.run, settings.train
    one = run.timing == "alone" or train.seconds is not None or train.precision == "bf16"
    if one or settings.task is not None or run.data_parallel > 1 or run.stack == "never":
        return 1
    return MAX_TRIALS if run.stack == "auto" else run.stack


def candidates(seeds: int, workers: int) -> tuple[int, ...]:
    """Return the stack sizes to time, increasing: powers of two, and an even share per worker."""
    shares = {-(-seeds // (workers * rounds)) for rounds in (1, 2)}
    sizes = {1, seeds, *shares, *(2**power for power in range(1, seeds.bit_length()))}
    return tuple(sorted(size for size in sizes if size <= seeds))


def fixed(seeds: int, size: int) -> Pieces:
    """Divide replicates into stacks of the preset's size; the last one has the rest."""
    whole, rest = divmod(seeds, size)
    return Pieces(((size,) * whole + ((rest,) if rest else ())), "as the preset says")


def step_seconds(size: int, stacks: Sequence[StackTiming]) -> float:
    """Return the seconds per step of a stack, interpolated between the nearest timed sizes."""
    known = sorted((stack.size, stack.seconds) for stack in stacks)
    (low, fast), (high, slow) = known[0], known[-1]
    for point in known:
        if point[0] <= size:
            low, fast = point
    for point in reversed(known):
        if point[0] >= size:
            high, slow = point
    return fast if low == high else fast + (slow - fast) * (size - low) / (high - low)


def divide(
    seeds: int,
    most: int,
    stacks: Sequence[StackTiming],
    seconds: float,
    workers: int,
    others: Sequence[float] = (),
    busy: Sequence[float] = (),
    *,
    whole: bool = False,
) -> Pieces:
    """Divide the replicates of a configuration into stacks.

    They are only stacked if that is at least 5 % less work than one after the other. Among the
    divisions that end the sweep within 5 % of the earliest, the one with the least work is chosen.

    Args:
        seeds: number of replicates.
        most: largest allowed stack; a stack is also at most as large as the largest timed one.
        stacks: the timed stacks.
        seconds: expected seconds of a trial by itself.
        workers: number of workers.
        others: expected seconds of the other queued jobs.
        busy: seconds until workers become free that are still busy.
        whole: allow only one stack of all replicates, or none.
    """
    alone = Pieces((1,) * seeds)
    largest = min(most, max((stack.size for stack in stacks), default=1))
    if largest == 1 or min(stack.size for stack in stacks) > 1:
        return alone
    one = step_seconds(1, stacks)

    def work(sizes: tuple[int, ...]) -> float:
        return sum(costs(sizes))

    def costs(sizes: tuple[int, ...]) -> list[float]:
        return [seconds * step_seconds(size, stacks) / one for size in sizes]

    def end(sizes: tuple[int, ...]) -> float:
        return makespan(longest_first([*costs(sizes), *others]), workers, busy)

    divisions = [sizes for sizes in _even(seeds, largest) if not whole or len(sizes) == 1]
    paying = [sizes for sizes in divisions if seeds * seconds >= WORTH * work(sizes)]
    if not paying:
        return Pieces(alone.sizes, _not_worth(stacks, largest))
    ends = {sizes: end(sizes) for sizes in (*paying, alone.sizes)}
    soon = [sizes for sizes in ends if ends[sizes] <= ENOUGH * min(ends.values())]
    best = min(paying if whole else soon, key=work)
    if best == alone.sizes:
        return Pieces(alone.sizes, "alone: one stack of replicates would end later")
    return Pieces(best, f"{seeds * seconds / work(best):.1f} × as fast as one after the other")


def _even(seeds: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield the most even division for each number of stacks, none larger than `largest`."""
    for count in range(-(-seeds // largest), seeds):
        small, more = divmod(seeds, count)
        yield (small + 1,) * more + (small,) * (count - more)


def _not_worth(stacks: Sequence[StackTiming], largest: int) -> str:
    """Return in words why replicates are not stacked, with the best measured speed-up."""
    one = step_seconds(1, stacks)
    gains = [
        (stack.size * one / stack.seconds, stack.size)
        for stack in stacks
        if 1 < stack.size <= largest
    ]
    if not gains:
        return ""
    gain, size = max(gains)
    return f"alone: a stack of {size} is only {gain:.2f} × as fast as one after the other"
