"""The axes of the curves: the whole budget, or the part that is zoomed into."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscope.tui.panes.curves.options import Lens
from batchscope.tui.panes.curves.series import PlottedCurve, planned_end
from batchscope.tui.render.axis import Axis, axis_over
from batchscope.tui.render.chart import Level
from batchscope.tui.viewmodel.marks import Mark
from batchscope.tui.viewmodel.quantities import ACCURACY, ERROR
from batchscope.tui.viewmodel.view import View

if TYPE_CHECKING:
    from batchscope.tui.render.braille import Floats, Lit

BEGINNING = 0.1
LEAST_POINTS = 3
REFERENCE = {"mnist": 0.998}
REFERENCE_NEAR = 4
SIZE_NEAR = 10


def whole_x(view: View, lens: Lens, curves: Sequence[PlottedCurve]) -> Axis:
    """Return an x axis over the whole budget, if known: a growing curve does not move it."""
    end = float(max(one.raw.x.max() for one in curves))
    planned = planned_end(view, lens)
    epochs = lens.axle.along == "epochs"
    if lens.log_x:
        firsts = [float(x[x > 0].min()) for x in (one.raw.x for one in curves) if (x > 0).any()]
        least = 1.0 if epochs else min(firsts, default=1.0)
        return axis_over([least, max(end, planned, 2 * least)], log=True)
    if planned >= end:
        return Axis(0.0, max(planned, 1.0) if epochs else planned)
    return Axis(0.0, _rounded(end))


def zoomed(whole: Axis, lens: Lens, curves: Sequence[PlottedCurve]) -> Axis:
    """Return the visible part of the x axis: around the middle, or up to the newest point."""
    if not lens.zoom:
        return whole
    wide = 0.5**lens.zoom
    if lens.middle is None:
        newest = max(float(one.raw.x.max()) for one in curves)
        low = (whole.share(newest) or 0.0) - wide
    else:
        low = (whole.share(lens.middle) or 0.0) - wide / 2
    low = max(0.0, min(1.0 - wide, low))
    return Axis(whole.at(low), whole.at(low + wide), whole.log)


def holds_points(x: Axis, measured: "Floats") -> bool:
    """Return whether an axis holds the three points that a curve needs."""
    return int(((measured >= x.low) & (measured <= x.high)).sum()) >= LEAST_POINTS


def y_axis(lens: Lens, curves: Sequence[PlottedCurve], x: Axis, known: Level | None) -> Axis:
    """Return a y axis over what is visible, without the steep beginning, which flattens the rest.

    A curve that begins below enters through the lower edge. Smoothing does not move the axis.
    """
    import numpy as np

    log = lens.log_y
    every = np.concatenate([one.raw.mean for one in curves])
    late = np.concatenate([one.raw.mean[_late(one, lens, x)] for one in curves])
    if log:
        every, late = every[every > 0], late[late > 0]
    chosen = late if len(late) else every
    if not len(chosen):
        return axis_over([], log=log)
    near = known is not None and not lens.zoom and _is_near(known.value, every, log)
    ends = [float(chosen.min()), float(chosen.max()), *([known.value] if known and near else [])]
    if lens.quantity.sized and not lens.zoom:
        ends += _nearest_sizes(curves, ends[0], ends[1])
    return axis_over(ends, log=log)


def reference(view: View, lens: Lens, curves: Sequence[PlottedCurve]) -> Level | None:
    """Return the best published accuracy on the data set, if all curves are on the same one."""
    data = {one.source.state.configurations[one.name].settings.data.name for one in curves}
    best = REFERENCE.get(data.pop()) if len(data) == 1 else None
    if best is None or lens.offered[lens.chosen] is not ACCURACY:
        return None
    return Level(1.0 - best if lens.quantity is ERROR else best, f"{best * 100:.1f} published")


def _nearest_sizes(curves: Sequence[PlottedCurve], low: float, high: float) -> list[float]:
    """Return the batch sizes next below and above the curves, unless they are far away."""
    settings = [one.source.state.configurations[one.name].settings for one in curves if one.own]
    sizes = {float(setting.train.batch_size) for setting in settings}
    below = [size for size in sizes if low / SIZE_NEAR <= size < low]
    above = [size for size in sizes if high < size <= high * SIZE_NEAR]
    return [*([max(below)] if below else []), *([min(above)] if above else [])]


def sizes_within(view: View, lens: Lens, y: Axis) -> list[tuple[int, Mark]]:
    """Return the batch sizes of the sweep that lie on a y axis that counts images, with a mark."""
    if not lens.quantity.sized:
        return []
    sizes = {view.state.configurations[name].settings.train.batch_size: name for name in view.shown}
    return [(size, view.marks[name]) for size, name in sizes.items() if y.low <= size <= y.high]


def _late(one: PlottedCurve, lens: Lens, x: Axis) -> "Lit":
    import numpy as np

    at = one.raw.x
    if lens.zoom:
        return np.asarray((at >= x.low) & (at <= x.high))
    if lens.log_y or not lens.quantity.steep:
        return np.full(len(at), True)
    return np.asarray(at >= BEGINNING * one.end)


def _is_near(best: float, every: "Floats", log: bool) -> bool:
    """Return whether the error comes near the best published one; a log axis shows the error."""
    if log:
        return best * REFERENCE_NEAR >= float(every.min())
    return (1.0 - best) * REFERENCE_NEAR >= 1.0 - float(every.max())


def _rounded(end: float) -> float:
    """Round up, so that the axis of a growing curve changes rarely."""
    step = 10.0 ** math.floor(math.log10(end)) / 2 if end > 0 else 1.0
    return math.ceil(end / step) * step
