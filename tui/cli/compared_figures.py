"""Writes the metric that two sweeps are compared by, with equal decimals in a column."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from batchscope.engine.comparison.comparison import ComparedMetric
from batchscope.engine.comparison.metric_difference import MetricDifference
from batchscope.engine.findings.configuration_summary import Mean
from batchscope.engine.formatting import UNKNOWN

DIGITS, MOST_DECIMALS, LARGEST = 4, 6, 1e7


class Written(NamedTuple):
    """How values and differences of a metric are written.

    Attributes:
        factor: by which they are multiplied: 100 for accuracies.
        decimals: of each value; None for powers of ten, where values are tiny or huge.
    """

    factor: float = 100.0
    decimals: int | None = 2

    @classmethod
    def of(cls, metric: ComparedMetric, found: Iterable[MetricDifference]) -> "Written":
        """Return how the metric is written: four digits of the largest value or difference."""
        if metric.is_accuracy:
            return cls()
        largest = max((abs(value) for each in found for value in _values(each)), default=0.0)
        if largest == 0.0:
            return cls(1.0, DIGITS)
        decimals = DIGITS - 1 - math.floor(math.log10(largest))
        if decimals > MOST_DECIMALS or largest >= LARGEST:
            return cls(1.0, None)
        return cls(1.0, max(0, decimals))

    def mean(self, of: Mean | None) -> str:
        """Return a mean, or a dash."""
        return UNKNOWN if of is None else self._text(of.mean).removeprefix("+")

    def signed(self, value: float | None) -> str:
        """Return a difference with its sign, or a dash."""
        return UNKNOWN if value is None else self._text(value)

    def width(self, found: Iterable[MetricDifference]) -> int:
        """Return the cells that the longest value or difference takes."""
        return max(
            (
                len(text)
                for each in found
                for text in (self.mean(each.a), self.mean(each.b), self.signed(each.difference))
            ),
            default=0,
        )

    def _text(self, value: float) -> str:
        size = value * self.factor
        text = f"{size:+.2e}" if self.decimals is None else f"{size:+,.{self.decimals}f}"
        return text.replace("-", "−", 1)


def _values(of: MetricDifference) -> Iterator[float]:
    """Yield the finite means and the difference."""
    for value in (of.a.mean if of.a else None, of.b.mean if of.b else None, of.difference):
        if value is not None and math.isfinite(value):
            yield value
