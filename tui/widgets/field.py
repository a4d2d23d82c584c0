"""A text field that neither shows nor holds control characters."""

from textual.widgets import Input

from batchscope.engine.errors import printable


class Field(Input):
    """Textual's field writes to the terminal what it holds: a path, or what was pasted."""

    def validate_value(self, value: str) -> str:
        """Replace control characters, wherever the text comes from."""
        return printable(value)
