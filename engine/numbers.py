"""Numbers as people read them, on the screen and in a report."""

import math

from engine.sizes import three_digits

UNKNOWN = "–"


def number(value: float | None) -> str:
    """A figure to three digits, in powers of ten where it is tiny or huge."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return three_digits(value)
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def significant(value: float | None) -> str:
    """A figure to three significant digits: 0.0512, 1.23, 394."""
    if value is None or not math.isfinite(value) or not 1e-3 <= abs(value) < 1:
        return number(value)
    rounded = float(f"{value:.2e}")
    return f"{rounded:.{2 - math.floor(math.log10(abs(rounded)))}f}"


def signed(value: float) -> str:
    """With its sign, and a minus as wide as the plus; whole below ten millions."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    size = abs(value)
    return sign + (f"{size:,.0f}" if 1e4 <= size < 1e7 else number(size))
