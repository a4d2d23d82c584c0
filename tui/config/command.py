"""One command of the app: its keys, and the words with which each part of the screen names it."""

from dataclasses import dataclass, replace
from typing import Literal

Place = Literal["menu", "edit", "board", "everywhere"]


@dataclass(frozen=True, slots=True)
class Command:
    """A command, with its keys and the texts that the screens show for it.

    Attributes:
        keys: Textual's names of the keys, separated by commas.
        shown: the keys as the screen shows them; a command without any is not listed.
        name: what the command palette calls it.
        hint: one or two words for the last line; without them the last line leaves it out.
        help: a sentence for the help and the palette.
        action: Textual's action.
        place: the screen it belongs to.
        priority: whether the key works while a field or a dialog has the focus.
        pane: the pane it belongs to; the last line hints at it only while that is current.
        of: the kind of menu entry it applies to; empty for any.
        late: whether the last line leaves it out first where there is little room.
        paused: the hint while the sweep is paused.
        group: the heading above it in the help.
        id: its name in the settings file, where that is not made from `name`.
    """

    keys: str
    shown: str
    name: str
    hint: str
    help: str
    action: str
    place: Place
    priority: bool = False
    pane: str | None = None
    of: Literal["", "preset", "sweep"] = ""
    late: bool = False
    paused: str = ""
    group: str = ""
    id: str = ""

    def now(self, phase: str) -> "Command":
        """Return the command with the hint that fits a phase of the sweep."""
        return replace(self, hint=self.paused) if self.paused and phase == "paused" else self


def pane_key(
    keys: str,
    shown: str,
    name: str,
    hint: str,
    help: str,
    action: str,
    *,
    late: bool = False,
    id: str = "",
) -> Command:
    """Return a command of a pane, for its entry in `tui.config.panes`."""
    return Command(keys, shown, name, hint, help, action, "board", late=late, id=id)
