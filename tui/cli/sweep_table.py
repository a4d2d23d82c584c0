"""The lines of `batchscope list`: a table with headings that fits a terminal, or plain lines.

What reads a pipe gets one line a sweep, without headings and whole.
"""

from collections.abc import Sequence

from rich.cells import cell_len

from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.tui.render.styled_text import cell, text_of, wrap
from batchscope.tui.viewmodel.result_text import result_text, short_result

HEADINGS = ("ID", "state", "trials", "result", "title")
GAP = "  "
LEAST_TITLE = 12
"""Columns below which a cut title says nothing; it is then left out."""


def plain_lines(sweeps: Sequence[StoredSweep]) -> list[str]:
    """Return one line a sweep, as long as it is."""
    width = max((len(each.id) for each in sweeps), default=0)
    return [
        f"{each.id:<{width}}  {each.state:<11}  {_done(each):>9} trials  "
        + GAP.join(
            filter(
                None,
                (
                    each.title,
                    _result(each),
                    f"[{each.problem}]" * bool(each.problem),
                ),
            )
        )
        for each in sweeps
    ]


def table_lines(sweeps: Sequence[StoredSweep], width: int) -> list[str]:
    """Return headings and one line a sweep, none wider than `width` terminal cells.

    An id is never cut while there is room for it: it is what other commands take. Results are
    shortened first, then left out, and so is the title. What is damaged follows on lines of its
    own.
    """
    if not sweeps:
        return []
    ids, states, done = ([text(each) for each in sweeps] for text in (_id, _state, _done))
    long = [_result(each) for each in sweeps]
    short = [short_result(each.metric, each.best, each.worst) for each in sweeps]
    columns = [
        _column(name, texts) for name, texts in zip(HEADINGS, (ids, states, done), strict=False)
    ]
    room = width - sum(columns) - len(GAP) * len(columns)
    results, size = _fitting(long, short, room)
    if size:
        columns.append(size)
        room -= size + len(GAP)
    title = room if room >= LEAST_TITLE else 0
    names = [*HEADINGS[:3], *HEADINGS[3:4] * bool(size), *HEADINGS[4:] * bool(title)]
    sizes = [*columns, *[title] * bool(title)]
    lines = [_line(names, sizes, width)]
    for index, each in enumerate(sweeps):
        texts = [ids[index], states[index], done[index]]
        texts += [results[index]] * bool(size) + [each.title] * bool(title)
        lines.append(_line(texts, sizes, width))
        if each.problem:
            inner = max(1, width - len(GAP))
            lines += [GAP + text_of(rest) for rest in wrap(f"! {each.problem}", inner)]
    return lines


def _fitting(long: list[str], short: list[str], room: int) -> tuple[list[str], int]:
    """Return the results in the longest form that leaves room for titles, and their width.

    The width is 0 if there are none, or none fits.
    """
    for texts, beside in ((long, LEAST_TITLE + len(GAP)), (short, 0)):
        size = _column(HEADINGS[3], texts)
        if any(texts) and size + beside <= room:
            return texts, size
    return short, 0


def _column(name: str, texts: list[str]) -> int:
    return max(cell_len(name), *(cell_len(text) for text in texts))


def _line(texts: Sequence[str], sizes: Sequence[int], width: int) -> str:
    """Return the columns that fit whole; the first is cut if even it does not."""
    shown, used = "", 0
    for text, size in zip(texts, sizes, strict=True):
        if used and used + size > width:
            break
        shown += cell(text, min(size, width))[0] + GAP
        used += size + len(GAP)
    return shown.rstrip()


def _id(sweep: StoredSweep) -> str:
    return sweep.id


def _state(sweep: StoredSweep) -> str:
    return sweep.state


def _done(sweep: StoredSweep) -> str:
    return f"{sweep.finished}/{sweep.trials}"


def _result(sweep: StoredSweep) -> str:
    """Return the range of a sweep's results; of one that ended without any, that and why."""
    return result_text(sweep.metric, sweep.best, sweep.worst) or _no_result(sweep)


def _no_result(sweep: StoredSweep) -> str:
    """Return that a sweep which ended by itself has no result, and why; empty if it has one."""
    if sweep.alive or sweep.finished or sweep.state not in ("finished", "failed"):
        return ""
    return f"no results{': ' if sweep.reason else ''}{sweep.reason}" if sweep.trials else ""
