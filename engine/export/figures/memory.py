"""Draws the memory of each micro-batch size before the first step, and the chosen size."""

from collections.abc import Iterator

from batchscope.engine.export.figures.common import MOST, Cast, Picture, is_wide
from batchscope.engine.export.plot_style import (
    FAINT,
    INK,
    SeriesStyle,
    legend,
    log_axis,
    new,
    series_style,
    sizes_along,
)
from batchscope.engine.formatting import shown_size
from batchscope.engine.journal.events import MicroBatchesMeasured
from batchscope.engine.planning.plan import alike

NEAR = 20.0
"""A limit above this multiple of the peaks is not drawn: it would flatten them."""


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield the figure, if micro-batch sizes were measured."""
    measured = [each for each in cast.state.measured if any(s.peak_bytes for s in each.shapes)]
    known = sorted(measured, key=lambda each: each.batch_size)
    if known:
        yield _picture(cast, known[:MOST], len(known) - MOST)


def _looks(cast: Cast, known: list[MicroBatchesMeasured]) -> list[SeriesStyle]:
    """Return the style of each curve: that of its configuration in the other figures.

    A measurement holds for several configurations; it has the style of the first that is drawn
    elsewhere, or one of its own.
    """
    unused = len(cast.names)
    looks: list[SeriesStyle] = []
    for each in known:
        settings = cast.state.trials[each.trial].settings
        names = [
            name
            for name in cast.names
            if cast.size(name) == settings.train.batch_size
            and alike(cast.state.configurations[name].settings, 0) == alike(settings, 0)
        ]
        mine = next((cast.look(name) for name in names if cast.look(name) not in looks), None)
        if mine is None:
            mine, unused = series_style(unused), unused + 1
        looks.append(mine)
    return looks


def _picture(cast: Cast, known: list[MicroBatchesMeasured], more: int) -> Picture:
    state = cast.state
    title = "Memory of a step"
    unit, size_of = _unit(max(shape.peak_bytes for measured in known for shape in measured.shapes))
    figure, axes = new(title, "micro-batch size", f"peak of live tensors, {unit}")
    handles, labels, sizes, peaks = [], [], [], []
    several = len({measured.batch_size for measured in known}) < len(known)
    for measured, style in zip(known, _looks(cast, known), strict=True):
        tried = sorted(
            (shape.micro_batch_size, shape.peak_bytes / size_of)
            for shape in measured.shapes
            if shape.peak_bytes
        )
        handles += axes.plot(
            *zip(*tried, strict=True), color=style.colour, ls=style.line, marker=style.marker
        )
        plan = state.plans.get(measured.trial)
        for size, peak in tried:
            if plan is not None and plan.micro_batch_size == size:
                axes.plot([size], [peak], marker="o", ms=10, mfc="none", mec=INK, ls="none")
        whose = state.configurations[state.trials[measured.trial].configuration].label
        labels.append(whose if several else f"{measured.batch_size:,}")
        sizes += [size for size, _ in tried]
        peaks += [peak for _, peak in tried]
    sizes_along(axes, sizes, "micro-batch size")
    limits = sorted({measured.limit_bytes for measured in known})
    near = [limit for limit in limits if limit < NEAR * size_of * max(peaks)]
    for limit in near:
        axes.axhline(limit / size_of, color=FAINT, ls="--", lw=1.2)
    if is_wide([*peaks, *(limit / size_of for limit in near)]):
        log_axis(axes.yaxis)
    else:
        axes.set_ylim(0, 1.1 * max([*peaks, *(limit / size_of for limit in near)]))
    legend(figure, handles, labels)
    limit_range = " to ".join(dict.fromkeys(shown_size(each) for each in (limits[0], limits[-1])))
    caption = (
        "The most bytes of live tensors in one step, data included, for each micro-batch size "
        "that was executed before the first step; a curve for each batch size. A ring marks the "
        f"size that was chosen. A worker may use up to {limit_range}"
        + (" (dashed)." if near else ", far above the top of this figure.")
        + (f" {more} more not drawn." if more > 0 else "")
    )
    return Picture("memory", title, caption, figure)


def _unit(most: int) -> tuple[str, int]:
    """Return the best binary unit for a number of bytes, and the bytes of that unit."""
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if most >= size:
            return name, size
    return "KiB", 1 << 10
