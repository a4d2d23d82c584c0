"""Tests whether a measure rises or falls over all levels of a trend, and not only over its ends.

A trend is supported if its ends differ as claimed and no two levels differ the other way. To miss
a reversal would be the error here, so each pair of levels is tested at a lenient level: a change
against the trend counts as a reversal if its one-sided p value is below 1/8. With three seeds, a
reversal of four standard deviations of a single value is then seen in more than 95 % of sweeps
(`benchmarks/verdicts.py`). In return, an honest trend with levels that are nearly equal is often
left undetermined.
"""

from collections.abc import Sequence
from itertools import combinations

from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.decisions import may_be, unknown_values_text
from batchscope.engine.findings.effects import effect_between, sign_of

REVERSED = 0.25
"""Two-sided p value below which a change against the trend is a reversal."""
REVERSED_RATIOS = 0.8
"""The same for ratios, whose p values are upper bounds."""


def reversal(levels: Sequence[Side], sign: int) -> str:
    """Return the clearest reversal of a trend as a sentence; empty if there is none.

    Args:
        levels: the levels in rising order.
        sign: the claimed sign of the trend, 1 or −1.
    """
    found: list[tuple[float, str]] = []
    for lower, upper in combinations(levels, 2):
        change = effect_between(upper, lower)
        if change is None or sign_of(change) != -sign:
            continue
        p = change.p_value()
        least = REVERSED_RATIOS if upper.ratios else REVERSED
        if p is not None and p < least:
            found.append((p, f"from {lower.name} to {upper.name.split()[-1]} (p = {p:.2g})"))
    if not found:
        return ""
    return f"the ends differ as claimed, but the trend seems to reverse {min(found)[1]}"


def trend_gaps(levels: Sequence[Side], sign: int) -> str:
    """Return why unknown values could reverse a trend at some level; empty if they cannot."""
    undone = [
        level
        for at, level in enumerate(levels)
        if (at > 0 and may_be(level, -sign)) or (at < len(levels) - 1 and may_be(level, sign))
    ]
    return "; ".join(dict.fromkeys(map(unknown_values_text, undone)))
