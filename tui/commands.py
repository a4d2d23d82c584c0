"""Every command of the app, once: key bindings, hints, palette and help all read this list."""

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Place = Literal["menu", "board", "everywhere"]


@dataclass(frozen=True, slots=True)
class Command:
    """A thing to do: its keys as Textual names them, and how each surface tells of it.

    `hint` is the word in the last line of the screen; without one it is left out there.
    """

    keys: str
    shown: str
    name: str
    hint: str
    help: str
    action: str
    place: Place
    priority: bool = False


COMMANDS: tuple[Command, ...] = (
    Command(
        "enter",
        "enter",
        "Open",
        "launch or open",
        "Launch the experiment, or open the stored sweep",
        "choose",
        "menu",
    ),
    Command("up,k", "↑ ↓", "Up", "", "Move through the list", "move(-1)", "menu"),
    Command("down,j", "", "Down", "", "Move through the list", "move(1)", "menu"),
    Command(
        "home,pageup",
        "home end",
        "First",
        "",
        "To the first or the last of the list",
        "move(-1000000)",
        "menu",
    ),
    Command("end,pagedown", "", "Last", "", "To the last of the list", "move(1000000)", "menu"),
    Command(
        "r",
        "r",
        "Resume the sweep",
        "resume",
        "Start a conductor where none lives: unfinished trials are run anew",
        "resume",
        "board",
    ),
    *(
        Command(
            str(number),
            "1-7" if number == 1 else "",
            f"Pane {number}: {name}",
            "",
            "Show a pane full size; again, and it goes back",
            f"pane({number})",
            "board",
        )
        for number, name in (
            (1, "accuracy"),
            (2, "epoch time"),
            (3, "memory"),
            (4, "gradient norm"),
            (5, "trials"),
            (6, "findings"),
            (7, "log"),
        )
    ),
    Command("tab", "tab", "Next pane", "next", "Go to the next pane", "next(1)", "board"),
    Command(
        "shift+tab",
        "shift+tab",
        "Previous pane",
        "",
        "Go to the previous pane",
        "next(-1)",
        "board",
    ),
    Command(
        "enter",
        "enter",
        "Enlarge the pane",
        "",
        "Show the current pane full size",
        "enlarge",
        "board",
    ),
    Command("escape", "esc", "All panes", "", "Go back to all panes at once", "all_panes", "board"),
    Command(
        "l",
        "l",
        "Axes",
        "axes",
        "Accuracy: linear axes, log epochs, or error on a log axis",
        "scale",
        "board",
    ),
    Command(
        "t",
        "t",
        "Train curves",
        "train",
        "Accuracy: show or hide the train curves",
        "train",
        "board",
    ),
    Command("up,k", "↑ ↓", "Scroll up", "", "Scroll the current pane", "move(-1)", "board"),
    Command("down,j", "", "Scroll down", "", "Scroll the current pane", "move(1)", "board"),
    Command(
        "pageup",
        "pgup pgdn",
        "Page up",
        "",
        "Scroll the current pane by a page",
        "move(-10)",
        "board",
    ),
    Command(
        "pagedown", "", "Page down", "", "Scroll the current pane by a page", "move(10)", "board"
    ),
    Command(
        "home",
        "home end",
        "To the top",
        "",
        "Scroll to the first or the last row",
        "move(-1000000)",
        "board",
    ),
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
    Command("m", "m", "Menu", "menu", "Back to the menu; the sweep goes on", "menu", "board"),
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
        "ctrl+p",
        "ctrl+p",
        "Palette",
        "",
        "Find a command by its name",
        "command_palette",
        "everywhere",
    ),
    Command(
        "q",
        "q",
        "Leave",
        "leave",
        "Leave the app; a running sweep goes on without it",
        "leave",
        "everywhere",
    ),
    Command(
        "ctrl+c,ctrl+q",
        "ctrl+c",
        "Leave at once",
        "",
        "Leave, from wherever you are",
        "leave",
        "everywhere",
        True,
    ),
)


def commands_at(place: Place) -> list[Command]:
    """The commands of a screen, with those that are everywhere."""
    return [command for command in COMMANDS if command.place in (place, "everywhere")]


def bindings(place: Place) -> list[BindingType]:
    """Key bindings of the commands that belong to one place."""
    return [
        Binding(command.keys, command.action, command.name, show=False, priority=command.priority)
        for command in COMMANDS
        if command.place == place and command.action != "command_palette"
    ]
