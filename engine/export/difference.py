"""Draws a comparison: B − A of the test accuracy over the configurations, with intervals."""

from pathlib import Path

from matplotlib.axes import Axes

from engine.comparing import Comparison, Row
from engine.export.drawing import FAINT, WIDTH, look, new, plain, png_of, styled, svg_of
from engine.problems import MachineProblem, printable

KEY = "difference"
MOST_ROWS = 40
LABEL = 24
CROWDED = 6
"""Characters from which the names along the axis are turned."""
ROW, MARGIN = 0.4, 1.5
"""Inches of width for each configuration, and beside them."""


def draw(found: Comparison, path: Path) -> None:
    """Write the figure as what the file's name ends in: svg or png.

    Raises:
        MachineProblem: the disk refuses; a file that is there stays as it is.
    """
    content = drawn(found, path.suffix.lower().removeprefix("."))
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise MachineProblem(f"--figure {printable(path)}: {error.strerror or error}") from None


def drawn(found: Comparison, kind: str) -> bytes:
    """The figure as the bytes of a file of that kind."""
    rows = _known(found)[:MOST_ROWS]
    with styled(KEY):
        figure, axes = new("", "configuration", "test accuracy, B − A (points)")
        figure.set_figwidth(max(WIDTH, ROW * len(rows) + MARGIN))
        axes.axhline(0.0, color=FAINT, linewidth=0.8)
        for at, row in enumerate(rows):
            _interval(axes, at, row)
        _names(axes, [row.label for row in rows])
        axes.set_title(title(found), fontsize=9, fontweight="normal")
        if kind == "svg":
            return svg_of(figure, "difference of test accuracy, B − A").encode()
        return png_of(figure)


def title(found: Comparison) -> str:
    """What is compared, and how much of it is drawn."""
    lines = [f"A: {printable(found.a.id)}", f"B: {printable(found.b.id)}"]
    if any(row.test_accuracy.verdict == "not judged" for row in found.rows):
        lines.append("on different images: not judged")
    else:
        lines.append("95 % intervals over the seeds; filled: told apart (Holm, 0.05)")
    if len(_known(found)) > MOST_ROWS:
        lines.append(f"the first {MOST_ROWS} of {len(_known(found))} configurations")
    return "\n".join(lines)


def _known(found: Comparison) -> list[Row]:
    return [row for row in found.rows if row.test_accuracy.difference is not None]


def _interval(axes: Axes, at: int, row: Row) -> None:
    """A point with its interval: filled where B is told apart, adjusted for their number."""
    of, colour = row.test_accuracy, look(0).colour
    assert of.difference is not None
    if of.low is not None and of.high is not None:
        axes.vlines(at, of.low * 100, of.high * 100, color=colour)
    face = colour if of.verdict in ("higher", "lower") else "white"
    axes.plot(at, of.difference * 100, "o", ms=6, markeredgecolor=colour, markerfacecolor=face)


def _names(axes: Axes, labels: list[str]) -> None:
    crowded = any(len(label) > CROWDED for label in labels)
    axes.set_xticks(
        range(len(labels)),
        [plain(label, LABEL) for label in labels],
        rotation=30 if crowded else 0,
        ha="right" if crowded else "center",
    )
    axes.set_xlim(-0.6, max(len(labels), 1) - 0.4)
    if not crowded:
        axes.set_xlabel("batch size")
