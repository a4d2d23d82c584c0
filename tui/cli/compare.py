"""`batchscope compare`: prints how two sweeps differ, as tables with confidence intervals."""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from batchscope.engine.analysis.stack_times import stack_mark
from batchscope.engine.comparison.comparison import (
    Change,
    ComparedMetric,
    ComparedSweep,
    Comparison,
    Ratio,
    Row,
    compare,
)
from batchscope.engine.comparison.metric_difference import MetricDifference
from batchscope.engine.comparison.sources import opened
from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.formatting import shown_size
from batchscope.tui.cli.compared_figures import Written
from batchscope.tui.render.units import UNKNOWN, duration, significant
from batchscope.tui.terminal.output import say

PICTURES = (".svg", ".png")
NARROWEST, WIDEST, LABELS = 80, 120, 24
LEAST_ROOM = 10
"""Fewest cells in which an interval is drawn."""
LEAST_FIGURE = 7
MARKS = {"higher": "▲", "lower": "▼", "undetermined": " ", "not judged": " "}
COSTS = ("epoch time A → B", "B ÷ A", "peak memory A → B", "B ÷ A")
STEPS = ("steps to the target A → B", "B ÷ A")
BYTES = ("memory_bytes", "memory_limit_bytes")


def run(words: argparse.Namespace) -> int:
    """Compare the two sweeps or exports; print tables or one JSON object on stdout."""
    from batchscope.engine.sweeps.store import home_folder
    from batchscope.tui.render.ascii import json_text

    picture = _picture(words.figure)
    for name in (words.one, words.other):
        if not name:
            raise UsageProblem("compare: expected two exports or sweeps, got an empty string")
    one, other = (
        opened(name, lambda: home_folder(words.home, writes=False))
        for name in (words.one, words.other)
    )
    comparison = compare(one, other)
    if picture:
        from batchscope.engine.comparison.plot import draw

        draw(comparison, picture)
    if words.json:
        say(json_text(comparison, sys.stdout))
        return 0
    say(*lines(comparison, shutil.get_terminal_size((NARROWEST, 24)).columns))
    if picture:
        say("", f"figure written to {picture}")
    return 0


def _picture(written: str | None) -> Path | None:
    """Return the path of the figure, or None without one.

    Raises:
        UsageProblem: the path has another suffix, is a folder, or its folder does not exist.
    """
    if written is None:
        return None
    path = Path(written)
    if path.suffix.lower() not in PICTURES:
        raise UsageProblem(
            f"--figure {printable(written)}: expected a file name that ends in .svg or .png"
        )
    if not path.absolute().parent.is_dir():
        raise UsageProblem(f"--figure {printable(written)}: its folder does not exist")
    if path.is_dir():
        raise UsageProblem(f"--figure {printable(written)}: this is a folder, expected a file")
    return path


def lines(comparison: Comparison, columns: int) -> Iterator[str]:
    """Yield the lines of a comparison for a terminal of `columns` cells."""
    width = min(WIDEST, max(NARROWEST, columns))
    yield from _sources(comparison)
    yield from _changes(comparison, width)
    yield ""
    yield from _differences(comparison.rows, comparison.primary_metric, width)
    yield ""
    yield from _costs(comparison.rows)
    for name, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            yield ""
            yield from _wrapped(f"only in {name}: {'; '.join(map(printable, labels))}", width)
    if comparison.remarks:
        yield ""
    for remark in comparison.remarks:
        yield from _wrapped(f"! {printable(remark)}", width)


def _sources(comparison: Comparison) -> Iterator[str]:
    for name, of in (("A", comparison.a), ("B", comparison.b)):
        yield f"{name}  {_source(of)}"


def _source(of: ComparedSweep) -> str:
    at = "" if of.written == of.id else f" ({of.written})"
    lost = f", {of.lost} diverged or failed" if of.lost else ""
    pending = f" ({of.pending} not ended)" if of.pending else ""
    return f"{of.id}{at}: {of.state}, {of.trials} trials{pending}{lost}"


def _changes(comparison: Comparison, width: int) -> Iterator[str]:
    groups = (
        ("", comparison.settings),
        ("version of ", comparison.versions),
        ("", comparison.machine),
    )
    rows = [
        (printable(before + each.key), *(_value(each.key, value) for value in (each.a, each.b)))
        for before, changes in groups
        for each in changes
    ]
    yield ""
    if not rows:
        yield "settings, versions and machine are the same"
        return
    first = max(len(name) for name, _, _ in rows)
    room = max(8, (width - first - 6) // 2)
    second = min(room, max(cell_len(one) for _, one, _ in rows))
    yield f"{'different':<{first}}  {'A':<{second}}  B"
    for name, one, other in rows:
        yield f"{name:<{first}}  {_fit(one, second)}  {_fit(other, room).rstrip()}"


def _value(key: str, value: Any) -> str:
    """Return a value as TOML writes it; a dash if it is not set."""
    from batchscope.engine.experiment.toml_literal import literal

    if value is None:
        return UNKNOWN
    if isinstance(value, list):
        return ", ".join(UNKNOWN if each is None else printable(each) for each in value) or UNKNOWN
    if key in BYTES:
        return shown_size(value)
    return printable(value if isinstance(value, str) else literal(value))


def _differences(rows: Sequence[Row], metric: ComparedMetric, width: int) -> Iterator[str]:
    found = [row.primary_metric for row in rows]
    written = Written.of(metric, found)
    methods = dict.fromkeys(of.method for of in found if of.method)
    how = f" ({' and '.join(methods)})" if methods else ""
    yield f"{_title(metric)}, with a 95 % interval{how}"
    label = _label_width(rows)
    texts = [_interval_text(of, written) for of in found]
    wide = max(len("interval"), *map(cell_len, texts))
    size = max(LEAST_FIGURE, written.width(found))
    room = width - label - wide - 3 * size - 17
    scale = _scale(found)
    unit = f" {metric.unit}".rstrip()
    heads = "  ".join(f"{head:>{size}}" for head in (f"A{unit}", f"B{unit}", "B − A"))
    yield (
        f"{'':<{label}}  {heads}  {'interval':<{wide}}  {'n':>3}    {_ends(scale, room, written)}"
    ).rstrip()
    for row, of, text in zip(rows, found, texts, strict=True):
        figures = (written.mean(of.a), written.mean(of.b), written.signed(of.difference))
        cells = "  ".join(f"{each:>{size}}" for each in figures)
        yield (
            f"{_fit(row.label, label)}  {cells}  {_fit(text, wide)}  {of.n:>3}  "
            f"{MARKS[of.verdict]} {_drawn(of, scale, room)}"
        ).rstrip()
        notes = [*map(_changed, row.changes), of.reason, *_lost(row), *_collapsed(row)]
        for note in filter(None, notes):
            for line in textwrap.wrap(note, max(20, width - label - 2)):
                yield f"{'':<{label}}  {line}"
    words = [of.verdict for of in found if of.p is not None]
    if words:
        yield from _wrapped(_tally(words, metric), width)


def _title(metric: ComparedMetric) -> str:
    if metric.is_accuracy:
        return f"{metric.title}: B − A in percentage points"
    return f"{metric.title} ({metric.better} is better): B − A"


def _tally(words: Sequence[str], metric: ComparedMetric) -> str:
    """Return how many differences are significant, after Holm's adjustment."""
    counts = ", ".join(
        f"{MARKS[word]} {word}{_meaning(word, metric)} in {words.count(word)}"
        for word in ("higher", "lower")
    )
    adjusted = ", adjusted by Holm" if len(words) > 1 else ""
    return f"B is {counts} of {len(words)} (level 0.05{adjusted})"


def _meaning(word: str, metric: ComparedMetric) -> str:
    """Return a mark for the better word; empty for an accuracy, where everybody knows."""
    return " (better)" if word == metric.better and not metric.is_accuracy else ""


def _changed(change: Change) -> str:
    one, other = (_value(change.key, value) for value in (change.a, change.b))
    return f"{change.key}: {one} → {other}"


def _lost(row: Row) -> Iterator[str]:
    for name, count in zip("AB", row.lost, strict=True):
        if count:
            trials = "trial" if count == 1 else "trials"
            yield f"{count} {trials} of {name} left out: diverged or failed"


def _collapsed(row: Row) -> Iterator[str]:
    for name, seeds in zip("AB", row.collapsed, strict=True):
        if seeds:
            plural = "s" if len(seeds) > 1 else ""
            yield f"{name}: seed{plural} {', '.join(map(str, seeds))} collapsed or learned nothing"


def _interval_text(of: MetricDifference, written: Written) -> str:
    if of.low is None or of.high is None:
        return "one seed" if of.n == 1 else UNKNOWN if of.n == 0 else "no pairs"
    return f"[{written.signed(of.low)}, {written.signed(of.high)}]"


def _scale(all_of: Sequence[MetricDifference]) -> tuple[float, float]:
    """Return the lowest and highest value of the drawing: all intervals, and zero."""
    ends = [0.0]
    for of in all_of:
        ends += [value for value in (of.low, of.high, of.difference) if value is not None]
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (-0.01, 0.01)


def _cell(value: float, scale: tuple[float, float], room: int) -> int:
    low, high = scale
    return round((value - low) / (high - low) * (room - 1))


def _ends(scale: tuple[float, float], room: int, written: Written) -> str:
    """Return the axis labels: the values at both ends, and 0 above its line, if they fit."""
    if room < LEAST_ROOM:
        return ""
    left, right = (written.signed(end) for end in scale)
    cells = [" "] * room
    zero = _cell(0.0, scale, room)
    cells[zero] = "0"
    for text, start in ((left, 0), (right, room - len(right))):
        if start >= 0 and not start <= zero <= start + len(text):
            cells[start : start + len(text)] = text
    return "".join(cells)


def _drawn(of: MetricDifference, scale: tuple[float, float], room: int) -> str:
    """Draw the interval as a line, the difference as a point, and a vertical line at zero."""
    if room < LEAST_ROOM:
        return ""
    cells = [" "] * room
    zero = _cell(0.0, scale, room)
    cells[zero] = "│"
    if of.low is not None and of.high is not None:
        start, end = _cell(of.low, scale, room), _cell(of.high, scale, room)
        for at in range(start, end + 1):
            cells[at] = "┼" if at == zero else "─"
        cells[start], cells[end] = "├", "┤"
    if of.difference is not None:
        cells[_cell(of.difference, scale, room)] = "●"
    return "".join(cells)


def _costs(rows: Sequence[Row]) -> Iterator[str]:
    """Yield tables of epoch time, peak memory and steps to the target, with the ratios B ÷ A."""
    yield from _table(rows, COSTS, [_cost_cells(row) for row in rows])
    with_target = [row for row in rows if row.steps_to_target]
    if with_target:
        yield ""
        yield from _table(with_target, STEPS, [_step_cells(row) for row in with_target])


def _table(
    rows: Sequence[Row], heads: tuple[str, ...], cells: Sequence[tuple[str, ...]]
) -> Iterator[str]:
    label = _label_width(rows)
    wide = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    names = ("", *(row.label for row in rows))
    for name, line in zip(names, (heads, *cells), strict=True):
        text = "  ".join(_fit(cell, size) for cell, size in zip(line, wide, strict=True))
        yield f"{_fit(name, label)}  {text}".rstrip()


def _cost_cells(row: Row) -> tuple[str, ...]:
    one, other = (stack_mark(size) for size in row.stacked)
    times, memory = row.epoch_seconds, row.peak_memory_bytes
    apart = "!" if one != other else ""
    return (
        f"{_known(times.a, duration)}{one} → {_known(times.b, duration)}{other}",
        _times(times) + (apart if times.ratio is not None else ""),
        f"{_known(memory.a, shown_size)}{one} → {_known(memory.b, shown_size)}{other}",
        _times(memory) + (apart if memory.ratio is not None else ""),
    )


def _step_cells(row: Row) -> tuple[str, ...]:
    steps = row.steps_to_target or Ratio(None, None, None)
    one, other = (_steps(*each) for each in zip((steps.a, steps.b), row.missed, strict=True))
    return f"{one} → {other}", _times(steps)


def _steps(value: float | None, missed: int) -> str:
    if missed:
        return f"{missed} missed it"
    return UNKNOWN if value is None else f"{value:,.0f}"


def _known(value: float | None, shown: Any) -> str:
    return UNKNOWN if value is None else str(shown(value))


def _times(of: Ratio) -> str:
    return UNKNOWN if of.ratio is None else f"×{significant(of.ratio)}"


def _label_width(rows: Iterable[Row]) -> int:
    return min(LABELS, max(cell_len(printable(row.label)) for row in rows))


def _fit(text: str, width: int) -> str:
    """Return the text in exactly `width` cells; a longer one is cut and ends in …"""
    text = printable(text)
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)


def _wrapped(text: str, width: int) -> Iterator[str]:
    import textwrap

    yield from textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False)
