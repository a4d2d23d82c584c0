"""Every command of the app, once: key bindings, hints, palette and help all read this list."""

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Place = Literal["menu", "board", "everywhere"]


@dataclass(frozen=True, slots=True)
class Command:
    """A thing to do: its keys as Textual names them, and how each surface tells of it.

    `hint` is the word in the last line of the screen; without one it is left out there, and
    where `pane` is not the current one.
    """

    keys: str
    shown: str
    name: str
    hint: str
    help: str
    action: str
    place: Place
    priority: bool = False
    pane: int = 0


def _turn(
    keys: str, shown: str, pane: int, name: str, hint: str, help: str, what: str, step: int = 1
) -> Command:
    return Command(
        keys, shown, name, hint, help, f"turn({pane}, '{what}', {step})", "board", pane=pane
    )


TURNS = (
    _turn("y", "y Y", 1, "Curves: next figure", "figure", "Curves: next figure, or back", "figure"),
    _turn("Y", "", 1, "Curves: previous figure", "", "Curves: the figure before", "figure", -1),
    _turn(
        "x", "x", 1, "Curves: x axis", "over",
        "Curves over epochs, steps, samples, seconds or distance", "over",
    ),
    _turn("l", "l", 1, "Curves: axes", "log", "Curves: linear, x log, or y log (error)", "scale"),
    _turn("t", "t", 1, "Curves: train curves", "train", "Curves: with or without train", "train"),
    _turn(
        "b", "b B", 2, "Bars: next figure", "figure",
        "Bars: next figure across batch sizes, or back", "figure",
    ),
    _turn("B", "", 2, "Bars: previous figure", "", "Bars: the figure before", "figure", -1),
    _turn(
        "g", "g G", 4, "Gradients: next view", "view",
        "Gradients: norms, probed norms and values, competition", "source",
    ),
    _turn("G", "", 4, "Gradients: previous view", "", "Gradients: the view before", "source", -1),
    _turn(
        "f", "f", 4, "Gradients: early and late", "share",
        "Gradients: what share of the steps is early and late", "share",
    ),
    _turn(
        "n", "n", 4, "Gradients: normalize", "normalize",
        "Gradients: all norms brought to one mean, or as they are", "normalize",
    ),
    _turn(
        "right_square_bracket", "[ ]", 4, "Gradients: later moment", "moment",
        "Gradients: an earlier or later moment of the probe", "moment",
    ),
    _turn(
        "left_square_bracket", "", 4, "Gradients: earlier moment", "",
        "Gradients: an earlier moment of the probe", "moment", -1,
    ),
)  # fmt: skip
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
        "Start a conductor: what has not finished is run anew",
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
            (1, "curves"),
            (2, "bars"),
            (3, "memory"),
            (4, "gradient norm"),
            (5, "trials"),
            (6, "findings"),
            (7, "log"),
        )
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
