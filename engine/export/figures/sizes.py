"""Draws the metrics of the registry that have a plot over the batch size, with intervals."""

from collections.abc import Iterator

import msgspec
from matplotlib.axes import Axes

from batchscope.engine.analysis.stack_times import NARROW, stack_mark, stack_note
from batchscope.engine.export.figures.common import (
    INTERVAL,
    Cast,
    Picture,
    along,
    beside,
    dots,
    is_wide,
)
from batchscope.engine.export.plot_style import INK, count_axis, legend, log_axis, new
from batchscope.engine.findings.configuration_summary import Mean, stack_of
from batchscope.engine.journal.headline import LOSS
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import Plot, Rounding, TrialMetric
from batchscope.engine.metrics.primary_metric import primary_metric
from batchscope.engine.metrics.registry import PLOTS, TRIAL
from batchscope.engine.metrics.task_metrics import task_trial_metrics

HEADROOM = 1.12
"""Room above the highest mean for its mark."""
RISING, FALLING = (5, -10), (5, 4)
"""The place of a mark relative to its point, in points: never on the line to the next one."""


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield a figure for each metric that two configurations have."""
    for metric in plotted(cast.state):
        known = cast.means(metric.name)
        if metric.plot and len(known) > 1:
            yield _picture(cast, metric, metric.plot, known)


def plotted(state: SweepState) -> list[TrialMetric]:
    """Return what is drawn: the metrics with a plot, those of tasks first."""
    own = {each.name: each for each in task_trial_metrics(state)}
    primary = primary_metric(state)
    shown = [each for each in own.values() if each.name.startswith(f"{primary.part}_")]
    if primary.name == LOSS:
        shown.append(TRIAL[primary.measure])
    return [*map(_with_plot, shown), *PLOTS]


def _with_plot(metric: TrialMetric) -> TrialMetric:
    """Return a metric with a plot of its own: where which direction is better is said."""
    title = f"Final {metric.title}"
    caption = f"{metric.title.capitalize()} at the end of the last epoch, mean over the finished"
    plot = Plot(
        name=metric.name,
        title=title,
        axis=f"{metric.title}, {metric.better} is better",
        caption=f"{caption} seeds.",
    )
    return msgspec.structs.replace(metric, plot=plot)


def _picture(cast: Cast, metric: TrialMetric, plot: Plot, means: dict[str, Mean]) -> Picture:
    figure, axes = new(plot.title, "batch size", plot.axis)
    factor = 100.0 if metric.is_accuracy else 1.0
    handles = dots(axes, cast, means, factor, cast.singles(metric.name))
    along(axes, cast, means)
    note, timed = cast.note, metric.stack == "time"
    if timed:
        note = _upwards(axes, means) + note
    elif metric.rounding is Rounding.ACCURACY:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -1.0), min(high, 101.0))  # an interval may reach beyond
    shared = {name: stack_of(cast.state, name) for name in means if timed}
    if cast.plain_sizes:
        _mark(axes, beside(cast, means), means, shared)
    else:  # rivals of one batch size are too close together for marks
        labels = [_label(cast, name, shared) for name, _ in beside(cast, means)]
        legend(figure, handles, labels)
    sentence = stack_note(list(shared.values()))
    note = f" {sentence}. {NARROW}{note}" if sentence else note
    missing = "" if timed else cast.missing(means)
    points = "seeds or stacks" if any(size > 1 for size in shared.values()) else "seeds"
    caption = (
        f"{plot.caption} {INTERVAL}; small points beside them are single {points}.{missing}{note}"
    )
    return Picture(plot.name, plot.title, caption, figure)


def _upwards(axes: Axes, means: dict[str, Mean]) -> str:
    """Make the y axis begin at 0, or logarithmic, with room for marks; return a remark on it."""
    highest = max(mean.mean for mean in means.values())
    wide = is_wide(mean.mean for mean in means.values())
    if wide:
        log_axis(axes.yaxis)
        axes.set_ylim(top=max(axes.get_ylim()[1], HEADROOM**2 * highest))
    else:
        axes.set_ylim(0, max(axes.get_ylim()[1], HEADROOM * highest))
        count_axis(axes.yaxis)
    below = any(mean.low is not None and mean.low <= 0 for mean in means.values())
    return " A whisker that reaches the bottom of the figure ends below 0." if below else ""


def _label(cast: Cast, name: str, shared: dict[str, int]) -> str:
    """Return a label for the legend, with the mark of a shared time."""
    return f"{cast.label(name)} {stack_mark(shared.get(name, 1))}".rstrip()


def _mark(
    axes: Axes,
    places: list[tuple[str, float]],
    means: dict[str, Mean],
    shared: dict[str, int],
) -> None:
    """Mark times that replicates of a stack share, placed away from the line."""
    for at, (name, x) in enumerate(places):
        following = places[at + 1][0] if at + 1 < len(places) else name
        axes.annotate(
            stack_mark(shared.get(name, 1)),
            (x, means[name].mean),
            xytext=RISING if means[following].mean > means[name].mean else FALLING,
            textcoords="offset points",
            fontsize=7.5,
            color=INK,
        )
