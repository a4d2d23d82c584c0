"""A screen that answers keys in its last line."""

from textual import events
from textual.screen import Screen

from batchscope.engine.errors import printable
from batchscope.tui.render.styled_text import Row, row
from batchscope.tui.screens.app_protocol import AppProtocol, app_of
from batchscope.tui.widgets.rows_widget import Rows


class AnsweringScreen(Screen[None]):
    """A screen that shows the outcome of a key in the last line until the next key."""

    AUTO_FOCUS = None

    def __init__(self) -> None:
        super().__init__()
        self._said = ""

    @property
    def batchscope(self) -> AppProtocol:
        """The app, with its type."""
        return app_of(self)

    def say(self, text: str) -> None:
        """Show a message in the last line until the next key."""
        raise NotImplementedError

    def on_key(self, event: events.Key) -> None:
        """Clear the last message, and say so if the key does nothing."""
        if event.key not in self.active_bindings:
            self.say(
                f"{printable(event.character or event.key)} does nothing here. ? shows the keys"
            )
        elif self._said:
            self.say("")

    def _answer(self) -> Row:
        """Return the message as the last line."""
        return row((f" {self._said}", "accent"))

    def _lines(self, name: str) -> Rows:
        """Return the rows with this id."""
        return self.query_one(f"#{name}", Rows)
