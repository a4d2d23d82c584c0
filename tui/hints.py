"""The last line of a screen: the keys that matter now, whole ones only."""

from collections.abc import Iterable

from tui.commands import Command
from tui.rows import Row, row, width_of


def hints(commands: Iterable[Command], first: Row, width: int) -> Row:
    """Key and word of each command that fits; `first` is always there."""
    line = first
    for command in commands:
        if not command.hint:
            continue
        more = row(("  " if line else " ", ""), (command.shown, "key"), (f" {command.hint}", "dim"))
        if width_of(line) + width_of(more) > width:
            continue
        line = (*line, *more)
    return line
