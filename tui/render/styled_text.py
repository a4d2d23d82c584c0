"""Rows of styled text, as plain data without Textual.

A row is a tuple of runs; a run is a text with the key of its style (`tui.theme.palette`). Widths
are counted in terminal cells, because some characters take two.
"""

from collections.abc import Iterable, Iterator

from rich.cells import cell_len, chop_cells, set_cell_size

from batchscope.engine.errors import printable

Run = tuple[str, str]
Row = tuple[Run, ...]
EMPTY: Row = ()


def row(*runs: Run | str) -> Row:
    """Return a row from runs; a plain text gets no style."""
    return tuple((run, "") if isinstance(run, str) else run for run in runs)


def text_of(line: Row) -> str:
    """Return the text of a row without its styles."""
    return "".join(text for text, _ in line)


def width_of(line: Row) -> int:
    """Return how many terminal cells a row takes."""
    return sum(cell_len(text) for text, _ in line)


def clip(line: Row, width: int) -> Row:
    """Return the row cut to a width, with an ellipsis if something is missing."""
    if width <= 0:
        return EMPTY
    if width_of(line) <= width:
        return line
    kept: list[Run] = []
    left = width - 1
    for text, style in line:
        size = cell_len(text)
        if size > left:
            kept.append((set_cell_size(text, left) + "…", style))
            break
        kept.append((text, style))
        left -= size
    return tuple(kept)


def fit(line: Row, width: int) -> Row:
    """Return the row cut or padded to exactly a width."""
    line = clip(line, width)
    missing = width - width_of(line)
    return (*line, (" " * missing, "")) if missing > 0 else line


def dimmed(line: Row) -> Row:
    """Return the row in the style of what matters little."""
    return tuple((text, "dim") for text, _ in line)


def spread(left: Row, right: Row, width: int) -> Row:
    """Return a row with texts at both ends; `left` is cut if there is too little room."""
    room = width - width_of(right)
    if room <= 1:
        return fit(right, width)
    return (*fit(left, room - 1), (" ", ""), *right) if right else fit(left, width)


def cell(text: object, width: int, style: str = "", *, right: bool = False) -> Run:
    """Return a table cell: the text cut or padded to a width."""
    shown = printable(text)
    size = cell_len(shown)
    if size > width:
        return ((set_cell_size(shown, width - 1) + "…") if width > 1 else "…"[:width], style)
    padding = " " * (width - size)
    return (padding + shown if right else shown + padding, style)


def wrap(text: str, width: int, style: str = "") -> list[Row]:
    """Return a text over as many rows as it needs, broken at spaces where possible."""
    width = max(1, width)
    rows: list[Row] = []
    line = ""
    for word in _pieces(printable(text), width):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
        else:
            rows.append(row((line, style)))
            line = word
    return [*rows, row((line, style))]


def centred(lines: Iterable[Row], width: int, height: int) -> list[Row]:
    """Return lines in the middle of an area."""
    shown = [clip(line, width) for line in lines][:height]
    above = (height - len(shown)) // 2
    return [EMPTY] * above + [
        ((" " * ((width - width_of(line)) // 2), ""), *line) for line in shown
    ]


def _pieces(text: str, width: int) -> Iterator[str]:
    for word in text.split(" "):
        yield from chop_cells(word, width) if cell_len(word) > width else [word]
