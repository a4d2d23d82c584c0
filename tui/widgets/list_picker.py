"""A list of rows with a cursor, moved by key or mouse."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from batchscope.tui.render.styled_text import EMPTY, Row, fit, row
from batchscope.tui.widgets.rows_widget import Rows


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the list; one without a key is a heading and cannot be selected."""

    line: Row
    key: str = ""
    marked: bool = False


class Picker(Rows):
    """A list that keeps the cursor on the same item when other items change."""

    class Moved(Message):
        """Sent when the cursor is on another item."""

    class Resized(Message):
        """Sent when the list has another size, which its items may depend on."""

    class Chosen(Message):
        """Sent when an item is clicked twice in quick succession."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._items: Sequence[Item] = ()
        self._top = 0
        self.key = ""

    def offer(self, items: Sequence[Item]) -> None:
        """Show these items; if the selected one is gone, select its nearest neighbour."""
        before, keys = self._keys, [item.key for item in items if item.key]
        self._items = items
        if self.key not in keys:
            at = before.index(self.key) if self.key in before else 0
            near = [key for key in (*before[at:], *before[:at][::-1], *keys) if key in keys]
            self.key = near[0] if near else ""
        self.redraw()

    def choose(self, key: str) -> None:
        """Move the cursor to this item, if it is in the list."""
        if any(item.key == key for item in self._items):
            self._go(key)

    def move(self, step: int) -> bool:
        """Move the cursor by so many items; return False at the end of the list."""
        keys = self._keys
        if not keys:
            return False
        at = keys.index(self.key)
        to = max(0, min(len(keys) - 1, at + step))
        self._go(keys[to])
        return to != at

    @property
    def _keys(self) -> list[str]:
        return [item.key for item in self._items if item.key]

    def redraw(self) -> None:
        """Draw the part of the list around the cursor."""
        height, width = self.size.height, self.size.width
        if not height or not width:
            return
        at = next((i for i, item in enumerate(self._items) if item.key == self.key and item.key), 0)
        first = 0 if at <= 1 else at  # keep a heading above the first item visible
        self._top = max(0, min(self._top, first), at - height + 1)
        self._top = min(self._top, max(0, len(self._items) - height))
        self.show([self._line(item, width) for item in self._items[self._top : self._top + height]])

    def on_resize(self, _: events.Resize) -> None:
        """Draw for the new size, and ask for items of the new width."""
        self.redraw()
        self.post_message(self.Resized())

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the item; a double click chooses it.

        A later click on the same item does nothing: it may be meant to give the window its focus.
        """
        at = self._top + event.y
        if at < len(self._items) and self._items[at].key:
            again = event.chain > 1 and self._items[at].key == self.key
            self._go(self._items[at].key)
            if again:
                self.post_message(self.Chosen())

    def on_mouse_scroll_down(self, _: events.MouseScrollDown) -> None:
        """Move the cursor down."""
        self.move(1)

    def on_mouse_scroll_up(self, _: events.MouseScrollUp) -> None:
        """Move the cursor up."""
        self.move(-1)

    def _go(self, key: str) -> None:
        if key != self.key:
            self.key = key
            self.redraw()
            self.post_message(self.Moved())

    def _line(self, item: Item, width: int) -> Row:
        if not item.key:
            return item.line or EMPTY
        mark = "*" if item.marked else " "
        if item.key != self.key:
            return row(f"  {mark}", *item.line)
        line = fit(row(f" ▸{mark}", *item.line), width)
        return tuple((text, "chosen") for text, _ in line)
