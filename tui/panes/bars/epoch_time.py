"""Epoch times as bars, with the speedup of each batch size over the next smaller one."""

from dataclasses import replace

from batchscope.engine.analysis.figures import EpochTime, epoch_times
from batchscope.engine.analysis.stack_times import stack_mark, stack_note, stacked
from batchscope.tui.render.block_bars import bar
from batchscope.tui.render.styled_text import Row, cell, row, wrap
from batchscope.tui.render.units import duration, rate
from batchscope.tui.viewmodel.marks import Mark
from batchscope.tui.viewmodel.view import View

RATIO = 6
"""Columns of a ratio of times."""


def epoch_time_rows(view: View, label: int, width: int) -> list[Row]:
    """Return a bar for each configuration with a whole epoch, and a line about the timing."""
    stamp = tuple(view.reached(name) for name in view.preferred), *view.preferred
    times = view.once("times", (stamp, len(view.state.data)), lambda: epoch_times(view.state))
    times = _without_hidden(view, times)
    if not times:
        return []
    longest = max(time.seconds for time in times)
    sizes = {time.stacked for time in times}
    room = max(len(stack_mark(size)) for size in sizes)
    lines = [
        _line(time, view.marks[time.configuration], longest, label, width, room) for time in times
    ]
    note = stack_note(sizes)
    shared = wrap(note, width, "warn") if note else []
    return [*lines, *wrap(beside_what(view), width, "dim"), *shared]


def _without_hidden(view: View, times: list[EpochTime]) -> list[EpochTime]:
    """Return the times that are shown; a ratio to a hidden one would be read as one to another."""
    shown = []
    for at, time in enumerate(times):
        smaller = [each for each in times[:at] if each.batch_size < time.batch_size]
        if view.focus.hides(time.configuration):
            continue
        away = bool(smaller) and view.focus.hides(smaller[-1].configuration)
        shown.append(replace(time, ratio=None) if away else time)
    return shown


def beside_what(view: View) -> str:
    """Return what else ran while the epochs were timed."""
    settings = [c.settings for c in view.state.configurations.values()]
    if all(setting.run.timing == "alone" for setting in settings):
        return "timed alone: nothing else of the sweep ran"
    workers = len(view.state.workers)
    what = "stacks" if stacked(view.state.trials.values()) > 1 else "trials"
    others = f"up to {workers} {what} ran at once" if workers > 1 else "other trials may have run"
    return f"timed while {others}"


def _line(time: EpochTime, mark: Mark, longest: float, label: int, width: int, stack: int) -> Row:
    """Return one bar; the mark of a stack takes `stack` cells after the time."""
    figures = [cell(duration(time.seconds), 8, right=True)]
    if stack:
        figures.append(cell(f" {stack_mark(time.stacked)}", stack + 1, "warn"))
    if width >= 64:
        figures.append(cell(rate(time.samples_per_second), 12, "dim", right=True))
    ratio, tone = "", ""
    if time.ratio is not None:
        ratio = f" ÷{time.ratio:.1f}"
        tone = "warn" if time.ratio < 0.95 else "good" if time.ratio >= 1.05 else "dim"
    if label + 3 + sum(len(text) for text, _ in figures) + RATIO <= width:  # a cut one misleads
        figures.append(cell(ratio, RATIO, tone))
    room = width - label - 3 - sum(len(text) for text, _ in figures)
    drawn = bar(time.seconds / longest, room) if room > 2 and longest > 0 else ""
    return row(*mark.head(label), (drawn, mark.style), *figures)
