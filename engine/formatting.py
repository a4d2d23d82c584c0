"""Reads and writes memory sizes and numbers as people write them."""

import math
import re
from fractions import Fraction

from batchscope.engine.errors import UsageProblem, shown

EXAMPLE = "a size such as 512MiB, 1.5GB or 800000000 (bytes)"
LARGEST = 1 << 60
_WRITTEN = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?[ ]*([A-Za-z]*)")
_BINARY = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50}
_DECIMAL = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
_UNITS = {"": 1, "b": 1, **_BINARY, **_DECIMAL}


def parse_size(written: object) -> int:
    """Return the bytes of `2GiB` (binary), `1.5 GB` (decimal), `1048576` or a number, rounded down.

    Raises:
        UsageProblem: it is not a size above 0. The message has an example, not the option's name.
    """
    if isinstance(written, int) and not isinstance(written, bool):
        return _checked(Fraction(written), written)
    match = _WRITTEN.fullmatch(written.strip()) if isinstance(written, str) else None
    if match is None:
        raise UsageProblem(f"expected {EXAMPLE}, got {shown(written)}")
    whole, part, unit = match.groups()
    factor = _UNITS.get(unit.lower())
    if factor is None:
        raise UsageProblem(f"expected {EXAMPLE}, got {shown(written)}{_meant(unit)}")
    if part and factor == 1:
        raise UsageProblem(f"expected a whole number of bytes or {EXAMPLE}, got {shown(written)}")
    return _checked(Fraction(whole + (part or "")) * factor, written)


def shown_size(count: float) -> str:
    """Format bytes with a binary unit: 512 MiB, 9.10 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{three_digits(count)} {unit}"
        count /= 1024
    return f"{three_digits(count)} TiB"


def three_digits(value: float) -> str:
    """Format a number with three digits, or more where its integer part has more: 12.3, 1,230."""
    magnitude = abs(value)
    decimals = 2 if magnitude < 9.995 else 1 if magnitude < 99.95 else 0
    return f"{value:,.{decimals}f}"


def _meant(unit: str) -> str:
    """Return both units that `2G` may mean: they differ by 7 %, so the user has to choose."""
    if unit.upper() not in ("K", "M", "G", "T", "P"):
        return ""
    letter = unit.upper()
    powers = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5}[letter]
    return f"; write {letter}iB (1024{_raised(powers)}) or {letter}B (1000{_raised(powers)})"


def _raised(power: int) -> str:
    return "" if power == 1 else "⁰¹²³⁴⁵"[power]


def _checked(size: Fraction, written: object) -> int:
    if not 1 <= size <= LARGEST:
        raise UsageProblem(f"expected a size from 1 byte to 1024 PiB, got {shown(written)}")
    return int(size)


UNKNOWN = "–"


def number(value: float | None) -> str:
    """Format a number with three digits, in powers of ten if it is tiny or huge."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return three_digits(value)
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def significant(value: float | None) -> str:
    """Format a number with three significant digits: 0.0512, 1.23, 394."""
    if value is None or not math.isfinite(value) or not 1e-3 <= abs(value) < 1:
        return number(value)
    rounded = float(f"{value:.2e}")
    return f"{rounded:.{2 - math.floor(math.log10(abs(rounded)))}f}"


def signed(value: float) -> str:
    """Format a number with its sign (a minus as wide as a plus); an integer from 10,000 to 10⁷."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    size = abs(value)
    return sign + (f"{size:,.0f}" if 1e4 <= size < 1e7 else number(size))
