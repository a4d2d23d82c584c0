"""A progress bar as text, apart from the raster: the menu draws it without numpy."""

import math


def gauge(fraction: float, width: int) -> tuple[str, str]:
    """A progress bar as its done and its open part, to half a cell."""
    if not math.isfinite(fraction):
        fraction = 0.0
    halves = int(max(0.0, min(1.0, fraction)) * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return done, "─" * (width - len(done))
