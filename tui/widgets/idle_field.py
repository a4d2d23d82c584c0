"""A text field that has the focus only while the user types in it."""

from batchscope.tui.widgets.field import Field


class IdleField(Field):
    """An input that can have the focus only between `enter` and `leave`."""

    def __init__(self, id: str, placeholder: str = "", select_on_focus: bool = True) -> None:
        super().__init__(
            id=id, placeholder=placeholder, select_on_focus=select_on_focus, compact=True
        )
        self.cursor_blink = False
        self.can_focus = False

    def enter(self) -> None:
        """Focus the field, with the cursor at the end."""
        self.can_focus = True
        self.focus()
        self.cursor_position = len(self.value)

    def leave(self) -> None:
        """Give the focus back to the screen."""
        self.can_focus = False
        self.screen.set_focus(None)
