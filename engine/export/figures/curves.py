"""Accuracy and loss along the training, a curve for each configuration."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from engine.curves import Curve, curve
from engine.epoch_figures import Figure, Sum
from engine.export.drawing import BAND, count_axis, legend, log_axis, new
from engine.export.figures.common import Cast, Picture, is_wide
from engine.figures import Along

MOST_POINTS = 240
MARKED = 7
DRAWN: tuple[tuple[str, str, Figure], ...] = (
    ("accuracy", "test accuracy, %", Sum(test_accuracy=100.0)),
    ("loss", "test loss, nats", Sum(test_loss=1.0)),
)
WORDS = {"accuracy": "Accuracy", "loss": "Mean cross-entropy"}


def pictures(cast: Cast) -> Iterator[Picture]:
    """Nothing where no training has two epochs: a curve has two points at least."""
    along = _along(cast)
    for name, y, measure in DRAWN:
        found = {each: curve(cast.state, each, measure, along) for each in cast.names}
        known = {each: one for each, one in found.items() if len(one)}
        if any(len(one) > 1 for one in known.values()):
            yield _picture(cast, name, y, along, known)


def _along(cast: Cast) -> Along:
    """Epochs where all train for as many, else the images seen."""
    budgets = {cast.state.configurations[name].settings.train.epochs for name in cast.names}
    targets = any(
        cast.state.configurations[name].settings.train.target_accuracy is not None
        or cast.state.configurations[name].settings.train.target_loss is not None
        for name in cast.names
    )
    return "samples" if None in budgets or len(budgets) > 1 or targets else "epochs"


def _picture(cast: Cast, name: str, y: str, along: Along, found: dict[str, Curve]) -> Picture:
    title = f"Test {name} along the training"
    figure, axes = new(title, {"samples": "images seen"}.get(along, along), y)
    handles, thinned = [], False
    for each, one in found.items():
        style, rows = cast.look(each), _rows(len(one))
        thinned = thinned or len(rows) < len(one)
        x, mean, spread = one.x[rows], one.mean[rows], one.deviation[rows]
        every = max(1, len(rows) // MARKED)
        handles += axes.plot(
            x, mean, color=style.colour, ls=style.line, marker=style.marker, markevery=every
        )
        axes.fill_between(x, mean - spread, mean + spread, color=style.colour, alpha=BAND, lw=0)
    if along == "samples" and is_wide(float(one.x[-1]) for one in found.values()):
        log_axis(axes.xaxis)
    else:
        count_axis(axes.xaxis, whole=along == "epochs")
    cut = _look_closer(axes, name, list(found.values()))
    legend(figure, handles, [cast.label(each) for each in found])
    caption = (
        f"{WORDS[name]} on the test set at the end of each epoch: the mean over the seeds; "
        "the band is one sample deviation to each side."
        + (" What lies beyond the axis is the beginning of the training." if cut else "")
        + (f" Of longer curves {MOST_POINTS} epochs are drawn." if thinned else "")
        + cast.note
    )
    return Picture(f"{name}_curves", title, caption, figure)


def _rows(length: int) -> NDArray[np.int64]:
    """Which rows are drawn: all, or so many evenly, the last among them."""
    if length <= MOST_POINTS:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, MOST_POINTS).round().astype(np.int64))


def _look_closer(axes: Axes, name: str, curves: list[Curve]) -> bool:
    """Leave the steep beginning out of the axis where it would flatten all that follows."""
    whole = np.concatenate([one.mean for one in curves])
    later = np.concatenate([one.mean[len(one) // 10 :] for one in curves])
    low, high = float(later.min()), float(later.max())
    room = 0.05 * (high - low)
    if name == "accuracy" and low - float(whole.min()) > high - low > 0:
        axes.set_ylim(bottom=low - room, top=high + room)
        return True
    if name == "loss" and float(whole.max()) - high > high - low > 0:
        axes.set_ylim(bottom=low - room, top=high + room)
        return True
    return False
