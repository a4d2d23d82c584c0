"""Draws the test error of each configuration as bias and net variance."""

import math
from collections.abc import Iterator

from batchscope.engine.analysis.bias_variance import BiasVariance
from batchscope.engine.export.figures.common import Cast, Picture
from batchscope.engine.export.plot_style import legend, new, plain, series_style
from batchscope.engine.metrics.bias_variance import ErrorDecomposition

PARTS = (("error", "error"), ("bias", "bias"), ("net_variance", "net variance"))


def pictures(cast: Cast) -> Iterator[Picture]:
    """Yield the figure, if a claim is about a part of the error."""
    rows = [each for each in cast.findings.bias_variance if each.configuration in cast.names]
    if not rows or not any(
        claim.measure in ErrorDecomposition._fields for claim in cast.findings.claims
    ):
        return
    title = "Bias and variance"
    figure, axes = new(title, "% of the test images", "", 1.5 + 0.34 * len(rows))
    handles = []
    for index, (part, _) in enumerate(PARTS):
        style = series_style(index)
        handles.append(
            axes.errorbar(
                [100 * getattr(row, part) for row in rows],
                [at + 0.2 * (index - 1) for at in range(len(rows))],
                xerr=[_error(row, part) for row in rows],
                color=style.colour, marker=style.marker, ls="none",
            ).lines[0]
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [plain(cast.label(row.configuration), 30) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    legend(figure, handles, [name for _, name in PARTS])
    caption = (
        "Bias: share of the test images that most seeds predict wrongly; net variance: the error "
        "that is added where seeds differ from the majority (Domingos 2000), so that error = bias "
        "+ net variance. Whiskers are one standard error to each side, by the jackknife over the "
        "seeds; with three seeds only the error has them." + cast.note
    )
    yield Picture("bias_variance", title, caption, figure)


def _error(row: BiasVariance, part: str) -> float:
    """Return the length of a whisker; NaN where there is none."""
    error = getattr(row, f"{part}_se")
    return math.nan if error is None else 100 * error
