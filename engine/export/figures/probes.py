"""Draws what the probe measured at frozen weights, and small steps against a large one."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from batchscope.engine.export.export_reader import ExportedFindings
from batchscope.engine.export.figures.common import INTERVAL, Picture, is_wide
from batchscope.engine.export.plot_style import (
    legend,
    log_axis,
    new,
    plain,
    series_style,
    sizes_along,
)
from batchscope.engine.findings.probe_summary import CompetitionSummary, DrawSummary

MOST = 12
ALONE, ROOM = 4.0, 0.25
"""The greatest ratio of neighbouring sizes, and the share of it over which series spread."""
DRAWS = (
    ("norm_mean", "Gradient norms at the same weights", "mean L2 norm", "Mean L2 norm"),
    ("norm_cv", "Spread of the norms", "deviation ÷ mean", "Coefficient of variation of the norms"),
    ("pairwise_cosine", "Agreement of gradients", "mean cosine", "Mean cosine between two"),
)
CONTESTS = (
    ("cosine", "Small steps and a large one: direction", "mean cosine", "Mean cosine between"),
    ("length_ratio", "Small steps and a large one: length", "ratio of lengths", "Length of"),
)


def pictures(document: ExportedFindings) -> Iterator[Picture]:
    """Yield each figure, if the probe measured it."""
    for key, title, axis, what in DRAWS:
        caption = f"{what} of the gradients of many batches of each size, at frozen weights."
        series = _series(document.findings.probes, key, "batch_size")
        if series:
            yield _picture(f"probe_{key}", title, "batch size drawn", axis, caption, series)
    for key, title, axis, what in CONTESTS:
        joint = "÷ that of" if key == "length_ratio" else "and"
        caption = (
            f"{what} the sum of successive small steps {joint} one large step, on the same "
            "samples from the same weights."
        )
        series = _series(document.findings.competitions, key, "large")
        if series:
            yield _picture(f"competition_{key}", title, "large batch size", axis, caption, series)


Series = dict[str, list[tuple[int, Any]]]


def _series(rows: Sequence[DrawSummary | CompetitionSummary], key: str, along: str) -> Series:
    """Return means by their place on the x axis, for each training and moment."""
    series: Series = {}
    several = len({row.configuration for row in rows}) > 1
    for row in rows:
        mean = getattr(row, key)
        if mean is not None:
            name = f"{plain(row.label, 22)} at" if several else "at"
            name += f" {100 * row.at_share:g} %"
            if isinstance(row, CompetitionSummary):
                name += f", steps of {row.small:,}"
            series.setdefault(name, []).append((getattr(row, along), mean))
    return series


def _aside(series: Series) -> list[float]:
    """Return a factor for the places of each series, so that whiskers do not overlap."""
    sizes = sorted({size for points in series.values() for size, _ in points})
    nearest = min((b / a for a, b in pairwise(sizes)), default=ALONE)
    room = min(nearest, ALONE) ** ROOM
    gaps = len(series) - 1
    return [float(room ** (at / gaps - 0.5)) for at in range(gaps + 1)] if gaps else [1.0]


def _picture(name: str, title: str, x: str, y: str, caption: str, series: Series) -> Picture:
    figure, axes = new(title, x, y)
    handles, sizes, reach, values = [], [], [], []
    drawn = dict(list(series.items())[:MOST])
    for index, (points, aside) in enumerate(zip(drawn.values(), _aside(drawn), strict=True)):
        style = series_style(index)
        ends = [
            [mean.mean - mean.low if mean.low is not None else 0.0 for _, mean in points],
            [mean.high - mean.mean if mean.high is not None else 0.0 for _, mean in points],
        ]
        at, means = [size * aside for size, _ in points], [mean.mean for _, mean in points]
        handles.append(
            axes.errorbar(
                at, means, yerr=ends, color=style.colour, marker=style.marker, ls=style.line
            ).lines[0]
        )
        sizes += [size for size, _ in points]
        reach += at
        values += means
    sizes_along(axes, sizes, x, reach)
    if is_wide(values) and min(values) > 0:
        log_axis(axes.yaxis)
    legend(figure, handles, list(drawn))
    rest = len(series) - len(drawn)
    more = f" {rest} more not drawn." if rest else ""
    sentence = "A curve for each training and share of its budget. "
    return Picture(name, title, f"{caption} {sentence}{INTERVAL}.{more}", figure)
