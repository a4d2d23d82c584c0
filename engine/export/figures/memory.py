"""What micro-batches of each size took before the first step, and which was chosen."""

from collections.abc import Iterator

from engine.events import Measured
from engine.export.drawing import FAINT, INK, legend, log_axis, look, new, sizes_along
from engine.export.figures.common import MOST, Picture, is_wide
from engine.sizes import shown_size
from engine.state import SweepState

NEAR = 20.0
"""A limit further above the peaks than this is told, not drawn: it would flatten them."""


def pictures(state: SweepState) -> Iterator[Picture]:
    """Nothing where no micro-batch was measured."""
    known = [found for found in state.measured if any(s.peak_bytes for s in found.shapes)]
    if known:
        yield _picture(state, known[:MOST], len(known) - MOST)


def _picture(state: SweepState, known: list[Measured], more: int) -> Picture:
    title = "Memory of a step"
    unit, size_of = _unit(max(shape.peak_bytes for found in known for shape in found.shapes))
    figure, axes = new(title, "micro-batch size", f"peak of live tensors, {unit}")
    handles, labels, sizes, peaks = [], [], [], []
    several = len({found.batch_size for found in known}) < len(known)
    for index, found in enumerate(known):
        style = look(index)
        tried = sorted(
            (shape.micro_batch_size, shape.peak_bytes / size_of)
            for shape in found.shapes
            if shape.peak_bytes
        )
        handles += axes.plot(
            *zip(*tried, strict=True), color=style.colour, ls=style.line, marker=style.marker
        )
        plan = state.plans.get(found.trial)
        for size, peak in tried:
            if plan is not None and plan.micro_batch_size == size:
                axes.plot([size], [peak], marker="o", ms=10, mfc="none", mec=INK, ls="none")
        whose = state.configurations[state.trials[found.trial].configuration].label
        labels.append(whose if several else f"{found.batch_size:,}")
        sizes += [size for size, _ in tried]
        peaks += [peak for _, peak in tried]
    sizes_along(axes, sizes, "micro-batch size")
    limits = sorted({found.limit_bytes for found in known})
    near = [limit for limit in limits if limit < NEAR * size_of * max(peaks)]
    for limit in near:
        axes.axhline(limit / size_of, color=FAINT, ls="--", lw=1.2)
    if is_wide([*peaks, *(limit / size_of for limit in near)]):
        log_axis(axes.yaxis)
    else:
        axes.set_ylim(0, 1.1 * max([*peaks, *(limit / size_of for limit in near)]))
    legend(figure, handles, labels)
    told = " to ".join(dict.fromkeys(shown_size(each) for each in (limits[0], limits[-1])))
    caption = (
        "The most bytes of live tensors in one step, data included, for each micro-batch size "
        "that was executed before the first step; a curve for each batch size. A ring marks the "
        f"size that was chosen. A worker may hold {told}"
        + (" (dashed)." if near else ", far above what is drawn.")
        + (f" {more} more not drawn." if more > 0 else "")
    )
    return Picture("memory", title, caption, figure)


def _unit(most: int) -> tuple[str, int]:
    """The unit in which so many bytes are read most easily, and its bytes."""
    for name, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if most >= size:
            return name, size
    return "KiB", 1 << 10
