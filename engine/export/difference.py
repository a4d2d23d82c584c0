"""Draws a comparison: B − A of the test accuracy over the batch sizes, with intervals.

The same comparison gives the same bytes: no date, no random ids, no font but matplotlib's own.
"""

import io
from pathlib import Path
from typing import Any

from engine.comparing import Comparison, Row
from engine.problems import MachineProblem, printable

SIZE = (6.4, 4.0)
DPI = 150
INK, FAINT = "#1b3a57", "#8a8f98"
STYLE: Any = {
    "svg.hashsalt": "batchscope",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
MOST_ROWS = 40
LABEL = 24


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
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = _known(found)[:MOST_ROWS]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(SIZE[0], 0.45 * len(rows) + 1.5), SIZE[1]), dpi=DPI)
        axes = figure.add_subplot()
        axes.axhline(0.0, color=FAINT, linewidth=0.8)
        for at, row in enumerate(rows):
            _interval(axes, at, row)
        crowded = any(len(row.label) > 6 for row in rows)
        axes.set_xticks(
            range(len(rows)),
            [_short(row.label) for row in rows],
            rotation=30 if crowded else 0,
            ha="right" if crowded else "center",
        )
        axes.set_xlim(-0.6, max(len(rows), 1) - 0.4)
        axes.set_xlabel("batch size" if not crowded else "configuration")
        axes.set_ylabel("test accuracy, B − A (points)")
        axes.set_title(title(found), fontsize=9, loc="left")
        figure.tight_layout()
        file = io.BytesIO()
        nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, metadata=nothing)
    return file.getvalue()


def _known(found: Comparison) -> list[Row]:
    return [row for row in found.rows if row.test_accuracy.difference is not None]


def _interval(axes: Any, at: int, row: Row) -> None:
    """A point with its interval: filled where B is told apart, adjusted for their number."""
    of = row.test_accuracy
    assert of.difference is not None
    middle = of.difference * 100
    if of.low is not None and of.high is not None:
        axes.vlines(at, of.low * 100, of.high * 100, color=INK, linewidth=1.4)
    told = of.verdict in ("higher", "lower")
    face = INK if told else "white"
    axes.plot(at, middle, "o", markersize=6, markeredgecolor=INK, markerfacecolor=face)


def title(found: Comparison) -> str:
    """What is compared, and how much of it is drawn."""
    lines = [f"A: {printable(found.a.id)}", f"B: {printable(found.b.id)}"]
    if any(row.test_accuracy.verdict == "not judged" for row in found.rows):
        lines.append("on different images: not judged")
    else:
        lines.append("95 % intervals over the seeds; filled: told apart (Holm, 0.05)")
    if len(_known(found)) > MOST_ROWS:
        lines.append(f"the first {MOST_ROWS} of {len(_known(found))} configurations")
    return "\n".join(line.replace("$", r"\$") for line in lines)


def _short(label: str) -> str:
    text = printable(label).replace("$", r"\$")
    return text if len(text) <= LABEL else text[: LABEL - 1] + "…"
