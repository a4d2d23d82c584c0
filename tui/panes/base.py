"""What all panes are: a name, a title, the topics they show, and rows drawn from a view."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, overload

from textual import events
from textual.geometry import Region
from textual.strip import Strip

from batchscope.tui.config.commands import PaneName
from batchscope.tui.render.frame import MARGIN, framed
from batchscope.tui.render.styled_text import EMPTY, Row, clip, row
from batchscope.tui.viewmodel.view import View
from batchscope.tui.widgets.rows_widget import Rows

CAPTION_FROM = 4
BESIDE = 6  # what a frame puts around its heading


class Pane(Rows):
    """A part of the board. Subclasses say what it shows; this draws it, no oftener than needed."""

    NAME: ClassVar[PaneName]
    TITLE: ClassVar[str]
    TOPICS: ClassVar[tuple[str, ...]]

    def __init__(self, view: View) -> None:
        super().__init__(id=f"pane-{self.NAME}", classes="pane")
        self.view = view
        self.boxed = True
        self.current = False
        self.top: int | None = None
        self._drawn: tuple[object, ...] = (None,)
        self._stale = False

    @property
    def heading(self) -> str:
        """The name over what is shown now."""
        return self.TITLE

    @property
    def tab(self) -> str:
        """The same in a word, for the line of tabs."""
        return self.NAME

    def turn(self, what: str, step: int) -> str:
        """Show it another way, as a key asks; a sentence where there is no other way."""
        raise NotImplementedError

    def release(self) -> bool:
        """Let go of what a key has taken hold of; False where there is nothing."""
        return False

    def caption(self, width: int) -> Row:
        """What the pane says of itself beside its name."""
        return ()

    def body(self, width: int, height: int) -> Sequence[Row]:
        """The pane's content; more rows than `height` are scrolled through."""
        raise NotImplementedError

    def said(self, width: int, *texts: str) -> Row:
        """The first text that has the room, with the heading where no frame shows it."""
        room = width - len(self.heading) - (BESIDE if self.boxed else 2)
        words = next((text for text in texts if len(text) <= room), texts[-1])
        if not self.boxed:
            words = f"{self.heading}  {words}".rstrip()
        return row((words, "dim")) if words else EMPTY

    def foot(self, width: int, height: int) -> Sequence[Row]:
        """Rows that stay below the content, of the `height` that both have."""
        return ()

    def options(self) -> object:
        """What else the drawing depends on."""
        return None

    def first_row(self, total: int, height: int) -> int:
        """The row shown at the top as long as nobody scrolls."""
        return 0

    def wanted_rows(self) -> int:
        """Rows that the content would fill."""
        return 0

    def roomy_rows(self) -> int:
        """Rows that the content would fill where it may be generous."""
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
        """Draw when Textual comes to paint it, in the size that it has by then."""
        self._stale = True
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """What Textual paints: never what was drawn for another size."""
        if (self._stale or self._drawn[0] != self.size) and self.size:
            self._stale = False
            wanted = self._wanted()
            if wanted != self._drawn:
                self._drawn = wanted
                self._shown = self._rows(*self.size)
        return super().render_lines(crop)

    def move(self, rows: int) -> bool:
        """Scroll; False where there is nothing further."""
        width, height = self._inner()
        total = len(self.body(width, height))
        before = self._top(total, height)
        after = max(0, min(total - height, before + rows))
        self.top = None if after == self.first_row(total, height) else after
        self.draw()
        return after != before

    def no_further(self, rows: int) -> str:
        """Why it could not be moved so far."""
        return f"{self.heading}: nothing further to scroll to"

    def on_resize(self, _: events.Resize) -> None:
        """A new size is drawn at once."""
        self.draw()

    def _wanted(self) -> tuple[object, ...]:
        """All that the drawing depends on, its size first."""
        moved = tuple(self.view.moved[topic] for topic in self.TOPICS)
        return (self.size, moved, self.boxed, self.current, self.top, self.options())

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
        foot = self.foot(inner_width, inner_height)
        room = inner_height - len(foot)
        body = self.body(inner_width, room)
        top = self._top(len(body), room)
        seen = body[top : top + room]
        below = len(body) - top - room
        if foot:
            seen = [*seen, *[EMPTY] * (room - len(seen)), *foot]
        caption = (
            *self.caption(inner_width),
            *_hidden(0 if self.top is None and below <= 0 else top, below),
        )
        if self.boxed:
            return framed(self.heading, caption, seen, (width, height), self.current)
        seen = [row(" ", *line) for line in seen]
        return [row(" ", *clip(caption, width - 1)), *seen] if height >= CAPTION_FROM else seen


class Lazy(Sequence[Row]):
    """Rows that are made when they are looked at, for lists of thousands."""

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


def _hidden(above: int, below: int) -> Row:
    """How many rows lie beyond the edges."""
    parts = [f"↑ {above}" if above > 0 else "", f"↓ {below} more" if below > 0 else ""]
    text = "  ".join(part for part in parts if part)
    return ((f"  {text}", "warn"),) if text else ()
