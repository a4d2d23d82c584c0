"""A screen whose last line answers keys."""

from textual import events
from textual.screen import Screen

from batchscope.engine.errors import printable
from batchscope.tui.render.styled_text import Row, row
from batchscope.tui.screens.app_protocol import AppProtocol, app_of
from batchscope.tui.widgets.rows_widget import Rows


class AnsweringScreen(Screen[None]):
    """Says what a key came to, until the next one; a key that does nothing says so."""

    AUTO_FOCUS = None

    def __init__(self) -> None:
        super().__init__()
        self._said = ""

    @property
    def batchscope(self) -> AppProtocol:
        """The app, as what it is."""
        return app_of(self)

    def say(self, text: str) -> None:
        """Answer a key that changed nothing else, until the next one."""
        raise NotImplementedError

    def on_key(self, event: events.Key) -> None:
        """The last answer has been read; a key that does nothing says so."""
        if event.key not in self.active_bindings:
            self.say(
                f"{printable(event.character or event.key)} does nothing here; ? shows the keys"
            )
        elif self._said:
            self.say("")

    def _answer(self) -> Row:
        """What was said, as the last line."""
        return row((f" {self._said}", "accent"))

    def _lines(self, name: str) -> Rows:
        """The rows of this name."""
        return self.query_one(f"#{name}", Rows)
