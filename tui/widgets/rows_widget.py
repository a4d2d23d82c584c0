"""A widget that shows rows and sends only the changed cells to the terminal."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.segment import Segment
from textual import events
from textual.containers import Horizontal, Vertical
from textual.geometry import Region, Size
from textual.reactive import var
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from batchscope.tui.render.ascii import plain
from batchscope.tui.render.styled_text import EMPTY, Row, fit, text_of, width_of
from batchscope.tui.theme.palette import BARE, Appearance, style_of


def is_open(screen: Screen[Any]) -> bool:
    """Return whether a screen is still open: a thread it waited for may end later."""
    return screen in screen.app.screen_stack and bool(screen.children)


class Across(Horizontal):
    """Widgets side by side; they never scroll."""

    virtual_size = var(Size(0, 0))


class Down(Vertical):
    """Widgets one above the other; they never scroll."""

    virtual_size = var(Size(0, 0))


class Target(NamedTuple):
    """Cells of the first row that stand for a key: a click there has its effect.

    Attributes:
        left: the first cell.
        right: the cell after the last.
        key: Textual's name of the key.
    """

    left: int
    right: int
    key: str


class Rows(Widget):
    """A rectangle of rows; what does not fit is cut.

    It never scrolls. The `virtual_size` is overridden so that a new size needs no second layout and
    paint: Textual does these because scroll bars might appear or disappear.
    """

    virtual_size = var(Size(0, 0))
    ALLOW_SELECT = False

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._shown: list[Row] = []
        self._targets: Sequence[Target] = ()

    def show(self, rows: list[Row], targets: Sequence[Target] = ()) -> None:
        """Replace the rows and what can be clicked; only cells that differ are drawn again."""
        self._targets = targets
        before, self._shown = self._shown, rows
        regions = []
        for y in range(self.size.height):
            old, new = _at(before, y), _at(rows, y)
            if old != new:
                left, right = _difference(old, new)
                regions.append(Region(left, y, max(1, min(right, self.size.width) - left), 1))
        if regions:
            self.refresh(*regions)

    def on_click(self, event: events.Click) -> None:
        """Press the key that the clicked cell stands for, if any."""
        for target in self._targets:
            if event.y == 0 and target.left <= event.x < target.right:
                event.stop()
                self.app.simulate_key(target.key)

    @property
    def text(self) -> str:
        """The shown text without styles."""
        shown = "\n".join(text_of(line).rstrip() for line in self._shown)
        return plain(shown) if self._look.ascii else shown

    @property
    def _look(self) -> Appearance:
        return getattr(self.app, "look", BARE)

    def render_line(self, y: int) -> Strip:
        """Return one row for Textual."""
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
    """Return the first differing cell and the one after the last."""
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
