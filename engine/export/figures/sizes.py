"""One figure of each configuration over the batch size, with its interval over the seeds."""

from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.axes import Axes

from engine.export.drawing import INK, count_axis, legend, log_axis, new
from engine.export.figures.common import INTERVAL, Cast, Picture, along, beside, dots, is_wide
from engine.findings.summary import Mean
from engine.shared_times import NARROW, stack_mark, stack_note, stacked


class Drawn(NamedTuple):
    """A measure, its files' name, title and axis, what it is, and what it is multiplied with."""

    measure: str
    name: str
    title: str
    axis: str
    what: str
    factor: float = 1.0
    timed: bool = False


DRAWN = (
    Drawn(
        *("test_accuracy", "test_accuracy", "Final test accuracy", "test accuracy, %"),
        "Accuracy on the test set at the end of the last epoch, mean over the finished seeds.",
        100.0,
    ),
    Drawn(
        *("generalization_gap", "generalization_gap", "Generalization gap", "gap, points"),
        "Accuracy on the training images less that on the test set, at the end, mean over the "
        "finished seeds.",
        100.0,
    ),
    Drawn(
        *("epoch_seconds", "epoch_time", "Time of an epoch", "seconds"),
        "Median time of training an epoch, evaluation left out, mean over the finished seeds.",
        timed=True,
    ),
    Drawn(
        *("samples_per_second", "samples_per_second", "Pace", "samples a second"),
        "Images trained on a second, median over the epochs, mean over the finished seeds.",
        timed=True,
    ),
)


def pictures(cast: Cast) -> Iterator[Picture]:
    """Those of which two configurations have a value."""
    for drawn in DRAWN:
        known = cast.means(drawn.measure)
        if len(known) > 1:
            yield _picture(cast, drawn, known)


def _picture(cast: Cast, drawn: Drawn, means: dict[str, Mean]) -> Picture:
    figure, axes = new(drawn.title, "batch size", drawn.axis)
    handles = dots(axes, cast, means, drawn.factor)
    along(axes, cast, means)
    if drawn.timed and is_wide(mean.mean for mean in means.values()):
        log_axis(axes.yaxis)
    elif drawn.timed:
        axes.set_ylim(bottom=0)
        count_axis(axes.yaxis)
    elif drawn.measure == "test_accuracy":
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -1.0), min(high, 101.0))  # an interval may reach beyond
    note = _marked(cast, axes, means) if drawn.timed else ""
    if not cast.plain_sizes:
        legend(figure, handles, [cast.label(name) for name, _ in beside(cast, means)])
    caption = f"{drawn.what} {INTERVAL}.{note}{cast.note}"
    return Picture(drawn.name, drawn.title, caption, figure)


def _marked(cast: Cast, axes: Axes, means: dict[str, Mean]) -> str:
    """Mark the times that replicates share, and say what the marks mean."""
    shared = {name: stacked(cast.state.replicates(name)) for name in means}
    for name, x in beside(cast, means):
        axes.annotate(
            stack_mark(shared[name]),
            (x, means[name].mean),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=7.5,
            color=INK,
        )
    note = stack_note(list(shared.values()))
    return f" {note}. {NARROW}" if note else ""
