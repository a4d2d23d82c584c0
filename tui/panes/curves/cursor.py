"""The cursor of the curves: it stops at measured points, at most once in each column of cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.tui.panes.curves.series import PlottedCurve
from batchscope.tui.render.axis import Axis
from batchscope.tui.render.units import duration, significant
from batchscope.tui.viewmodel.quantities import XQuantity

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Floats


def measured_at(curves: Sequence[PlottedCurve]) -> "Floats":
    """Return every x with a measured value, in order."""
    import numpy as np

    return np.unique(np.concatenate([one.raw.x for one in curves]))


def stepped(xs: "Floats", x: Axis, columns: int, at: float | None, step: int) -> float | None:
    """Return the x of the cursor after `step` stops; None past the ends.

    A stop is the last point within a column, so that each step moves the cursor. Several steps at
    once end at the last stop at most. Without a cursor (`at` is None), it enters the visible part
    of the axis from the left with a positive step, from the right with a negative one.

    Args:
        xs: the measured places, ascending.
        x: the axis, `columns` cells wide.
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
    """Return the column of cells of each value, also outside the area."""
    import numpy as np

    from batchscope.tui.render.braille import positions

    return np.floor(positions(x, xs, columns * 2) + 0.5) // 2


def place_text(x: float, axle: XQuantity) -> str:
    """Return a place on the x axis as text, with its unit."""
    if axle.along == "seconds":
        return duration(x)
    if axle.along == "distance":
        return f"distance {significant(x)}"
    return f"{x:,.{0 if x.is_integer() else 1}f} {axle.along}"
