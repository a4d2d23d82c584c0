"""Gradient norms: one histogram a batch size over one logarithmic axis, early against late."""

from collections.abc import Sequence

from engine.bins import BINS_PER_DECADE, EDGES, LOWEST, Norms
from engine.figures import norms
from tui.axis import Axis, ticks
from tui.panes.pane import Pane
from tui.panes.waiting import awaited
from tui.raster import blocks, resample
from tui.rows import Row, cell, row
from tui.units import number

EARLY, LATE = (0.0, 0.2), (0.8, 1.0)
LABEL_MOST = 14
FIGURES, FIGURES_APART = 19, 24
Pair = tuple[Norms, Norms, bool]  # early, late, and whether late has begun


class GradientsPane(Pane):
    """How long the steps' gradients are, at the beginning and at the end."""

    NUMBER, TITLE, TAB = 4, "gradient norm", "gradients"
    TOPICS = ("epochs", "trials", "data")

    def caption(self, width: int) -> Row:
        """What is drawn how."""
        if width < 50:
            return row(("early ░ late █", "dim"))
        return row(("early ░ first, late █ last fifth, … so far", "dim"))

    def wanted_rows(self) -> int:
        """One a configuration, and the axis."""
        return len(self.view.order) + 1

    def body(self, width: int, height: int) -> Sequence[Row]:
        """The histograms; early and late one above the other where there is room."""
        found = {name: self._norms(name) for name in self.view.order}
        found = {name: pair for name, pair in found.items() if pair[0].bins or pair[1].bins}
        if not found:
            return awaited(self.view, "no epoch has ended yet", width, height)
        low, high = _span(list(found.values()))
        label_width = self.view.label_width(LABEL_MOST)
        left = label_width + 3
        apart = height >= 3 * len(found) + 1
        columns = width - left - (FIGURES_APART if apart else FIGURES)
        if columns < 4:
            columns = max(1, width - left)
        lines: list[Row] = []
        for name, pair in found.items():
            mark = self.view.marks[name]
            head = mark.head(label_width)
            early, late = (resample(part.bins, low, high, columns) for part in pair[:2])
            if apart:
                lines.append(row(*head, (blocks(early), "dim"), *_figures(pair[0], "early")))
                head = row(" " * left)
                lines.append(
                    row(
                        *head,
                        (blocks(late), mark.style),
                        *_figures(pair[1], "late" if pair[2] else "so far"),
                    )
                )
                lines.append(())
            else:
                lines.append(
                    (
                        *head,
                        *_overlaid(early, late, mark.style),
                        *_figures(pair[1], "" if pair[2] else "…"),
                    )
                )
        return [*lines, row((" " * left + _axis(low, high, columns), "dim"))]

    def _norms(self, name: str) -> Pair:
        """Norms of the first and of the last fifth; until the last begins, all after the first."""
        state = self.view.state

        def measured() -> Pair:
            late = norms(state, name, *LATE)
            early, begun = norms(state, name, *EARLY), late.count > 0
            return early, late if begun else norms(state, name, EARLY[1]), begun

        return self.view.once(("norms", name), self.view.reached(name), measured)


def _overlaid(early: list[float], late: list[float], style: str) -> Row:
    """Late as blocks; where only early norms fell, a shade."""
    runs: list[tuple[str, str]] = []
    for block, before in zip(blocks(late), early, strict=True):
        only_early = block == " " and before > 0
        runs.append(("░", "dim") if only_early else (block, style))
    return tuple(runs)


def _figures(part: Norms, which: str) -> Row:
    """Mean and coefficient of variation, and how many norms were no numbers."""
    broken = f" {part.broken:,} not finite" if part.broken else ""
    return row(
        (" μ ", "dim"),
        cell(number(part.mean), 6, right=True),
        (" cv ", "dim"),
        cell(number(part.cv), 4, right=True),
        (f" {which}" if which else "", "dim"),
        (broken, "bad"),
    )


def _span(pairs: list[Pair]) -> tuple[float, float]:
    """The bins from the smallest norm to the largest, in bins, a little room at either side."""
    inside = [i for pair in pairs for part in pair[:2] for i in part.bins if 0 < i < len(EDGES) - 2]
    if not inside:
        return 1.0, float(len(EDGES) - 2)
    return float(min(inside)) - 1, float(max(inside)) + 2


def _axis(low: float, high: float, columns: int) -> str:
    """Round norms below the columns that they fall on."""
    axis = Axis(_norm_at(low), _norm_at(high), log=True)
    line = [" "] * columns
    free = 0
    for value, name in ticks(axis, max(2, columns // 7)):
        at = int((axis.share(value) or 0.0) * columns)
        text = "╵" + name
        if at >= free and at + len(text) <= columns:
            line[at : at + len(text)] = text
            free = at + len(text) + 1
    return "".join(line)


def _norm_at(index: float) -> float:
    """The norm at which a bin begins."""
    return float(10.0 ** ((index - 1) / BINS_PER_DECADE + LOWEST))
