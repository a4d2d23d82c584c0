"""Draws the border around a pane, with its title and caption on the top line."""

from collections.abc import Sequence

from batchscope.tui.render.styled_text import EMPTY, Row, clip, fit, row, width_of

MARGIN = 4  # a border and a space on either side
LEAST = 6  # columns below which a caption says nothing
GAP = "  "


def framed(
    title: str,
    caption: Row,
    body: Sequence[Row],
    size: tuple[int, int],
    on: bool,
    others: str = "",
    more: Row = EMPTY,
) -> list[Row]:
    """Return rows in a rounded border.

    Args:
        size: width and height of the border.
        on: whether this is the current pane.
        others: the panes in the same tile, named on the right if there is room.
        more: what follows the caption, which is cut before it.
    """
    width, height = size
    line = "frame.on" if on else "frame"
    if width < MARGIN + 2 or height < 2:
        return [clip(text, width) for text in body[:height]]
    inner = width - MARGIN
    rows = [_top(title, (caption, more), width, line, others)]
    for index in range(height - 2):
        content = body[index] if index < len(body) else EMPTY
        rows.append((("│ ", line), *fit(content, inner), (" │", line)))
    rows.append(row(("╰" + "─" * (width - 2) + "╯", line)))
    return rows


def _top(title: str, said_of: tuple[Row, Row], width: int, line: str, others: str) -> Row:
    name = row(("╭ ", line), (title, "title.on" if line == "frame.on" else "strong"), (" ", line))
    name = clip(name, width - 2)
    room = width - width_of(name) - 5
    text = beside(*said_of, room)
    said = (("── ", line), *text, (" ", line)) if text and room > LEAST else EMPTY
    rest = width - width_of(name) - width_of(said) - 1
    if others and rest >= len(others) + 5:
        other = ((" ", line), (others, "dim"), (" ─", line))
        return (*name, *said, ("─" * (rest - len(others) - 3), line), *other, ("╮", line))
    return (*name, *said, ("─" * rest + "╮", line))


def beside(caption: Row, more: Row, width: int) -> Row:
    """Return a caption and what must be seen after it: the caption is cut, or left out."""
    if not more:
        return clip(caption, width)
    room = width - width_of(more) - len(GAP)
    shown = (*clip(caption, room), (GAP, "")) if caption and room > LEAST else EMPTY
    return (*shown, *clip(more, width))
