"""The legend next to the curves: the final value of each, or its value at the cursor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchscope.engine.analysis.figures import last_values, mean_and_deviation
from batchscope.engine.metrics.log_fit import LogFit
from batchscope.tui.panes.curves.options import Lens
from batchscope.tui.panes.curves.series import CurveSource, measured
from batchscope.tui.render.styled_text import Row, clip, dimmed, row, width_of
from batchscope.tui.render.units import deviation, figure, places, significant
from batchscope.tui.viewmodel.focus import Entry
from batchscope.tui.viewmodel.quantities import ERROR
from batchscope.tui.viewmodel.view import View

LABEL_MOST, LABEL_NARROW = 14, 6
ROOMY_FROM = 70
FIGURES = 19
PARTS = {"test": "test", "validation": "valid.", "train": "train"}
"""The data of the solid curves, in six cells."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of a configuration: its mean and spread over `n` of `seeds`.

    `n` is 0 if it is not final yet; `train` is the value of the train curve; `past` says that the
    curve ends before the cursor.
    """

    mean: float
    spread: float | None
    n: int
    seeds: int
    epoch: int = 0
    train: float | None = None
    past: bool = False


@dataclass(frozen=True, slots=True)
class LegendLine:
    """A line of the legend, and the configuration that it stands for, if any."""

    line: Row
    entry: Entry | None = None


def legend(
    view: View,
    sources: Sequence[CurveSource],
    lens: Lens,
    fits: dict[str, LogFit],
    width: int,
) -> list[LegendLine]:
    """Return a heading, and a line for each configuration of each sweep, hidden ones dim."""
    readings = {
        (source.key, name): reading_of(view, source, name, lens)
        for source in sources
        for name in source.order
    }
    most = _label_width(sources, LABEL_MOST if width >= ROOMY_FROM else LABEL_NARROW)
    decimals = 4 if lens.quantity.share else places(each.mean for each in readings.values() if each)
    lines = [LegendLine(_head(lens, most))]
    for source in sources:
        if source.title:
            named = row(("╍ ", "dim"), (source.title, "strong"))
            lines += [LegendLine(clip(named, most + 3 + FIGURES))]
        for name in source.order:
            reading = readings[source.key, name]
            said = _nothing()
            if not source.title and name in fits:
                said = _fit(fits[name])
            elif reading and not lens.fitted:
                said = _figures(reading, decimals, lens)
            mark = source.marks[name]
            line = row(*mark.head(most), *said)
            if view.focus.hides(name, source.key):
                line = dimmed(row(*mark.off.head(most), *said))
            lines.append(LegendLine(line, (source.key, name)))
    return lines


def fitted(
    lines: Sequence[LegendLine],
    hidden: frozenset[Entry],
    selected: Entry | None,
    top: int,
    height: int,
) -> tuple[list[LegendLine], int]:
    """Return the lines that have room below the heading, and the number of the first of them.

    The selected line is always among them. If some configurations are hidden and the others have
    room, all others are, with hidden ones around the selected one. The last line counts the rest.

    Args:
        lines: the legend, its heading first.
        top: the number of the first line that was shown below the heading.
        height: the rows for all of it.
    """
    if len(lines) <= height:
        return [*lines], 1
    room = max(1, height - 2)
    at = next((i for i, each in enumerate(lines) if selected and each.entry == selected), None)
    shown = [i for i, each in enumerate(lines) if i and each.entry not in hidden]
    kept = sorted({*shown, *([at] if at is not None else [])})
    if hidden and len(kept) <= room:
        rest = sorted({*range(1, len(lines))} - {*kept}, key=lambda i: (abs(i - (at or 1)), i))
        kept = sorted([*kept, *rest[: room - len(kept)]])
        top, count = 1, f"… {len(lines) - 1 - len(kept)} more"
    else:
        top = max(1, min(top, len(lines) - room))
        if at is not None:
            top = max(min(top, at), at - room + 1)
        kept = [*range(top, top + room)]
        below = len(lines) - top - room
        above = f"↑ {top - 1}  ↓ {below}" if below else f"↑ {top - 1}"
        count = f"… {below} more" if top == 1 else f"{above} more"
    return [lines[0], *(lines[i] for i in kept), LegendLine(row((count, "dim")))], top


def _label_width(sources: Sequence[CurveSource], most: int) -> int:
    labels = [source.marks[name].label for source in sources for name in source.order]
    return min(max(map(len, labels), default=1), most)


def _head(lens: Lens, most: int) -> Row:
    """Return the heading of the column of values, placed over it where the labels leave room."""
    of: str = lens.quantity.part if lens.quantity.train else ""
    of += " error" * (lens.quantity is ERROR)
    if lens.fitted:
        text = "d = a + b·ln steps"
    elif lens.cursor is None:
        text = f"final {of}"
    elif lens.twins:
        text = f"{PARTS[lens.quantity.part]:<6} {'train':<6}"
    else:
        text = f"measured {of}"
    lead = " " * (most + 3 if lens.cursor is not None and lens.twins else 2)
    return row(((lead + text).ljust(most + 24)[: most + 3 + FIGURES], "dim"))


def reading_of(view: View, source: CurveSource, name: str, lens: Lens) -> Reading | None:
    """Return the value of a configuration: at the cursor, else at the end."""
    trials = source.state.replicates(name)
    if lens.cursor is not None:
        return _read(view, source, name, lens, len(trials))
    finals = last_values(source.state, name, lens.quantity.test)
    if finals:
        return Reading(*mean_and_deviation(finals), len(finals), len(trials))
    curve = measured(view, source, name, False, lens)
    if not len(curve):
        return None
    reached = max(trial.last.epoch for trial in trials if trial.last)
    return Reading(float(curve.mean[-1]), None, 0, len(trials), reached)


def _read(view: View, source: CurveSource, name: str, lens: Lens, seeds: int) -> Reading | None:
    """Return the value that was measured last at the cursor or before it."""
    assert lens.cursor is not None
    curve = measured(view, source, name, False, lens)
    at = curve.row_at(lens.cursor)
    if at is None:
        return None
    twin = None
    if lens.twins and not source.title:
        other = measured(view, source, name, True, lens)
        same = other.row_at(lens.cursor)
        twin = float(other.mean[same]) if same is not None else None
    spread = float(curve.deviation[at])
    n = int(curve.n[at])
    past = lens.cursor > float(curve.x.max())
    known = None if math.isnan(spread) else spread
    return Reading(float(curve.mean[at]), known, n, seeds, train=twin, past=past)


def _figures(reading: Reading, decimals: int | None, lens: Lens) -> Row:
    mean = f"{figure(reading.mean, decimals):<6}"
    if not reading.n:
        return row((f"{mean} epoch {reading.epoch:<6}", "dim"))
    beside = deviation(reading.spread, decimals) if reading.spread is not None else ""
    if lens.cursor is not None and lens.twins:
        beside = figure(reading.train, decimals) if reading.train is not None else ""
    some = f"{reading.n}/{reading.seeds}" if reading.n < reading.seeds else f"n={reading.n}"
    styles = ("dim", "dim") if reading.past else ("strong", "")
    return row((mean, styles[0]), (f" {beside:<6} ", styles[1]), (f"{some:<5}", "dim"))


def _nothing() -> Row:
    return row(("–".ljust(FIGURES), "dim"))


def _fit(fit: LogFit) -> Row:
    slope = f"b {significant(fit.slope)}"
    return row((f"{slope:<8}", "strong"), f" R² {fit.r2:<7.4f}")


def width_beside(lines: Sequence[LegendLine]) -> int:
    """Return the width of a legend in cells, with the gap before it."""
    return max((width_of(each.line) for each in lines), default=-2) + 2
