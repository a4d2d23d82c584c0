"""Draws accuracy and loss during the training, a curve for each configuration."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from batchscope.engine.analysis.curves import Curve, curve
from batchscope.engine.analysis.figures import Along
from batchscope.engine.export.figures.common import Cast, Picture, is_wide
from batchscope.engine.export.plot_style import BAND, count_axis, legend, log_axis, new
from batchscope.engine.findings.comparison_sides import listed
from batchscope.engine.findings.configuration_summary import collapse_texts
from batchscope.engine.metrics.epoch_arrays import Floats
from batchscope.engine.metrics.epoch_metrics import Sum
from batchscope.engine.metrics.registry import EPOCH

MOST_POINTS = 240
MARKED = 7
DRAWN = {"accuracy": EPOCH["test_accuracy"], "loss": EPOCH["test_loss"]}
BOUNDS = {"accuracy": (0.0, 100.0), "loss": (0.0, np.inf)}
ENDS = {"accuracy": "0 and 100 %", "loss": "0"}
WIDE = 1000.0
"""Losses that span more than this factor get a logarithmic axis."""
WORDS = {"accuracy": "Accuracy", "loss": "Mean cross-entropy"}


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield the figures, if a training has two epochs: a curve needs two points."""
    along = _along(cast)
    for name, metric in DRAWN.items():
        measure = Sum(**{metric.name: 100.0 if metric.is_accuracy else 1.0})
        curves = {each: curve(cast.state, each, measure, along) for each in cast.names}
        known = {each: one for each, one in curves.items() if len(one)}
        if any(len(one) > 1 for one in known.values()):
            yield _picture(cast, name, along, known)


def _along(cast: Cast) -> Along:
    """Return epochs if all train for the same number, else the images seen."""
    budgets = {cast.state.configurations[name].settings.train.epochs for name in cast.names}
    targets = any(
        cast.state.configurations[name].settings.train.target_accuracy is not None
        or cast.state.configurations[name].settings.train.target_loss is not None
        for name in cast.names
    )
    return "samples" if None in budgets or len(budgets) > 1 or targets else "epochs"


def _picture(cast: Cast, name: str, along: Along, curves: dict[str, Curve]) -> Picture:
    metric = DRAWN[name]
    y = f"{metric.title}, {'%' if metric.is_accuracy else metric.unit}"
    title = f"Test {name} during the training"
    figure, axes = new(title, {"samples": "images seen"}.get(along, along), y)
    handles, thinned, clipped = [], False, False
    least, most = BOUNDS[name]
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
    wide = name == "loss" and _wide(axes, shown)
    cut = not wide and _look_closer(axes, name, shown)
    legend(figure, handles, [cast.label(each) for each in curves])
    caption = (
        f"{WORDS[name]} on the test set at the end of each epoch: the mean over the seeds; "
        "the band is one standard deviation to each side"
        + (f", cut off at {ENDS[name]}." if clipped else ".")
        + (" The beginning of the training is outside the axis." if cut else "")
        + (f" At most {MOST_POINTS} epochs of a curve are drawn." if thinned else "")
        + _missing(cast, curves)
        + cast.note
    )
    return Picture(f"{name}_curves", title, caption, figure)


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


def _look_closer(axes: Axes, name: str, curves: list[Curve]) -> bool:
    """Crop the steep beginning from the y axis if it would flatten the rest of the curve.

    Only the first tenth may be outside; the rest is inside, with its bands.
    """
    least, most = BOUNDS[name]
    whole = np.concatenate([one.mean for one in curves])
    bands = [_band(one, slice(len(one) // 10, None)) for one in curves]
    low = max(least, min(float(each.min()) for each, _ in bands))
    high = min(most, max(float(each.max()) for _, each in bands))
    rises = DRAWN[name].better == "higher"  # so that its beginning is below
    beyond = low - float(whole.min()) if rises else float(whole.max()) - high
    if not beyond > high - low > 0:
        return False
    room = 0.05 * (high - low)
    axes.set_ylim(bottom=low - room, top=high + room)
    return True
