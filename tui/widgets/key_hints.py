"""The last line of a screen: the keys that apply now, as many as fit."""

from collections.abc import Iterable

from batchscope.tui.config.commands import Command
from batchscope.tui.render.styled_text import Row, row, width_of
from batchscope.tui.widgets.rows_widget import Rows, Target

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


def hint_targets(line: Row, commands: Iterable[Command]) -> list[Target]:
    """Return where the keys of commands stand in a line of `hints`, for the mouse."""
    keys = {(each.shown, f" {each.hint}"): each.keys.split(",")[0] for each in commands}
    targets, left = [], 0
    for (shown, _), (hint, _) in zip(line, [*line[1:], ("", "")], strict=True):
        right = left + width_of(((shown, ""),))
        key = keys.get((shown, hint))
        if key:
            targets.append(Target(left, right + width_of(((hint, ""),)), key))
        left = right
    return targets


class KeyLine(Rows):
    """The keys of a dialog in one line, to press or to click."""

    DEFAULT_CSS = "KeyLine { height: 1; }"

    def __init__(self, *keys: tuple[str, str, str]) -> None:
        """Take each key as Textual's name, as it is shown, and what it does."""
        super().__init__()
        self._keys = keys

    def on_mount(self) -> None:
        """Show the keys; they do not change."""
        line: list[tuple[str, str]] = []
        targets = []
        for key, shown, does in self._keys:
            left = width_of(tuple(line))
            line += [(shown, "strong"), (f" {does}", "")]
            targets.append(Target(left, width_of(tuple(line)), key))
            line.append(("   ", ""))
        self.show([tuple(line[:-1])], targets)


def _last(command: Command) -> bool:
    return command.place == "everywhere"


def _hint(command: Command, apart: bool) -> Row:
    return row(("  " if apart else " ", ""), (command.shown, "key"), (f" {command.hint}", "dim"))
