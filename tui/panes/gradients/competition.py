"""Competition: small steps one after the other against one large step, as arrows and figures."""

from collections.abc import Sequence

from batchscope.engine.journal.events import Competing
from batchscope.tui.panes.gradients.probe_data import Pair, PooledCompetition
from batchscope.tui.render.arrows import Arrow, plane
from batchscope.tui.render.styled_text import EMPTY, Row, cell, fit, row
from batchscope.tui.viewmodel.marks import Mark

NAMES = {
    "cosine": "cosine",
    "length_ratio": "length ratio",
    "straightness": "straightness",
    "step_cosine": "step cosine",
}
NAME, COLUMN = 14, 14
PICTURE_LEAST, PICTURE_ROWS = 28, 5
"""The smallest width and height of a picture; the table below it may need scrolling."""

Entry = tuple[Mark, PooledCompetition]


def contest_rows(shown: Sequence[Entry], pair: Pair, width: int, height: int) -> list[Row]:
    """Return a picture for each configuration, as many as fit, and one table of all of them."""
    table = _table(shown, width)
    wide = max(sum(len(text) for text, _ in line) for line in table)
    if len(shown) == 1 and width - wide - 3 >= PICTURE_LEAST:
        picture = _picture(shown[0], pair, width - wide - 3, max(len(table), height))
        lines = [*table, *[EMPTY] * (len(picture) - len(table))]
        return [
            (*fit(drawn, width - wide - 3), ("   ", ""), *line)
            for drawn, line in zip(picture, lines, strict=True)
        ]
    room = max(height - len(table), min(height, PICTURE_ROWS))
    count = max(1, min(len(shown), width // PICTURE_LEAST))
    each = width // count
    pictures = [_headed(entry, pair, each - 1, room, len(shown) > 1) for entry in shown[:count]]
    joined = [
        tuple(run for line in lines for run in fit(line, each))
        for lines in zip(*pictures, strict=True)
    ]
    return [*joined, *table]


def _headed(entry: Entry, pair: Pair, width: int, height: int, named: bool) -> list[Row]:
    if not named:
        return _picture(entry, pair, width, height)
    mark = entry[0]
    head = row((mark.glyph, mark.style), f" {mark.label}")
    return [head, *_picture(entry, pair, width, height - 1)]


def _picture(entry: Entry, pair: Pair, width: int, height: int) -> list[Row]:
    mark, contest = entry
    competing = contest.picture
    if competing is None:
        return [EMPTY] * height
    lines = plane(arrows(competing, pair, mark.style), width, height)
    return [*lines, *[EMPTY] * (height - len(lines))]


def arrows(competing: Competing, pair: Pair, style: str) -> list[Arrow]:
    """Return arrows for the first small step, the sum of the later ones, and the large step."""
    small, large = pair
    rest = large // small - 1
    origin, end = (0.0, 0.0), (competing.total, 0.0)
    return [
        Arrow(origin, competing.large, f"one {large}", "strong"),
        Arrow(competing.first, end, f"+{rest}×{small}" if rest > 1 else f"+{small}", style),
        Arrow(origin, competing.first, f"{small}", style),
    ]


def _table(shown: Sequence[Entry], width: int) -> list[Row]:
    """Return a table of mean and deviation over the draws: one column per configuration."""
    room = max(1, (width - NAME) // COLUMN)
    entries = shown[:room]
    lines: list[Row] = []
    if len(shown) > 1:
        heads = [f"{mark.glyph} {mark.label}" for mark, _ in entries]
        styles = [mark.style for mark, _ in entries]
        more = f"+{len(shown) - room}" if len(shown) > room else ""
        columns = [cell(head, COLUMN, style) for head, style in zip(heads, styles, strict=True)]
        lines.append(row(cell(more, NAME, "warn"), *columns))
    for measure, name in NAMES.items():
        cells = [_figure(contest.figure(measure)) for _, contest in entries]
        lines.append(row(cell(name, NAME, "dim"), *(run for figure in cells for run in figure)))
    outside = [_outside(contest.outside) for _, contest in entries]
    lines.append(row(cell("outside plane", NAME, "dim"), *outside))
    draws = [cell(f"{contest.draws:,}", COLUMN, "dim") for _, contest in entries]
    lines.append(row(cell("draws", NAME, "dim"), *draws))
    return lines


def _figure(figure: tuple[float, float] | None) -> Row:
    if figure is None:
        return row(cell("–", COLUMN))
    mean, spread = figure
    return row(cell(f"{mean:.3f}", 7, "strong"), cell(f"±{spread:.3f}".replace("±0.", "±."), 7))


def _outside(share: float | None) -> tuple[str, str]:
    """Return the share of the large step's length that lies outside the plane, as a table cell."""
    return cell("–" if share is None else f"{share:.3f}", COLUMN)
