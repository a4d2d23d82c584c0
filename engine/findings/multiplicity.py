"""Adjusts the verdicts on several claims for their number.

If each of m claims without an effect is judged at level 0.05, some verdict is false with a
probability of up to 1 − 0.95^m: 23 % for five. Holm's step-down procedure (Holm 1979) keeps the
probability of any false verdict at 0.05, whatever the dependence between the claims.
"""

from collections.abc import Sequence
from typing import Literal

from batchscope.engine.analysis.statistics import LEVEL, holm
from batchscope.engine.findings.decisions import Word

Correction = Literal["holm", "none"]
Judged = tuple[Word, float | None, str]
"""The word on a claim, its p value, and the reason."""


def adjusted(judged: Sequence[Judged], withheld: int, correction: Correction) -> list[Judged]:
    """Return words, adjusted p values and reasons of claims that were judged one by one.

    Args:
        judged: the claims; those without a p value have no verdict.
        withheld: how many of these were tested nevertheless, or may still be: they count as claims
            without an effect, the others do not count.
        correction: `holm`, or `none` to leave all as they are.
    """
    at = [index for index, (_, p, _) in enumerate(judged) if p is not None]
    count = len(at) + withheld
    if correction == "none" or count == 0:
        return list(judged)
    ps = holm([*(p for _, p, _ in judged if p is not None), *[1.0] * withheld])
    result = list(judged)
    for index, p in zip(at, ps, strict=False):
        word, alone, reason = judged[index]
        if word != "undetermined" and p >= LEVEL:
            why = f"p = {alone:.2g} alone, but {p:.2g} after Holm's correction for {count} claims"
            word, reason = "undetermined", "; ".join(part for part in (why, reason) if part)
        result[index] = word, p, reason
    return result


def familywise(count: int, correction: Correction) -> float:
    """Return the greatest probability of any false verdict among so many claims."""
    return LEVEL if correction == "holm" or count < 2 else 1 - (1 - LEVEL) ** count
