"""Compares a metric of two configurations of different sweeps, as B − A over the seeds.

The interval is that of a paired t-test if a seed gives both sides the same initial weights and
order of samples, else of Welch's t-test. If the data on which the metric is measured differ, the
difference is reported but not judged. A trial that diverged has no value, and it would be worse
than those that have one, so a verdict that it could undo is undetermined.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from batchscope.engine.analysis.provenance import same_data, same_start
from batchscope.engine.analysis.statistics import LEVEL, holm, interval, p_value
from batchscope.engine.findings.claim_verdicts import Method
from batchscope.engine.findings.comparison_sides import (
    LEAST_SEEDS,
    Side,
    difference,
    gather,
    share_seeds,
)
from batchscope.engine.findings.configuration_summary import Mean, mean_over
from batchscope.engine.findings.decisions import may_be
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import PrimaryMetric
from batchscope.engine.spec import Configuration

Word = Literal["higher", "lower", "undetermined", "not judged"]


class MetricDifference(Struct, frozen=True, kw_only=True):
    """The values of a metric on both sides, accuracies as fractions, and their difference B − A.

    Attributes:
        a, b: mean of each side.
        difference: B − A, with its interval `low` to `high` of coverage 1 − `level`.
        n: number of pairs, or of seeds of the smaller side.
        method: the test that was used.
        p: two-sided p value.
        adjusted: `p` adjusted for the number of configurations; it decides the `verdict`.
        verdict: whether B is higher or lower; which of them is better depends on the metric.
        reason: why a significant difference has no verdict; empty otherwise.
    """

    a: Mean | None
    b: Mean | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = LEVEL
    n: int = 0
    method: Method = ""
    p: float | None = None
    adjusted: float | None = None
    verdict: Word = "undetermined"
    reason: str = ""


def metric_difference(
    a: SweepState, b: SweepState, x: Configuration, y: Configuration, metric: PrimaryMetric
) -> MetricDifference:
    """Compare configuration y of B with x of A; the verdict waits for `judged`."""
    left, right = gather(a, metric.measure, [x]), gather(b, metric.measure, [y])
    alike = same_data(a, b, x.settings, y.settings, metric.part)
    if not alike or _apart(x, y) or not same_start(a.replicates(x.id), b.replicates(y.id)):
        left = dataclasses.replace(left, start=frozenset({b"of its own"}))
    left, right = _in_common(left, right)
    word: Word = "undetermined" if alike else "not judged"
    base = MetricDifference(a=_mean(left), b=_mean(right), verdict=word)
    if base.a is None or base.b is None:
        return base
    estimate = difference(right, left)
    if estimate is None:
        return replace(base, difference=base.b.mean - base.a.mean, n=min(base.a.n, base.b.n))
    low, high = interval(estimate)
    p = p_value(estimate)
    return replace(
        base,
        difference=estimate.effect,
        low=low,
        high=high,
        n=estimate.n,
        method="paired t" if share_seeds(left, right) else "Welch's t",
        p=(1.0 if p is None else p) if alike else None,
        reason=_undone(left, right, estimate.effect) if alike else "",
    )


def judged(differences: Sequence[MetricDifference]) -> list[MetricDifference]:
    """Return the differences with their verdicts, adjusted for their number."""
    at = [index for index, each in enumerate(differences) if each.p is not None]
    adjusted = holm([differences[index].p or 0.0 for index in at])
    found = list(differences)
    for index, p in zip(at, adjusted, strict=True):
        of = differences[index]
        word: Word = "undetermined"
        if p < LEVEL and of.difference:
            word = "higher" if of.difference > 0 else "lower"
        reason = of.reason if word != "undetermined" else ""
        word = "undetermined" if reason else word
        found[index] = replace(of, adjusted=p, verdict=word, reason=reason)
    return found


def _apart(x: Configuration, y: Configuration) -> bool:
    """Return whether both have several seeds, but others, as after a choice.

    Such seeds cannot be paired; they are independent.
    """
    least = min(len(x.seeds), len(y.seeds))
    return least >= LEAST_SEEDS > len(set(x.seeds) & set(y.seeds))


def _undone(left: Side, right: Side, effect: float) -> str:
    """Return why trials that diverged could undo a difference B − A; empty if they cannot."""
    place = 1 if effect > 0 else -1
    sides = ("B", right, -place), ("A", left, place)
    names = [name for name, side, undoing in sides if may_be(side, undoing)]
    if not names:
        return ""
    return f"trials of {' and '.join(names)} diverged, and with them the verdict could be another"


def _in_common(left: Side, right: Side) -> tuple[Side, Side]:
    """Restrict both sides to their common seeds if these pair them, so that the means match."""
    shared = left.values.keys() & right.values.keys()
    if not share_seeds(left, right) or not shared:
        return left, right
    kept = [{s: v for s, v in side.values.items() if s in shared} for side in (left, right)]
    return dataclasses.replace(left, values=kept[0]), dataclasses.replace(right, values=kept[1])


def _mean(side: Side) -> Mean | None:
    return mean_over(list(side.values.values()), side.floor)
