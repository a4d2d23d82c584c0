"""Time several programs alternately, and compare their times."""

import gc
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

Times = dict[str, list[float]]
FEWEST_ROUNDS = 3


class Ratio(NamedTuple):
    """The median of the ratios within each round, and the smallest and largest ratio."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}..{self.high:.2f})"


def in_turn(
    contenders: Mapping[str, Callable[[], float]], rounds: int, longest: float = math.inf
) -> Times:
    """Run all contenders in each round, starting each round with another one; return the results.

    After `longest` seconds and at least `FEWEST_ROUNDS` rounds, no further round begins.
    """
    names, began = list(contenders), time.perf_counter()
    taken: Times = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            gc.collect()
            taken[name].append(contenders[name]())
        if turn + 1 >= FEWEST_ROUNDS and time.perf_counter() - began > longest:
            break
    return taken


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Return how many times as large the one is as `below`, from the ratios within each round."""
    each = [one / other for one, other in zip(above, below, strict=True)]
    return Ratio(median(each), min(each), max(each))


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of at least one positive value."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def row(widths: Sequence[int], cells: Iterable[object]) -> str:
    """Format a row of a table; the first column is left-aligned."""
    words = [str(cell) for cell in cells]
    rest = (f"{word:>{width}}" for word, width in zip(words[1:], widths[1:], strict=True))
    return "  ".join([f"{words[0]:<{widths[0]}}", *rest])


def judged(what: str, met: bool) -> str:
    """Format a line that says whether a bar is met."""
    return f"bar: {what}: {'met' if met else 'NOT met'}"
