"""Tests whether a measure rises or falls over all levels of a trend, and not only over its ends.

A trend is supported if its ends differ as claimed and no two levels differ the other way; ratios
must also have an upper bound at all levels but the largest. To miss a
reversal would be the error here, so each pair of levels is tested at a lenient level. It is chosen
so that from three seeds on a reversal of three standard deviations of a single seed's value is
missed in at most 4 % of sweeps, and one of four in less than 1 %: its t value has a noncentral t
distribution with the parameter 3 √(n/2), if the seeds share nothing, and n − 1 degrees of freedom.
With a still more lenient level, honest trends with levels that are nearly equal would be left
undetermined. `benchmarks/verdicts.py` measures both, `docs/verdicts.md` has the figures.
"""

import math
from collections.abc import Sequence
from itertools import combinations

from batchscope.engine.analysis.ratio_estimate import RatioDifference
from batchscope.engine.findings.comparison_sides import Side, listed
from batchscope.engine.findings.decisions import may_be, unknown_values_text
from batchscope.engine.findings.effects import change_between, sign_of
from batchscope.engine.findings.missing_values import worse_place
from batchscope.engine.findings.trend_series import Diverged

REVERSED = {2: 0.35, 3: 0.25, 4: 0.15}
"""Two-sided p value below which a change against the trend is a reversal, by number of seeds."""
REVERSED_OTHERWISE = 0.1
REVERSED_RATIOS = 0.5
"""The same for ratios, whose p values are upper bounds.

Three seeds then miss a reversal of two to four standard deviations in at most 1 % of sweeps; with
0.4 they miss it in 3 %."""


def reversal(levels: Sequence[Side], sign: int) -> str:
    """Return the clearest reversal of a trend as a sentence; empty if there is none.

    Args:
        levels: the levels in rising order.
        sign: the claimed sign of the trend, 1 or −1.
    """
    found: list[tuple[float, str]] = []
    for lower, upper in combinations(levels, 2):
        change = change_between(upper, lower)
        if change is None or sign_of(change) != -sign:
            continue
        p = change.p_value()
        least = REVERSED_RATIOS if upper.ratios else REVERSED.get(change.n, REVERSED_OTHERWISE)
        if p is not None and p < least:
            found.append((p, f"from {lower.name} to {upper.name.split()[-1]} (p = {p:.2g})"))
    if not found:
        return ""
    return f"the ends differ as claimed, but the trend seems to reverse {min(found)[1]}"


def unbounded(levels: Sequence[Side], sign: int) -> str:
    """Return which ratio has no upper bound though a larger one should follow; empty if none has.

    The seeds cannot distinguish its denominator from 0, so it may exceed every other level, and no
    test could find the reversal. Only the largest level of the claimed trend may be unbounded.

    Args:
        levels: the levels in rising order.
        sign: the claimed sign of the trend, 1 or −1.
    """
    *others, _ = levels[::sign]
    for level in others:
        if level.ratios and math.isinf(RatioDifference(level.ratios).interval()[1]):
            return (
                f"the ends differ as claimed, but at {level.name} the seeds set no upper bound to "
                f"{level.measure}"
            )
    return ""


def trend_gaps(levels: Sequence[Side], sign: int) -> str:
    """Return why unknown values could reverse a trend at some level; empty if they cannot."""
    undone = [
        level
        for at, level in enumerate(levels)
        if (at > 0 and may_be(level, -sign)) or (at < len(levels) - 1 and may_be(level, sign))
    ]
    return "; ".join(dict.fromkeys(map(unknown_values_text, undone)))


def series_gaps(diverged: Sequence[Diverged], measure: str, count: int, sign: int) -> str:
    """Return why series that were left out could undo a trend; empty if they cannot.

    Args:
        diverged: where all trainings of such a series diverged.
        measure: the measure that is compared.
        count: the number of levels.
        sign: the sign of the trend over the other series, 1 or −1.
    """
    worse = worse_place(measure)
    undone = [
        each.name
        for each in diverged
        if (each.level > 0 and worse in (-sign, 0))
        or (each.level < count - 1 and worse in (sign, 0))
    ]
    if not undone:
        return ""
    return f"with the series that diverged at {listed(undone)} the verdict could be another"
