"""The last line of a screen: the keys that apply now, as many as fit."""

from collections.abc import Iterable

from batchscope.tui.config.commands import Command
from batchscope.tui.render.styled_text import Row, row, width_of

CHOOSING: Row = row((" ↑ ↓", "key"), (" select", "dim"))
"""The first hint of a screen with a list."""


def hints(commands: Iterable[Command], first: Row, width: int) -> Row:
    """Return `first`, then key and hint of each command that fits into the width.

    Commands that work everywhere come last and always get their room before the others; `late`
    commands get theirs after all others.
    """
    hinted = sorted((each for each in commands if each.hint), key=lambda each: each.late)
    line = first
    for command in hinted:
        if _last(command):
            continue
        longer = (*line, *_hint(command, bool(line)))
        if width_of(longer) + sum(width_of(_hint(c, True)) for c in hinted if _last(c)) <= width:
            line = longer
    for command in hinted:
        longer = (*line, *_hint(command, bool(line)))
        if _last(command) and width_of(longer) <= width:
            line = longer
    return line


def _last(command: Command) -> bool:
    return command.place == "everywhere"


def _hint(command: Command, apart: bool) -> Row:
    return row(("  " if apart else " ", ""), (command.shown, "key"), (f" {command.hint}", "dim"))
