"""Numbers with their units, short and aligned, as every pane writes them."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from batchscope.engine.formatting import UNKNOWN as UNKNOWN
from batchscope.engine.formatting import number as number
from batchscope.engine.formatting import significant as significant
from batchscope.engine.formatting import three_digits


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it: 07:41, 1:02:03 or 2 d 03:04."""
    whole = int(max(0.0, seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute:02d}:{second:02d}"


def duration(seconds: float) -> str:
    """Return a measured time with three digits: 34.1 ms, 4.10 s, 125 s."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 0.9995:
        return f"{three_digits(seconds * 1e3)} ms"
    return f"{three_digits(seconds)} s" if seconds < 1000 else clock(seconds)


def roughly(seconds: float) -> str:
    """Return a rough estimate of a duration: 15 s, 4 min, 1.9 h."""
    if seconds < 55:
        return f"{max(5, round(seconds / 5) * 5)} s"
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"


def rate(per_second: float) -> str:
    """Return samples per second with their unit."""
    if per_second >= 9.995e5:
        return f"{three_digits(per_second / 1e6)} M/s"
    return f"{per_second:,.0f}/s"


def share(fraction: float) -> str:
    """Return a share in percent, rounded down so that 100 % means all of it."""
    return f"{int(fraction * 100)} %"


def places(values: Iterable[float]) -> int | None:
    """Return the decimals with which a column of numbers fills six cells; None if none fit."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest and not 0.01 <= largest < 99_999.5:
        return None
    return 5 - len(f"{largest:.0f}") if largest >= 9.99995 else 4


def figure(value: float, decimals: int | None) -> str:
    """Return a number with the decimals of its column."""
    if decimals is None or not math.isfinite(value):
        return number(value)
    return f"{value:.{decimals}f}"


def digits(value: float | None) -> str:
    """Return a number of any size in at most seven cells: 0.0612, 12.35, 23457, 1.2e6, 2.0e-5."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if value and not 1e-3 <= size < 99_999.5:
        return number(value)
    return f"{value:.{min(4, max(0, 5 - len(f'{size:.0f}')))}f}"


def deviation(spread: float, decimals: int | None) -> str:
    """Return a deviation after a number, without its leading zero: ±.0071."""
    return f"±{figure(spread, decimals)}".replace("±0.", "±.")


def when(name: str) -> str:
    """Return the time in a sweep's id, in local time."""
    try:
        moment = datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
