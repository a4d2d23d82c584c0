"""A field that keys go into only while somebody types there."""

from textual.widgets import Input


class IdleField(Input):
    """Cannot have the focus except between `enter` and `leave`."""

    def __init__(self, id: str, placeholder: str = "", select_on_focus: bool = True) -> None:
        super().__init__(
            id=id, placeholder=placeholder, select_on_focus=select_on_focus, compact=True
        )
        self.cursor_blink = False
        self.can_focus = False

    def enter(self) -> None:
        """Type behind what stands there."""
        self.can_focus = True
        self.focus()
        self.cursor_position = len(self.value)

    def leave(self) -> None:
        """Keys go to the screen again."""
        self.can_focus = False
        self.screen.set_focus(None)
