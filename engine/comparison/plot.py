"""Draws a comparison: the difference B − A in the metric that is compared, with intervals."""

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from batchscope.engine.comparison.comparison import ComparedMetric, Comparison, Row
from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.export.plot_style import (
    FAINT,
    WIDTH,
    new,
    plain,
    png_of,
    series_style,
    styled,
    svg_of,
)
from batchscope.engine.system.files import replace_file

KEY = "difference"
MOST_ROWS = 40
LABEL = 40
CROWDED = 6
"""Names longer than this many characters get a line each."""
COLUMN, ROW, MARGIN, WIDE = 0.4, 0.26, 1.5, 7.0
"""Inches: a configuration along x, one along y, the margin, and the width with long names."""


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure as SVG or PNG, by the suffix of the file.

    Raises:
        MachineProblem: the file cannot be written; an existing file is not changed.
    """
    content = drawn(comparison, path.suffix.lower().removeprefix("."))
    try:
        replace_file(path, content)
    except OSError as error:
        raise MachineProblem(f"--figure {printable(path)}: {error.strerror or error}") from None


def drawn(comparison: Comparison, kind: str) -> bytes:
    """Return the figure as the bytes of a file of that kind, "svg" or "png"."""
    rows = _known(comparison)[:MOST_ROWS]
    with styled(KEY):
        named = any(len(row.label) > CROWDED for row in rows)
        metric = comparison.primary_metric
        figure, axes = _down(rows, metric) if named else _along(rows, metric)
        axes.set_title(title(comparison), fontsize=9, fontweight="normal")
        if kind == "svg":
            return svg_of(figure, f"difference of {plain(metric.title)}, B − A").encode()
        return png_of(figure)


def title(comparison: Comparison) -> str:
    """Return the title: the two sweeps, and how many of their configurations are drawn."""
    lines = [f"A: {printable(comparison.a.id)}", f"B: {printable(comparison.b.id)}"]
    if any(row.primary_metric.verdict == "not judged" for row in comparison.rows):
        what = "images" if comparison.primary_metric.is_accuracy else "data"
        lines.append(f"different test {what}: not judged")
    else:
        lines.append("95 % intervals over the seeds; filled: significant (Holm, 0.05)")
    if len(_known(comparison)) > MOST_ROWS:
        lines.append(f"the first {MOST_ROWS} of {len(_known(comparison))} configurations")
    return "\n".join(lines)


def _known(comparison: Comparison) -> list[Row]:
    return [row for row in comparison.rows if row.primary_metric.difference is not None]


def _axis(metric: ComparedMetric) -> str:
    """Return the label of the axis of differences."""
    if metric.is_accuracy:
        return f"{metric.title}, B − A (points)"
    return f"{plain(metric.title, LABEL)}, B − A ({metric.better} is better)"


def _along(rows: list[Row], metric: ComparedMetric) -> tuple[Figure, Axes]:
    """Draw the configurations along x, for short names."""
    figure, axes = new("", "batch size", _axis(metric))
    figure.set_figwidth(max(WIDTH, COLUMN * len(rows) + MARGIN))
    axes.axhline(0.0, color=FAINT, linewidth=0.8)
    scale = 100.0 if metric.is_accuracy else 1.0
    for at, row in enumerate(rows):
        low, high = (scale * end for end in _ends(row))
        axes.vlines(at, low, high, color=series_style(0).colour)
        axes.plot(at, scale * (row.primary_metric.difference or 0.0), **_point(row))
    axes.set_xticks(range(len(rows)), [plain(row.label) for row in rows])
    axes.set_xlim(-0.6, max(len(rows), 1) - 0.4)
    return figure, axes


def _down(rows: list[Row], metric: ComparedMetric) -> tuple[Figure, Axes]:
    """Draw a line for each configuration, for names too long to fit along x."""
    figure, axes = new("", _axis(metric), "", ROW * len(rows) + MARGIN)
    figure.set_figwidth(WIDE)
    axes.axvline(0.0, color=FAINT, linewidth=0.8)
    scale = 100.0 if metric.is_accuracy else 1.0
    for at, row in enumerate(rows):
        low, high = (scale * end for end in _ends(row))
        axes.hlines(at, low, high, color=series_style(0).colour)
        axes.plot(scale * (row.primary_metric.difference or 0.0), at, **_point(row))
    axes.set_yticks(range(len(rows)), [plain(row.label, LABEL) for row in rows])
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    return figure, axes


def _ends(row: Row) -> tuple[float, float]:
    """Return the interval; NaN, which is not drawn, if there is none."""
    of = row.primary_metric
    return (math.nan if of.low is None else of.low), (math.nan if of.high is None else of.high)


def _point(row: Row) -> dict[str, Any]:
    """Return the style of a point, filled if B differs significantly after adjustment."""
    colour = series_style(0).colour
    face = colour if row.primary_metric.verdict in ("higher", "lower") else "white"
    return {"marker": "o", "ms": 6, "markeredgecolor": colour, "markerfacecolor": face}
