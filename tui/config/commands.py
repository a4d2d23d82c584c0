"""Every command of the app, once: key bindings, hints, palette and help all read this list."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from batchscope.tui.config.command import Command as Command
from batchscope.tui.config.command import Place as Place
from batchscope.tui.config.panes import PANE_COMMANDS, PANE_KEYS, PANES, SHOWN_PANE_KEYS
from batchscope.tui.theme.themes import THEMES

if TYPE_CHECKING:
    from textual.binding import BindingType

SCREENS: tuple[Place, ...] = ("menu", "board", "edit")

MENU = (
    Command(
        "enter", "enter", "Open", "launch or open",
        "Launch the experiment, or open the stored sweep", "choose", "menu",
    ),
    Command(
        "slash", "/", "Filter", "filter",
        "Filter the list by words of name, question, group, id or state", "filter", "menu",
    ),
    Command(
        "E", "E", "Edit the settings", "edit",
        "Edit the settings of the experiment before launching it, or of a stored sweep to run it "
        "again with changes", "edit", "menu", of="preset",
    ),
    Command(
        "o", "o", "Compare sweeps", "compare",
        "Open the marked sweeps with their curves in one plot", "compare", "menu", of="sweep",
    ),
    Command(
        "r", "r", "Resume the sweep", "resume",
        "Resume the sweep: run the trials that have not finished", "resume", "menu", of="sweep",
    ),
    Command(
        "e", "e", "Export the sweep", "export",
        "Export report, tables and journal to a folder", "export", "menu", of="sweep",
    ),
    Command(
        "space", "space", "Mark the sweep", "mark",
        "Mark or unmark the sweep, for o and D", "mark", "menu", of="sweep",
    ),
    Command(
        "D", "D", "Delete the sweep", "delete",
        "Delete the sweep, or all marked ones, after asking", "delete", "menu", of="sweep",
    ),
    Command(
        "escape", "esc", "Show all", "", "Clear the filter; without one, clear the marks",
        "show_all", "menu",
    ),
    Command(
        "up,k", "↑ ↓", "Up", "", "Move the cursor; also pgup pgdn home end", "move(-1)", "menu"
    ),
    Command("down,j", "", "Down", "", "Move the cursor down", "move(1)", "menu"),
    Command("home,pageup", "", "First", "", "Go to the first entry", "move(-1000000)", "menu"),
    Command("end,pagedown", "", "Last", "", "Go to the last entry", "move(1000000)", "menu"),
)  # fmt: skip
EDIT = (
    Command("enter", "enter", "Change", "edit", "Edit the value", "change", "edit"),
    Command(
        "slash", "/", "Search the settings", "search",
        "Search the settings by words of key, value or meaning", "search", "edit",
    ),
    Command(
        "L", "L", "Launch", "launch", "Launch the experiment with these settings", "launch", "edit"
    ),
    Command(
        "u,backspace,delete", "u", "Reset", "reset", "Reset this setting to the preset's value",
        "reset", "edit",
    ),
    Command(
        "U", "U", "Reset all", "reset all", "Reset all settings to the preset's values",
        "reset_all", "edit", late=True,
    ),
    Command(
        "escape,m", "esc", "Back", "back", "Clear the search; without one, go back to the menu",
        "back", "edit",
    ),
    Command(
        "up,k", "↑ ↓", "Up", "", "Move the cursor; also pgup pgdn home end", "move(-1)", "edit"
    ),
    Command("down,j", "", "Down", "", "Move the cursor down", "move(1)", "edit"),
    Command("pageup", "", "Page up", "", "Move the cursor up by ten", "move(-10)", "edit"),
    Command("pagedown", "", "Page down", "", "Move the cursor down by ten", "move(10)", "edit"),
    Command("home", "", "First", "", "Go to the first setting", "move(-1000000)", "edit"),
    Command("end", "", "Last", "", "Go to the last setting", "move(1000000)", "edit"),
)  # fmt: skip
SHOW = (
    *(
        Command(
            key, SHOWN_PANE_KEYS if key == "1" else "", f"Pane {key}: {entry.title or entry.name}",
            "", "Show a pane full size; the same digit goes back", f"pane('{entry.name}')", "board",
        )
        for entry, key in zip(PANES, PANE_KEYS.values(), strict=True)
    ),
    Command(
        "tab", "tab ⇧tab", "Next pane", "", "Go to the next or previous pane", "next(1)", "board"
    ),
    Command("shift+tab", "", "Previous pane", "", "Go to the previous pane", "next(-1)", "board"),
    Command(
        "enter", "enter esc", "Enlarge the pane", "", "Show the pane full size, or all panes",
        "enlarge", "board",
    ),
    Command("escape", "", "All panes", "", "Show all panes", "all_panes", "board"),
    Command(
        "up,k", "↑ ↓", "Scroll up", "",
        "Scroll the pane or select a trial; also pgup pgdn home end", "move(-1)", "board",
    ),
    Command("down,j", "", "Scroll down", "", "Scroll the pane down", "move(1)", "board"),
    Command("pageup", "", "Page up", "", "Scroll up by a page", "move(-10)", "board"),
    Command("pagedown", "", "Page down", "", "Scroll down by a page", "move(10)", "board"),
    Command("home", "", "To the top", "", "Scroll to the first row", "move(-1000000)", "board"),
    Command("end", "", "To the end", "", "Scroll to the last row", "move(1000000)", "board"),
    Command(
        "c", "c", "Copy the pane", "", "Copy the numbers of the pane as a table", "copy", "board"
    ),
)  # fmt: skip
SWEEP = (
    Command(
        "r", "r", "Resume the sweep", "resume",
        "Resume the sweep: run the trials that have not finished", "resume", "board",
    ),
    Command(
        "p", "p", "Pause or resume", "pause", "Pause the sweep, or resume it after a pause",
        "pause", "board", paused="resume", id="pause-or-go-on",
    ),
    Command(
        "S,ctrl+s", "S", "Stop the sweep", "stop", "Stop the sweep, after asking", "stop", "board"
    ),
    Command("m", "m", "Menu", "menu", "Go to the menu; the sweep keeps running", "menu", "board"),
    Command(
        "e", "e", "Export the sweep", "export",
        "Export report, tables and journal to a folder, also of a running sweep",
        "export", "board",
    ),
    Command(
        "a", "a", "Add a batch size", "add size", "Add a batch size to the grid and run it",
        "add", "board", late=True,
    ),
)  # fmt: skip
EVERYWHERE = (
    Command(
        "question_mark,f1", "?", "Help", "help", "Show the keys of this screen", "help",
        "everywhere",
    ),
    Command(
        "w", "w", "Picture of the screen", "", "Save a picture of the screen, as SVG and as text",
        "picture", "everywhere",
    ),
    Command(
        "T", "T", "Next theme", "", "Next theme: " + ", ".join(THEMES), "theme", "everywhere"
    ),
    Command(
        "ctrl+p", "ctrl+p", "Palette", "", "Search the commands by name", "command_palette",
        "everywhere", True,
    ),
    Command(
        "q", "q", "Leave", "leave", "Leave; a running sweep keeps running. ctrl+c leaves at once",
        "leave", "everywhere",
    ),
    Command(
        "ctrl+z", "", "Suspend", "", "Go back to the shell for a while; fg in it returns here",
        "suspend_process", "everywhere", True,
    ),
    Command(
        "ctrl+c,ctrl+q", "", "Leave at once", "", "Leave at once, from anywhere", "leave",
        "everywhere", True,
    ),
)  # fmt: skip
MENU_GROUPS = {"": "List", "preset": "Experiment", "sweep": "Stored sweep"}
COMMANDS: tuple[Command, ...] = (
    *(replace(each, group=MENU_GROUPS[each.of]) for each in MENU),
    *(replace(each, group="Settings") for each in EDIT),
    *PANE_COMMANDS,
    *(replace(each, group="Sweep") for each in SWEEP),
    *(replace(each, group="Panes") for each in SHOW),
    *(replace(each, group="Everywhere") for each in EVERYWHERE),
)


def slug(command: Command) -> str:
    """Return a command's name in the settings file and in Textual's keymap, as `next-theme`."""
    return command.id or re.sub(r"[^a-z0-9]+", "-", command.name.lower()).strip("-")


def bindings(place: Place) -> "list[BindingType]":
    """Return the key bindings of the commands that belong to one place."""
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
