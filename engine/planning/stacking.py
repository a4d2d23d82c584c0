"""How many replicates are trained as one stack: arithmetic on steps that were timed.

A stack of replicates takes longer than one of them, and less long than all one after the other,
where that pays at all. Fewer and larger stacks are less work; more and smaller ones keep more
workers busy. The stacks are chosen that end the sweep first.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from batchscope.engine.planning.list_scheduling import ENOUGH, longest_first, makespan
from batchscope.engine.spec import MAX_TRIALS, Settings

WORTH = 1.05


class StackTiming(Struct, frozen=True):
    """So many replicates as one stack: the seconds of a step of all of them.

    `peak_bytes` are the most live tensor bytes of the step, data included.
    """

    size: int
    seconds: float
    peak_bytes: int = 0


class Pieces(NamedTuple):
    """The sizes of the stacks, largest first, and why in a few words."""

    sizes: tuple[int, ...]
    reason: str = ""


def largest_stack(settings: Settings) -> int:
    """How many replicates may be trained as one stack, whatever is measured.

    A budget in seconds, epochs that are timed alone, and several workers are one trial's; in bf16
    a stack would round otherwise than one.
    """
    run, train = settings.run, settings.train
    one = run.timing == "alone" or train.seconds is not None or train.precision == "bf16"
    if one or run.data_parallel > 1 or run.stack == "never":
        return 1
    return MAX_TRIALS if run.stack == "auto" else run.stack


def candidates(seeds: int, workers: int) -> tuple[int, ...]:
    """The sizes worth timing, rising: one, powers of two, and shares for each worker."""
    shares = {-(-seeds // (workers * rounds)) for rounds in (1, 2)}
    sizes = {1, seeds, *shares, *(2**power for power in range(1, seeds.bit_length()))}
    return tuple(sorted(size for size in sizes if size <= seeds))


def fixed(seeds: int, size: int) -> Pieces:
    """Stacks of the size that the preset names, the last of what is left."""
    whole, rest = divmod(seeds, size)
    return Pieces(((size,) * whole + ((rest,) if rest else ())), "as the preset says")


def step_seconds(size: int, stacks: Sequence[StackTiming]) -> float:
    """Seconds of a step of a stack, by the line between the sizes that were timed around it."""
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
    """How to divide so many replicates, that a trial alone takes `seconds` for, among `workers`.

    `others` are the expected seconds of what else waits, `busy` those that the other workers have
    still in hand. No stack has more than `most`, or more than were timed. They are stacked only
    where that is at least 5 % less work than one after the other; of divisions that end the sweep
    within 5 % of the first, the one with the least work is taken. With `whole` it is all of them
    or none.
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
        return Pieces(alone.sizes, "one stack of replicates would end later than each alone")
    return Pieces(best, f"{seeds * seconds / work(best):.1f} × the pace of one after the other")


def _even(seeds: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Every division into stacks as even as can be, none larger than the largest."""
    for count in range(-(-seeds // largest), seeds):
        small, more = divmod(seeds, count)
        yield (small + 1,) * more + (small,) * (count - more)


def _not_worth(stacks: Sequence[StackTiming], largest: int) -> str:
    """Why replicates stay alone: the best gain that was measured."""
    one = step_seconds(1, stacks)
    gains = [
        (stack.size * one / stack.seconds, stack.size)
        for stack in stacks
        if 1 < stack.size <= largest
    ]
    if not gains:
        return ""
    gain, size = max(gains)
    return f"alone: a stack of {size} has {gain:.2f} × the pace of one after the other"
