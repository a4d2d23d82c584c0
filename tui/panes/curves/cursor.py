"""Where the cursor can stand: at the points that were measured, one stop a column of cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.tui.panes.curves.series import PlottedCurve
from batchscope.tui.render.axis import Axis
from batchscope.tui.render.units import duration, significant
from batchscope.tui.viewmodel.quantities import XQuantity

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Floats


def measured_at(curves: Sequence[PlottedCurve]) -> "Floats":
    """Every x that something was measured at, in order."""
    import numpy as np

    return np.unique(np.concatenate([one.raw.x for one in curves]))


def stepped(xs: "Floats", x: Axis, columns: int, at: float | None, step: int) -> float | None:
    """The x of the cursor `step` stops further on an axis of so many columns; None past the ends.

    A stop is the last point within a column, so that every step is seen. Several steps at once
    end at the last stop before they go past it. From nowhere, a step enters the part of the axis
    that is seen at the side that it comes from.
    """
    import numpy as np

    cells = _cells(x, xs, columns)
    xs, cells = xs[~np.isnan(cells)], cells[~np.isnan(cells)]
    last = np.append(np.diff(cells) > 0, True)[: len(xs)]
    stops, cells = xs[last], cells[last]
    if at is None:
        seen = stops[(cells >= 0) & (cells < columns)]
        return float(seen[0 if step > 0 else -1]) if len(seen) else None
    here = _cells(x, np.array([at]), columns)[0]
    further = stops[cells > here] if step > 0 else stops[cells < here][::-1]
    if not len(further):
        return None
    return float(further[min(abs(step), len(further)) - 1])


def _cells(x: Axis, xs: "Floats", columns: int) -> "Floats":
    """The column of cells that each value lies in, beyond the area as well."""
    import numpy as np

    from batchscope.tui.render.braille import positions

    return np.floor(positions(x, xs, columns * 2) + 0.5) // 2


def place_text(x: float, axle: XQuantity) -> str:
    """A place on the x axis, with its unit."""
    if axle.along == "seconds":
        return duration(x)
    if axle.along == "distance":
        return f"distance {significant(x)}"
    return f"{x:,.{0 if x.is_integer() else 1}f} {axle.along}"
