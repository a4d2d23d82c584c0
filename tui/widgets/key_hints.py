"""The last line of a screen: the keys that matter now, whole ones only."""

from collections.abc import Iterable

from batchscope.tui.config.commands import Command
from batchscope.tui.render.styled_text import Row, row, width_of

CHOOSING: Row = row((" ↑ ↓", "key"), (" choose", "dim"))
"""The first hint of a screen with a list."""


def hints(commands: Iterable[Command], first: Row, width: int) -> Row:
    """Key and word of each command that fits; `first` is always there.

    What holds everywhere stands last, and the others leave it its room; so do late ones to all.
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
