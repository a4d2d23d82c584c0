"""Draws the sharpness of the minima, and the loss on the line between two of them."""

from collections.abc import Iterator

from batchscope.engine.analysis.interpolation_lines import curve
from batchscope.engine.export.figures.common import INTERVAL, Cast, Picture, along, dots, is_wide
from batchscope.engine.export.plot_style import (
    BAND,
    FAINT,
    legend,
    log_axis,
    new,
    plain,
    series_style,
)
from batchscope.engine.journal.sweep_state import SweepState

SHARP = (
    "100 (highest loss − loss) ÷ (1 + loss), where the highest loss is searched in a box around "
    "the final weights; its half-width is the first in sharpness.epsilon (Keskar et al. 2016). "
    "Mean over the finished seeds."
)


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield each figure, if it was measured."""
    known = cast.means("sharpness")
    if known:
        title = "Sharpness"
        figure, axes = new(title, "batch size", "sharpness, %")
        handles = dots(axes, cast, known, singles=cast.singles("sharpness"))
        along(axes, cast, known)
        if is_wide(mean.mean for mean in known.values()):
            log_axis(axes.yaxis)
        if not cast.plain_sizes:
            legend(figure, handles, [cast.label(name) for name in cast.names if name in known])
        points = f"small points beside them are single seeds.{cast.missing(known)}"
        yield Picture("sharpness", title, f"{SHARP} {INTERVAL}; {points}{cast.note}", figure)
    if cast.state.lines and any(line.points for line in cast.state.lines.values()):
        yield _line(cast.state, "loss", "mean cross-entropy, nats", 1.0)
        yield _line(cast.state, "accuracy", "accuracy, %", 100.0)


def _line(state: SweepState, what: str, axis: str, factor: float) -> Picture:
    title = f"{what.capitalize()} between two solutions"
    figure, axes = new(title, "α", axis)
    handles, every = [], []
    for index, images in enumerate(("train", "test")):
        style, points = series_style(index), curve(state, f"{images}_{what}")
        x, mean = [one.alpha for one in points], [one.mean * factor for one in points]
        band = [(one.deviation or 0.0) * factor for one in points]
        handles += axes.plot(x, mean, color=style.colour, ls=style.line, marker=style.marker, ms=3)
        low = [a - b for a, b in zip(mean, band, strict=True)]
        high = [a + b for a, b in zip(mean, band, strict=True)]
        axes.fill_between(x, low, high, color=style.colour, alpha=BAND, lw=0)
        every += mean
    if what == "loss" and is_wide(every):
        log_axis(axes.yaxis)
    for end in (0.0, 1.0):
        axes.axvline(end, color=FAINT, ls=":", lw=1.1)
    legend(figure, handles, ["training images", "test images"])
    asked = state.opened.interpolation if state.opened else None
    ends = [
        plain(state.configurations[name].label)
        for name in ((asked.start, asked.end) if asked else ())
    ]
    caption = (
        f"At the weights (1 − α) w₀ + α w₁, from {' (α = 0) to '.join(ends)} (α = 1): the mean "
        "over the seeds; the band is one standard deviation to each side (Goodfellow et al. 2015)."
    )
    return Picture(f"interpolation_{what}", title, caption, figure)
