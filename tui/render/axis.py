"""Axes: map values to dots of a grid, and choose ticks and labels."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

MAX_STEPS = 60
FAR = 2048


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`, linear or logarithmic."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float | None:
        """Return a value's position as a share of the axis, 0 to 1; None if it cannot be drawn."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return None
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        span = high / 2 - low / 2  # halved: the difference of two huge floats overflows
        return (value / 2 - low / 2) / span if span > 0 else 0.5

    def at(self, share: float) -> float:
        """Return the value at a share of the axis."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return float(10.0 ** (low + share * (high - low)))
        return self.low * (1 - share) + self.high * share

    def place(self, value: float, dots: int) -> int | None:
        """Return the dot of a value, counted from `low`.

        A value outside the axis gets a dot outside, at most `FAR` beyond the end, so that a line to
        it leaves the area at the right dot. The result is None if the value cannot be drawn.
        """
        share = self.share(value)
        if share is None:
            return None
        position = max(float(-FAR), min(float(dots + FAR), share * (dots - 1)))
        return math.floor(position + 0.5)


def axis_over(values: Iterable[float], log: bool = False) -> Axis:
    """Return an axis that covers all values that can be drawn, widened to round numbers."""
    usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not usable:
        return Axis(0.1, 1.0, log) if log else Axis(0.0, 1.0)
    low, high = min(usable), max(usable)
    return _log_axis(low, high) if log else _linear_axis(low, high)


def ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    """Return about `count` round values at most on the axis, with their labels."""
    if count < 1:
        return []
    if axis.log:
        chosen = _log_ticks(axis, count)
        if len(chosen) > 1:
            return chosen
        return [tick for tick in _linear_ticks(axis, count) if tick[0] > 0]
    return _linear_ticks(axis, count)


def label(value: float, step: float = 0.0) -> str:
    """Return a tick's label, with as many decimals as its step needs."""
    size = max(abs(value), step)
    if value != 0 and (size >= 1e6 or size < 1e-3):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if not step:
        return f"{value:g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{min(decimals, 6)}f}"


def _linear_ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    step = _round_step(axis.high / count - axis.low / count)
    if not step or not math.isfinite(step):
        return [(axis.low, label(axis.low))]
    first = math.ceil(axis.low / step - 1e-9)
    last = math.floor(axis.high / step + 1e-9)
    if last - first > MAX_STEPS:
        return [(axis.low, label(axis.low)), (axis.high, label(axis.high))]
    return [(index * step, label(index * step, step)) for index in range(first, last + 1)]


def _linear_axis(low: float, high: float) -> Axis:
    if low == high:
        margin = abs(low) * 0.05 or 0.5
        most = sys.float_info.max
        low, high = max(-most, low - margin), min(most, high + margin)
    step = _round_step(high / 8 - low / 8)
    if not step or not math.isfinite(step):
        return Axis(low, high)
    rounded = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    wide = all(math.isfinite(end) for end in rounded) and rounded[0] <= low and rounded[1] >= high
    return Axis(*rounded) if wide else Axis(low, high)


def _log_axis(low: float, high: float) -> Axis:
    if low == high:
        low, high = max(low / 2, math.ulp(0.0)), min(high * 2, sys.float_info.max)
    return Axis(low, high, log=True)


def _round_step(span: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least `span`."""
    if not span > 0 or not math.isfinite(span):
        return 0.0
    power = 10.0 ** math.floor(math.log10(span))
    if not power:
        return 0.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span * (1 - 1e-9))


def _log_ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    lowest, highest = math.log10(axis.low), math.log10(axis.high)
    for factors, every in (((1, 2, 5), 1), ((1, 3), 1), *(((1,), n) for n in (1, 2, 5, 10, 50))):
        values = [
            factor * 10.0**power
            for power in range(math.floor(lowest), math.ceil(highest) + 1)
            if power % every == 0 and power > -308 and power < 308
            for factor in factors
        ]
        inside = [v for v in values if axis.low * (1 - 1e-9) <= v <= axis.high * (1 + 1e-9)]
        if len(inside) <= count:
            return [(value, label(value)) for value in inside]
    return []
