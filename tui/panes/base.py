"""The base class of all panes: a name, a title, topics, and rows drawn from a view."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, overload

from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from batchscope.engine.analysis.tables import as_cell
from batchscope.engine.errors import printable
from batchscope.tui.render.frame import GAP, MARGIN, beside, framed
from batchscope.tui.render.styled_text import EMPTY, Row, clip, row, text_of, width_of
from batchscope.tui.viewmodel.view import View
from batchscope.tui.widgets.rows_widget import Rows

CAPTION_FROM = 4
WHEEL_ROWS = 3
COPIED_COLUMNS, COPIED_ROWS = 120, 1000
Line = Sequence[object]
"""The cells of one row of a copied table."""
BESIDE = 6  # columns of a frame around its heading
LEFT_OF = MARGIN // 2


class Pane(Rows):
    """A part of the board. Subclasses return its rows; this class draws them only when needed.

    A subclass sets `NAME` (as in `tui.config.panes`), `TITLE` and `TOPICS` (what changes it, see
    `tui.viewmodel.view`), and overrides `body`, and where it helps `caption`, `turn`, `options`,
    `foot`, `wanted_rows` and `table`.
    """

    class Clicked(Message):
        """Sent when a pane is clicked; `twice` if that was a double click on no part of its own.

        `answer` says why the click changed nothing.
        """

        def __init__(self, pane: "Pane", twice: bool, answer: str = "") -> None:
            super().__init__()
            self.pane, self.twice, self.answer = pane, twice, answer

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    TOPICS: ClassVar[tuple[str, ...]]

    def __init__(self, view: View) -> None:
        super().__init__(id=f"pane-{self.NAME}", classes="pane")
        self.view = view
        self.boxed = True
        self.current = False
        self.top: int | None = None
        self.others = ""
        self._drawn: tuple[object, ...] = (None,)
        self._stale = False

    @property
    def heading(self) -> str:
        """The title of what is shown now."""
        return self.TITLE

    @property
    def tab(self) -> str:
        """A short title for the line of tabs."""
        return self.NAME

    def turn(self, what: str, step: int) -> str:
        """Switch the view after a key press; return why that is impossible, or an empty text."""
        raise NotImplementedError

    def release(self) -> bool:
        """Remove the pane's cursor; return whether there was one."""
        return False

    def caption(self, width: int) -> Row:
        """Return what is shown next to the title."""
        return ()

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the content; rows beyond `height` can be scrolled to."""
        raise NotImplementedError

    def said(self, width: int, *texts: str) -> Row:
        """Return the first text that fits, or the last; without a frame, after the title."""
        room = width - len(self.heading) - (BESIDE if self.boxed else 2)
        words = next((text for text in texts if len(text) <= room), texts[-1])
        if not self.boxed:
            words = f"{self.heading}  {words}".rstrip()
        return row((words, "dim")) if words else EMPTY

    def foot(self, width: int, height: int) -> Sequence[Row]:
        """Return rows that stay below the content; `height` is that of both."""
        return ()

    def head(self, width: int, height: int) -> Sequence[Row]:
        """Return rows that stay above the content; `height` is that of both."""
        return ()

    def options(self) -> object:
        """Return the other values that the drawing depends on."""
        return None

    def first_row(self, total: int, height: int) -> int:
        """Return the row at the top until the user scrolls."""
        return 0

    def table(self) -> Iterable[Line]:
        """Return the content as a table with all digits, for the clipboard; by default as drawn."""
        yield (self.heading,)
        for line in self.body(COPIED_COLUMNS, COPIED_ROWS):
            yield (text_of(line).rstrip(),)

    def copied(self) -> str:
        """Return `table` as text with tabs between the cells; empty if there are no trials yet."""
        if not self.view.state.trials:
            return ""
        return "\n".join("\t".join(map(_copied_cell, line)) for line in self.table())

    def wanted_rows(self) -> int:
        """Return how many rows the content would fill."""
        return 0

    def roomy_rows(self) -> int:
        """Return how many rows the content would fill in a layout that is easy to read."""
        return self.wanted_rows()

    def draw(self) -> None:
        """Draw if anything that the pane shows has changed."""
        if not self.display or not self.size:
            return
        wanted = self._wanted()
        if wanted != self._drawn:
            self._drawn = wanted
            self.show(self._rows(*self.size))

    def draw_late(self) -> None:
        """Draw when Textual paints the pane, in the size it has then."""
        self._stale = True
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the lines for Textual, drawn again if they are for another size."""
        if (self._stale or self._drawn[0] != self.size) and self.size:
            self._stale = False
            wanted = self._wanted()
            if wanted != self._drawn:
                self._drawn = wanted
                self._shown = self._rows(*self.size)
        return super().render_lines(crop)

    def move(self, rows: int) -> bool:
        """Scroll by so many rows; return False at the end."""
        width, height = self._inner()
        height -= len(self.head(width, height))
        total = len(self.body(width, height))
        before = self._top(total, height)
        after = max(0, min(total - height, before + rows))
        self.top = None if after == self.first_row(total, height) else after
        self.draw()
        return after != before

    def no_further(self, rows: int) -> str:
        """Return what to say where the pane cannot be scrolled further."""
        return f"{self.heading}: {'top' if rows < 0 else 'end'} of the pane"

    def pick(self, at: int) -> None:
        """Select the row of the content with this number, where rows can be selected."""

    def pressed(self, at: int, column: int, twice: bool) -> str | None:
        """Act on a click on a cell of the content that stands for something of its own.

        Returns:
            None if the cell stands for nothing; else why nothing changed, or an empty text.
        """
        return None

    def on_click(self, event: events.Click) -> None:
        """Select the row under the mouse, and become the current pane."""
        width, height = self._inner()
        above = len(self.head(width, height))
        room = height - above - len(self.foot(width, height))
        at = event.y - above - (1 if self.boxed or self.size.height >= CAPTION_FROM else 0)
        total = len(self.body(width, room))
        twice, answer = event.chain == 2, None
        if 0 <= at < min(room, total):
            at += self._top(total, room)
            answer = self.pressed(at, event.x - (LEFT_OF if self.boxed else 1), twice)
            if answer is None:
                self.pick(at)
        self.post_message(self.Clicked(self, twice and answer is None, answer or ""))

    def on_mouse_scroll_down(self, _: events.MouseScrollDown) -> None:
        """Scroll down."""
        self.move(WHEEL_ROWS)

    def on_mouse_scroll_up(self, _: events.MouseScrollUp) -> None:
        """Scroll up."""
        self.move(-WHEEL_ROWS)

    def on_resize(self, _: events.Resize) -> None:
        """Draw for the new size."""
        self.draw()

    def _wanted(self) -> tuple[object, ...]:
        """Return all values that the drawing depends on, the size first."""
        moved = tuple(self.view.moved[topic] for topic in self.TOPICS)
        seen = self.top, self.others, self.view.focus
        return (self.size, moved, self.boxed, self.current, *seen, self.options())

    def _inner(self) -> tuple[int, int]:
        width, height = self.size
        if self.boxed:
            return width - MARGIN, height - 2
        return width - 2, height - 1 if height >= CAPTION_FROM else height

    def _top(self, total: int, height: int) -> int:
        wanted = self.first_row(total, height) if self.top is None else self.top
        return max(0, min(total - height, wanted))

    def _rows(self, width: int, height: int) -> list[Row]:
        inner_width, inner_height = self._inner()
        if inner_width < 1 or inner_height < 1:
            return [clip(self.caption(width), width)][:height]
        head, foot = self.head(inner_width, inner_height), self.foot(inner_width, inner_height)
        room = inner_height - len(head) - len(foot)
        body = self.body(inner_width, room)
        top = self._top(len(body), room)
        seen = body[top : top + room]
        below = len(body) - top - room
        if foot:
            seen = [*seen, *[EMPTY] * (room - len(seen)), *foot]
        seen = [*head, *seen]
        more = _hidden(0 if self.top is None and below <= 0 else top, below)
        taken = width_of(more) + len(GAP) if more else 0
        caption = self.caption(max(1, inner_width - taken))
        if self.boxed:
            size = (width, height)
            return framed(self.heading, caption, seen, size, self.current, self.others, more)
        seen = [row(" ", *line) for line in seen]
        line = row(" ", *beside(caption, more, width - 1))
        return [line, *seen] if height >= CAPTION_FROM else seen


class Lazy(Sequence[Row]):
    """Rows that are created only when they are drawn, for lists of thousands."""

    def __init__(self, total: int, make: Callable[[int], Row]) -> None:
        self._total, self._make = total, make

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Row]:
        return (self._make(index) for index in range(self._total))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._make(at) for at in range(*index.indices(self._total))]
        return self._make(range(self._total)[index])


def _copied_cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else as_cell(printable(value))


def _hidden(above: int, below: int) -> Row:
    """Return how many rows are above and below the visible ones."""
    parts = [f"↑ {above}" if above > 0 else "", f"↓ {below} more" if below > 0 else ""]
    text = "  ".join(part for part in parts if part)
    return row((text, "warn")) if text else EMPTY
