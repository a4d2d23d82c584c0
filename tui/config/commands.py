"""Every command of the app, once: key bindings, hints, palette and help all read this list."""

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from batchscope.tui.theme.themes import THEMES

if TYPE_CHECKING:
    from textual.binding import BindingType

Place = Literal["menu", "edit", "board", "everywhere"]
PaneName = Literal["curves", "bars", "memory", "gradients", "trials", "findings", "log"]
SCREENS: tuple[Place, ...] = ("menu", "board", "edit")
PANE_KEYS: dict[PaneName, str] = {
    "curves": "1",
    "bars": "2",
    "memory": "3",
    "gradients": "4",
    "trials": "5",
    "findings": "6",
    "log": "7",
}
"""The panes of the board, and the key that shows each."""
PANE_TITLES = {"gradients": "gradient norm"}
"""What the palette calls a pane, where that is not its name."""
SHOWN_PANE_KEYS = f"{min(PANE_KEYS.values())}-{max(PANE_KEYS.values())}"


@dataclass(frozen=True, slots=True)
class Command:
    """A thing to do: its keys as Textual names them, and how each surface tells of it.

    `hint` is the word in the last line of the screen; without one it is left out there, and
    where `pane` is not the current one, or where the menu's choice is not `of` that kind. A `late`
    one stands there only where the others leave room. `paused` is the word while the sweep is.
    """

    keys: str
    shown: str
    name: str
    hint: str
    help: str
    action: str
    place: Place
    priority: bool = False
    pane: PaneName | None = None
    of: Literal["", "preset", "sweep"] = ""
    late: bool = False
    paused: str = ""

    def now(self, phase: str) -> "Command":
        """The command as it is told of while a sweep is in this phase."""
        return replace(self, hint=self.paused) if self.paused and phase == "paused" else self


def _turn(
    keys: str,
    shown: str,
    pane: PaneName,
    name: str,
    hint: str,
    help: str,
    what: str,
    step: int = 1,
    late: bool = False,
) -> Command:
    action = f"turn('{pane}', '{what}', {step})"
    return Command(keys, shown, name, hint, help, action, "board", pane=pane, late=late)


TURNS = (
    _turn(
        "y", "y Y", "curves", "Curves: next figure", "figure",
        "Curves: next figure, or back", "figure",
    ),
    _turn(
        "Y", "", "curves", "Curves: previous figure", "",
        "Curves: the figure before", "figure", -1,
    ),
    _turn(
        "x", "x", "curves", "Curves: x axis", "over",
        "Curves over epochs, steps, samples, seconds or distance", "over",
    ),
    _turn(
        "l", "l", "curves", "Curves: axes", "log",
        "Curves: linear, x log, or y log (error)", "scale",
    ),
    _turn(
        "t", "t", "curves", "Curves: train and spread", "train",
        "Curves: train, and a deviation of the seeds to either side", "beside",
    ),
    _turn(
        "v", "v", "curves", "Curves: candidates", "",
        "Curves: chosen candidates, or all", "rivals",
    ),
    _turn(
        "s", "s", "curves", "Curves: smooth", "smooth",
        "Curves: smoother (moving average), then as measured", "smooth", late=True,
    ),
    _turn(
        "left", "← →", "curves", "Curves: cursor to the left", "read off",
        "Curves: read values off at a cursor; with shift faster; esc", "cursor", -1, late=True,
    ),
    _turn("right", "", "curves", "Curves: cursor to the right", "", "Curves: read off", "cursor"),
    _turn("shift+left", "", "curves", "Curves: cursor far left", "", "Ten points", "cursor", -10),
    _turn("shift+right", "", "curves", "Curves: cursor far right", "", "Ten points", "cursor", 10),
    _turn(
        "plus,equals_sign", "+ - 0", "curves", "Curves: zoom in", "zoom",
        "Curves: zoom in around the cursor or the newest, out, all", "zoom", late=True,
    ),
    _turn("minus", "", "curves", "Curves: zoom out", "", "Curves: twice as much of x", "zoom", -1),
    _turn("0", "", "curves", "Curves: the whole x axis", "", "Curves: all of x", "zoom", 0),
    Command(
        "o", "o", "Curves: overlay", "overlay", "Curves: lay other stored sweeps over this one",
        "overlay", "board", pane="curves", late=True,
    ),
    _turn(
        "b", "b B", "bars", "Bars: next figure", "figure",
        "Bars: next figure; of a target also steps and samples", "figure",
    ),
    _turn("B", "", "bars", "Bars: previous figure", "", "Bars: the figure before", "figure", -1),
    _turn(
        "g", "g G", "gradients", "Gradients: next view", "view",
        "Gradients: norms, probed norms and values, competition", "source",
    ),
    _turn(
        "G", "", "gradients", "Gradients: previous view", "",
        "Gradients: the view before", "source", -1,
    ),
    _turn(
        "f", "f", "gradients", "Gradients: early and late", "share",
        "Gradients: what share of the steps is early and late", "share",
    ),
    _turn(
        "n", "n", "gradients", "Gradients: normalize", "normalize",
        "Gradients: all norms brought to one mean, or as they are", "normalize",
    ),
    _turn(
        "right_square_bracket", "[ ]", "gradients", "Gradients: later moment", "moment",
        "Gradients: an earlier or later moment of the probe", "moment",
    ),
    _turn(
        "left_square_bracket", "", "gradients", "Gradients: earlier moment", "",
        "Gradients: an earlier moment of the probe", "moment", -1,
    ),
)  # fmt: skip
MENU = (
    Command(
        "enter", "enter", "Open", "launch or open",
        "Launch the experiment, or open the stored sweep", "choose", "menu",
    ),
    Command(
        "slash", "/", "Filter", "filter",
        "Show only what holds all words that you type; enter keeps it", "filter", "menu",
    ),
    Command(
        "E", "E", "Edit the settings", "edit",
        "Change settings of the experiment before it is launched", "edit", "menu", of="preset",
    ),
    Command(
        "o", "o", "Compare sweeps", "compare",
        "Lay the curves of the marked sweeps over each other", "compare", "menu", of="sweep",
    ),
    Command(
        "r", "r", "Resume the sweep", "resume",
        "Start a conductor on the sweep: it goes on with what has not finished", "resume", "menu",
        of="sweep",
    ),
    Command(
        "e", "e", "Export the sweep", "export",
        "Write tables and journal of the sweep into a folder", "export", "menu", of="sweep",
    ),
    Command(
        "space", "space", "Mark the sweep", "mark",
        "Mark or unmark the sweep, for o and D", "mark", "menu", of="sweep",
    ),
    Command(
        "D", "D", "Delete the sweep", "delete",
        "Delete the sweep, or all that are marked, after a question", "delete", "menu",
        of="sweep",
    ),
    Command(
        "escape", "esc", "Show all", "", "Clear the filter, and then the marks", "show_all", "menu"
    ),
    Command("up,k", "↑ ↓", "Up", "", "Move through the list", "move(-1)", "menu"),
    Command("down,j", "", "Down", "", "Move through the list", "move(1)", "menu"),
    Command(
        "home,pageup", "home end", "First", "",
        "To the first or the last of the list", "move(-1000000)", "menu",
    ),
    Command("end,pagedown", "", "Last", "", "To the last of the list", "move(1000000)", "menu"),
)  # fmt: skip
EDIT = (
    Command("enter", "enter", "Change", "change", "Type another value", "change", "edit"),
    Command("L", "L", "Launch", "launch", "Launch it with these settings", "launch", "edit"),
    Command(
        "u,backspace,delete", "u", "Reset", "reset", "The key back to what the file says",
        "reset", "edit",
    ),
    Command(
        "U", "U", "Reset all", "", "All keys back to what the file says", "reset_all", "edit"
    ),
    Command("escape,m", "esc", "Back", "back", "Back to the menu", "back", "edit"),
    Command(
        "up,k", "↑ ↓", "Up", "", "Move through the list; also pgup pgdn home end",
        "move(-1)", "edit",
    ),
    Command("down,j", "", "Down", "", "Move through the list", "move(1)", "edit"),
    Command("pageup", "", "Page up", "", "Move by ten", "move(-10)", "edit"),
    Command("pagedown", "", "Page down", "", "Move by ten", "move(10)", "edit"),
    Command("home", "", "First", "", "To the first key", "move(-1000000)", "edit"),
    Command("end", "", "Last", "", "To the last key", "move(1000000)", "edit"),
)  # fmt: skip
COMMANDS: tuple[Command, ...] = (
    *MENU,
    *EDIT,
    Command(
        "r",
        "r",
        "Resume the sweep",
        "resume",
        "Start a conductor: what has not finished is run anew",
        "resume",
        "board",
    ),
    *(
        Command(
            key,
            SHOWN_PANE_KEYS if name == "curves" else "",
            f"Pane {key}: {PANE_TITLES.get(name, name)}",
            "",
            "Show a pane full size; again, and it goes back",
            f"pane('{name}')",
            "board",
        )
        for name, key in PANE_KEYS.items()
    ),
    Command(
        "tab",
        "tab ⇧tab",
        "Next pane",
        "",
        "Go to the next or the previous pane",
        "next(1)",
        "board",
    ),
    Command("shift+tab", "", "Previous pane", "", "Go to the previous pane", "next(-1)", "board"),
    Command(
        "enter",
        "enter esc",
        "Enlarge the pane",
        "",
        "Show the current pane full size, and all panes again",
        "enlarge",
        "board",
    ),
    Command("escape", "", "All panes", "", "Go back to all panes at once", "all_panes", "board"),
    *TURNS,
    Command(
        "up,k",
        "↑ ↓",
        "Scroll up",
        "",
        "Scroll the pane; also pgup pgdn home end",
        "move(-1)",
        "board",
    ),
    Command("down,j", "", "Scroll down", "", "Scroll the current pane", "move(1)", "board"),
    Command("pageup", "", "Page up", "", "Scroll by a page", "move(-10)", "board"),
    Command("pagedown", "", "Page down", "", "Scroll by a page", "move(10)", "board"),
    Command("home", "", "To the top", "", "Scroll to the first row", "move(-1000000)", "board"),
    Command("end", "", "To the end", "", "Scroll to the last row", "move(1000000)", "board"),
    Command(
        "S,ctrl+s",
        "S",
        "Stop the sweep",
        "stop",
        "End the sweep, after a question",
        "stop",
        "board",
    ),
    Command(
        "X",
        "X",
        "Skip the chosen trial",
        "skip",
        "Trials: end the chosen one, after a question",
        "skip",
        "board",
        pane="trials",
    ),
    Command(
        "R",
        "R",
        "Retry the chosen trial",
        "retry",
        "Trials: queue the chosen one anew if it failed, was stopped or skipped",
        "retry",
        "board",
        pane="trials",
    ),
    Command(
        "a",
        "a",
        "Add a batch size",
        "add size",
        "Run every other setting of the grid with one more batch size",
        "add",
        "board",
        late=True,
    ),
    Command(
        "p",
        "p",
        "Pause or go on",
        "pause",
        "Hold the sweep still, off the clock; again, and it goes on",
        "pause",
        "board",
        paused="go on",
    ),
    Command("m", "m", "Menu", "menu", "Back to the menu; the sweep goes on", "menu", "board"),
    Command(
        "e",
        "e",
        "Export the sweep",
        "export",
        "Write tables and journal into a folder, as far as the sweep is",
        "export",
        "board",
    ),
    Command(
        "question_mark,f1",
        "?",
        "Help",
        "help",
        "What there is to see and to press",
        "help",
        "everywhere",
    ),
    Command(
        "c", "c", "Copy the pane", "", "Copy the figures of the pane as a table", "copy", "board"
    ),
    Command(
        "w",
        "w",
        "Picture of the screen",
        "",
        "Write the screen to a file, as SVG and as text",
        "picture",
        "everywhere",
    ),
    Command(
        "T", "T", "Next theme", "", "Other colours: " + ", ".join(THEMES), "theme", "everywhere"
    ),
    Command(
        "ctrl+p",
        "ctrl+p",
        "Palette",
        "",
        "Find a command by its name",
        "command_palette",
        "everywhere",
        True,
    ),
    Command(
        "q",
        "q",
        "Leave",
        "leave",
        "Leave, ctrl+c at once; a running sweep goes on without you",
        "leave",
        "everywhere",
    ),
    Command(
        "ctrl+c,ctrl+q",
        "",
        "Leave at once",
        "",
        "Leave, from wherever you are",
        "leave",
        "everywhere",
        True,
    ),
)


def slug(command: Command) -> str:
    """A command's name as the settings and Textual's keymap know it: `next-theme`."""
    return re.sub(r"[^a-z0-9]+", "-", command.name.lower()).strip("-")


def bindings(place: Place) -> "list[BindingType]":
    """Key bindings of the commands that belong to one place."""
    from textual.binding import Binding

    return [
        Binding(
            command.keys,
            command.action,
            command.name,
            show=False,
            priority=command.priority,
            id=slug(command),
        )
        for command in COMMANDS
        if command.place == place
    ]
