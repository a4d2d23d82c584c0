"""Draws accuracy, loss and a task's metrics during the training: a curve for each configuration."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from batchscope.engine.analysis.curves import Curve, curve
from batchscope.engine.analysis.figures import Along
from batchscope.engine.export.figures.common import Cast, Picture, is_wide
from batchscope.engine.export.plot_style import BAND, count_axis, legend, log_axis, new
from batchscope.engine.findings.comparison_sides import listed
from batchscope.engine.findings.configuration_summary import collapse_texts
from batchscope.engine.journal.headline import LOSS
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.epoch_arrays import Floats
from batchscope.engine.metrics.epoch_metrics import Figure, Sum
from batchscope.engine.metrics.primary_metric import PrimaryMetric, primary_metric
from batchscope.engine.metrics.registry import EPOCH
from batchscope.engine.metrics.task_metrics import Named

MOST_POINTS = 240
MARKED = 7
WIDE = 1000.0
"""Losses that span more than this factor get a logarithmic axis."""
SETS = {"test": "test set", "validation": "validation samples", "train": "training samples"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A metric that is drawn.

    Attributes:
        name: its name in those of files.
        title: its name with the data that it is measured on.
        axis: the label of the y axis.
        sentence: begins the caption.
        measure: its value in an epoch.
        rises: whether higher is better.
        bounds: between which values it can be.
        ends: the bounds, in words.
    """

    name: str
    title: str
    axis: str
    sentence: str
    measure: Figure
    rises: bool
    bounds: tuple[float, float] = (-np.inf, np.inf)
    ends: str = ""


ACCURACY_CURVES = Drawn(
    name="accuracy",
    title="Test accuracy",
    axis=f"{EPOCH['test_accuracy'].title}, %",
    sentence="Accuracy on the test set",
    measure=Sum(test_accuracy=100.0),
    rises=True,
    bounds=(0.0, 100.0),
    ends="0 and 100 %",
)
LOSS_CURVES = Drawn(
    name="loss",
    title="Test loss",
    axis=f"{EPOCH['test_loss'].title}, {EPOCH['test_loss'].unit}",
    sentence="Mean cross-entropy on the test set",
    measure=Sum(test_loss=1.0),
    rises=False,
    bounds=(0.0, np.inf),
    ends="0",
)


def drawn(state: SweepState) -> list[Drawn]:
    """Return what is drawn: accuracy and loss, or the metrics of tasks and their loss."""
    tasks = [each.settings.task for each in state.configurations.values()]
    if not tasks or None in tasks:
        return [ACCURACY_CURVES, LOSS_CURVES]
    primary = primary_metric(state)
    own = dict(pair for task in tasks if task and task.facts for pair in task.facts.metrics)
    own = {primary.name: primary.better, **own, LOSS: "lower"}
    return [_of_task(primary.of_task(name, better)) for name, better in own.items()]


def _of_task(metric: PrimaryMetric) -> Drawn:
    known = EPOCH.get(metric.measure)
    if metric.measure == "test_accuracy":
        return ACCURACY_CURVES
    factor = {metric.measure: 100.0 if metric.is_accuracy else 1.0}
    return Drawn(
        name=metric.name,
        title=metric.title.capitalize(),
        axis=", ".join(filter(None, (metric.title, metric.unit or f"{metric.better} is better"))),
        sentence=f"{metric.word.capitalize()} on the {SETS[metric.part]}",
        measure=Sum(**factor) if known else Named(metric.measure),
        rises=metric.better == "higher",
    )


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield the figures, if a training has two epochs: a curve needs two points."""
    along = _along(cast)
    for metric in drawn(cast.state):
        curves = {each: curve(cast.state, each, metric.measure, along) for each in cast.names}
        known = {each: one for each, one in curves.items() if len(one)}
        if any(len(one) > 1 for one in known.values()):
            yield _picture(cast, metric, along, known)


def _along(cast: Cast) -> Along:
    """Return epochs if all train for the same number, else the images seen."""
    budgets = {cast.state.configurations[name].settings.train.epochs for name in cast.names}
    targets = any(
        cast.state.configurations[name].settings.train.target_accuracy is not None
        or cast.state.configurations[name].settings.train.target_loss is not None
        for name in cast.names
    )
    return "samples" if None in budgets or len(budgets) > 1 or targets else "epochs"


def _picture(cast: Cast, metric: Drawn, along: Along, curves: dict[str, Curve]) -> Picture:
    title = f"{metric.title} during the training"
    seen = "images seen" if metric in (ACCURACY_CURVES, LOSS_CURVES) else "samples seen"
    figure, axes = new(title, {"samples": seen}.get(along, along), metric.axis)
    handles, thinned, clipped = [], False, False
    least, most = metric.bounds
    for each, one in curves.items():
        style, rows = cast.look(each), _rows(len(one))
        thinned = thinned or len(rows) < len(one)
        x, mean, (low, high) = one.x[rows], one.mean[rows], _band(one, rows)
        clipped = clipped or bool((low < least).any() or (high > most).any())
        every = max(1, len(rows) // MARKED)
        handles += axes.plot(
            x, mean, color=style.colour, ls=style.line, marker=style.marker, markevery=every
        )
        band = np.clip(low, least, None), np.clip(high, None, most)
        axes.fill_between(x, *band, color=style.colour, alpha=BAND, lw=0)
    if along == "samples" and is_wide(float(one.x[-1]) for one in curves.values()):
        log_axis(axes.xaxis)
    else:
        count_axis(axes.xaxis, whole=along == "epochs")
    shown = list(curves.values())
    wide = metric.name == LOSS and _wide(axes, shown)
    cut = not wide and _look_closer(axes, metric, shown)
    legend(figure, handles, [cast.label(each) for each in curves])
    caption = (
        f"{metric.sentence} at the end of each epoch: the mean over the seeds; "
        "the band is one standard deviation to each side"
        + (f", cut off at {metric.ends}." if clipped else ".")
        + (" The beginning of the training is outside the axis." if cut else "")
        + (f" At most {MOST_POINTS} epochs of a curve are drawn." if thinned else "")
        + _missing(cast, curves)
        + cast.note
    )
    return Picture(f"{metric.name}_curves", title, caption, figure)


def _missing(cast: Cast, curves: dict[str, Curve]) -> str:
    """Return which curves end with fewer seeds than they have, and which seeds collapsed."""
    seeds = {name: len(cast.state.replicates(name)) for name in curves}
    fewer = [
        f"{cast.label(name)}: {one.n[-1]} of {seeds[name]} seeds"
        for name, one in curves.items()
        if one.n[-1] < seeds[name]
    ]
    ends = f" Each mean is over the seeds that got so far; at the end {listed(fewer)}."
    fell = collapse_texts(cast.state, curves)
    return (ends if fewer else "") + (f" {listed(fell)}." if fell else "")


def _rows(length: int) -> NDArray[np.int64]:
    """Return the rows to draw: all, or some evenly spaced, with the last."""
    if length <= MOST_POINTS:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, MOST_POINTS).round().astype(np.int64))


def _band(one: Curve, rows: NDArray[np.int64] | slice) -> tuple[Floats, Floats]:
    """Return mean ± one standard deviation; the mean itself where the deviation is unknown."""
    mean, spread = one.mean[rows], one.deviation[rows]
    spread = np.where(np.isfinite(spread), spread, 0.0)
    return mean - spread, mean + spread


def _wide(axes: Axes, curves: list[Curve]) -> bool:
    """Make the y axis logarithmic if one loss, as of a diverging seed, would flatten all others.

    The axis ends at the lowest mean, since a band that reaches 0 has no end there.
    """
    whole = np.concatenate([one.mean for one in curves])
    if not is_wide(whole.tolist(), WIDE):
        return False
    high = max(float(_band(one, slice(None))[1].max()) for one in curves)
    log_axis(axes.yaxis)
    axes.set_ylim(float(whole[whole > 0].min()) / 1.5, high * 1.5)
    return True


def _look_closer(axes: Axes, metric: Drawn, curves: list[Curve]) -> bool:
    """Crop the steep beginning from the y axis if it would flatten the rest of the curve.

    Only the first tenth may be outside; the rest is inside, with its bands.
    """
    least, most = metric.bounds
    whole = np.concatenate([one.mean for one in curves])
    bands = [_band(one, slice(len(one) // 10, None)) for one in curves]
    low = max(least, min(float(each.min()) for each, _ in bands))
    high = min(most, max(float(each.max()) for _, each in bands))
    # a metric that rises begins below
    beyond = low - float(whole.min()) if metric.rises else float(whole.max()) - high
    if not beyond > high - low > 0:
        return False
    room = 0.05 * (high - low)
    axes.set_ylim(bottom=low - room, top=high + room)
    return True
