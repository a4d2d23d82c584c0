"""Draws steps against samples to the target, with the fitted hyperbola."""

import math
from collections.abc import Iterator

import numpy as np

from batchscope.engine.export.export_reader import ExportedFindings
from batchscope.engine.export.figures.common import Picture
from batchscope.engine.export.plot_style import FAINT, count_text, log_axis, new, series_style
from batchscope.engine.findings.critical_batch_size import Critical
from batchscope.engine.findings.critical_batch_text import critical_size_text as in_words


def pictures(document: ExportedFindings) -> Iterator[Picture]:
    """Yield the figure, if two batch sizes reached a target."""
    if document.critical_batch_size and len(document.critical_batch_size.sizes) > 1:
        yield _picture(document.critical_batch_size)


def _picture(critical: Critical) -> Picture:
    title = "Steps and samples to the target"
    figure, axes = new(title, "steps", "samples", 3.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    fitted = critical.value is not None and critical.steps_min and critical.samples_min
    if critical.value is not None and critical.steps_min and critical.samples_min:
        sizes = [size.samples / size.steps for size in critical.sizes]
        batch = np.geomspace(min(sizes) / 1.6, max(sizes) * 1.6, 120)
        steps = critical.steps_min * (1 + critical.value / batch)
        samples = critical.samples_min * (1 + batch / critical.value)
        axes.plot(steps, samples, color=FAINT, lw=1.3, zorder=1)
        axes.plot(
            [2 * critical.steps_min], [2 * critical.samples_min], marker="*", ms=13, ls="none",
            color=series_style(1).colour, zorder=2,
        )  # fmt: skip
    for size in critical.sizes:
        axes.plot([size.steps], [size.samples], marker="o", color=series_style(0).colour, zorder=3)
        below = size.samples < _on_curve(critical, size.steps)
        axes.annotate(
            count_text(size.batch_size),
            (size.steps, size.samples),
            xytext=(-6, -5) if below else (6, 5),
            textcoords="offset points",
            ha="right" if below else "left",
            va="top" if below else "bottom",
            fontsize=8,
        )
    axes.margins(0.1)
    for axis in (axes.xaxis, axes.yaxis):
        log_axis(axis)
    caption = (
        "Mean steps and samples to the target for each batch size (written at its point). "
        + (
            "The curve is (S/S_min − 1)(E/E_min − 1) = 1 (McCandlish et al. 2018), fitted to the "
            "logarithms of the steps; the star is the critical batch size, "
            f"{in_words(critical)}, with its interval of coverage 0.95."
            if fitted
            else "No curve is drawn: the critical batch size is " + in_words(critical) + "."
        )
    )
    return Picture("critical_batch_size", title, caption, figure)


def _on_curve(critical: Critical, steps: float) -> float:
    """Return the samples of the curve at some steps: labels are placed on the other side."""
    if not (critical.value and critical.steps_min and critical.samples_min):
        return 0.0
    beyond = steps / critical.steps_min - 1
    return critical.samples_min * (1 + 1 / beyond) if beyond > 0 else math.inf
