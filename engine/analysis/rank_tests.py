"""Exact tests by order alone: they need no spread, which a censored value would make too small.

The rank-sum test of Wilcoxon (1945) with the exact distribution of Mann and Whitney (1947), and the
sign test. A tie counts against the claimed order, so the p values are upper bounds.
"""

import math
from collections.abc import Sequence
from functools import lru_cache


def rank_sum_p(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """Return the one-sided p value of two groups of the same distribution.

    It holds for pairs as well, if the two values of a pair are alike rather than opposite.

    Args:
        larger: the group whose values are claimed to be larger.
        smaller: the other group.
    """
    won = sum(one > other for one in larger for other in smaller)
    ways = orders(len(larger), len(smaller))
    return sum(ways[won:]) / sum(ways)


def sign_p(values: Sequence[float], number: float) -> float:
    """Return the one-sided p value of values that exceed a number at most half of the time."""
    n, above = len(values), sum(value > number for value in values)
    return math.fsum(math.comb(n, count) for count in range(above, n + 1)) / 2.0**n


@lru_cache(maxsize=64)
def orders(one: int, other: int) -> tuple[int, ...]:
    """Return in how many orders of two groups one value exceeds another u times, for every u.

    They are the coefficients of the Gaussian binomial, ∏ (1 − q^(other + i)) / (1 − q^i) over
    i = 1 to `one`.
    """
    size = one * other + 1
    ways = [1] + [0] * (size - 1)
    for step in range(1, one + 1):
        for at in range(size - 1, other + step - 1, -1):
            ways[at] -= ways[at - other - step]
        for at in range(step, size):
            ways[at] += ways[at - step]
    return tuple(ways)
