"""A widget that shows rows, and sends to the terminal only the cells that changed."""

from typing import Any

from rich.segment import Segment
from textual.containers import Horizontal, Vertical
from textual.geometry import Region, Size
from textual.reactive import var
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from batchscope.tui.render.ascii import plain
from batchscope.tui.render.styled_text import EMPTY, Row, fit, text_of, width_of
from batchscope.tui.theme.palette import BARE, Appearance, style_of


def stands(screen: Screen[Any]) -> bool:
    """Whether a screen has its parts: what it waited for in a thread may outlast them."""
    return screen in screen.app.screen_stack and bool(screen.children)


class Across(Horizontal):
    """Widgets side by side; they never scroll."""

    virtual_size = var(Size(0, 0))


class Down(Vertical):
    """Widgets one above the other; they never scroll."""

    virtual_size = var(Size(0, 0))


class Rows(Widget):
    """A rectangle of rows; what does not fit is not shown.

    With nothing to scroll, a new size asks for no second layout (and no second paint of all), as
    Textual's own would because scroll bars might come or go with it: hence the `virtual_size`.
    """

    virtual_size = var(Size(0, 0))
    ALLOW_SELECT = False

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._shown: list[Row] = []

    def show(self, rows: list[Row]) -> None:
        """Replace the rows; only the cells that differ are drawn again."""
        before, self._shown = self._shown, rows
        regions = []
        for y in range(self.size.height):
            old, new = _at(before, y), _at(rows, y)
            if old != new:
                left, right = _difference(old, new)
                regions.append(Region(left, y, max(1, min(right, self.size.width) - left), 1))
        if regions:
            self.refresh(*regions)

    @property
    def text(self) -> str:
        """What is shown, without its styles."""
        shown = "\n".join(text_of(line).rstrip() for line in self._shown)
        return plain(shown) if self._look.ascii else shown

    @property
    def _look(self) -> Appearance:
        return getattr(self.app, "look", BARE)

    def render_line(self, y: int) -> Strip:
        """One row as Textual wants it."""
        base = self.visual_style.rich_style
        look = self._look
        line = fit(_at(self._shown, y), self.size.width)
        return Strip(
            [
                Segment(
                    plain(text) if look.ascii else text,
                    base + style_of(key, look.theme, look.depth),
                )
                for text, key in line
            ],
            self.size.width,
        )


def _at(rows: list[Row], y: int) -> Row:
    return rows[y] if y < len(rows) else EMPTY


def _difference(old: Row, new: Row) -> tuple[int, int]:
    """The first differing cell and the one after the last, for rows of narrow characters."""
    if _has_wide(old, new):
        return 0, 1 << 16
    before, after = _cells(old), _cells(new)
    length = max(len(before), len(after))
    before += [(" ", "")] * (length - len(before))
    after += [(" ", "")] * (length - len(after))
    differing = [at for at in range(length) if before[at] != after[at]]
    return (differing[0], differing[-1] + 1) if differing else (0, 1)


def _has_wide(*rows: Row) -> bool:
    return any(width_of(line) != len(text_of(line)) for line in rows)


def _cells(line: Row) -> list[tuple[str, str]]:
    return [(character, style) for text, style in line for character in text]
