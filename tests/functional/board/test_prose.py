"""All prose of the screens: commands, help, menu, form, dialogs, panes, messages, in one file.

`tests/golden/screens.txt` holds it, so that a change of words is read in one place.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.app import App
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input, Static

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.spec import trials_of
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.config.commands import COMMANDS, slug
from batchscope.tui.config.panes import PANE_KEYS
from batchscope.tui.config.settings import DEFAULTS
from batchscope.tui.config.settings_file import annotated
from batchscope.tui.exit_message import farewell
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import MessageDialog
from batchscope.tui.screens.edit import EditScreen
from batchscope.tui.screens.menu import MenuScreen
from batchscope.tui.screens.sweep_chooser import SweepChooser
from batchscope.tui.theme.themes import THEMES
from batchscope.tui.widgets.key_hints import KeyLine
from tests import golden
from tests.functional.board_fixtures import (
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    probed_sweep,
    running_sweep,
)
from tests.functional.boards import SMALL, board_on, loaded, part, screen_text, still, until
from tests.functional.menu.menu_fixtures import listed, presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets")

TURNS = ("Y", "x", "l", "t", "v", "s", "left", "plus", "0", "B", "g", "f", "n", "]")
PRESET = """\
title = "Two sizes"
seeds = 3
[data]
name = "digits"
[model]
name = "mlp"
hidden = [128, 64]
[train]
lr = 0.1
epochs = 20
[grid]
batch_size = [8, 32, 128, 512]
"""


SIZE = re.compile(r"[\d.]+ KiB")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Make a folder with a path of fixed length: long paths are wrapped on the screen."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


class Prose:
    """The text that was found so far, under headings."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._parts: list[str] = []
        self.hints: set[str] = set()

    def add(self, heading: str, text: str) -> None:
        """Add a text, without rules, without the folder of the test and without sizes."""
        text = SIZE.sub("N KiB", text.replace(self._folder, ""))
        lines = [line.rstrip() for line in text.splitlines()]
        shown = [f"  {line}" for line in lines if line.strip("─ ")]
        self._parts.append("\n".join([f"## {heading}", *shown]))

    def __str__(self) -> str:
        return "\n\n".join(self._parts)


def dialog_text(app: App[str]) -> str:
    """The words of the dialog on top."""
    texts = [str(each.render()) for each in app.screen.query(Static) if str(each.render())]
    borders = [str(each.border_subtitle or "") for each in app.screen.query(VerticalScroll)]
    texts += [each.text for each in app.screen.query(KeyLine)]
    return "\n".join([*texts, *(each for each in borders if each)])


def last_line(app: App[str]) -> str:
    """The last line of the screen."""
    ids = {MenuScreen: "menu-hints", EditScreen: "edit-hints", BoardScreen: "hints"}
    known = [part(app, name) for kind, name in ids.items() if isinstance(app.screen, kind)]
    return known[0] if known else type(app.screen).__name__


async def answers(prose: Prose, pilot: Pilot[str], heading: str, *keys: str) -> None:
    """Add the last line after each of these keys."""
    found = []
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        said = last_line(pilot.app).strip()
        if said not in prose.hints:
            found.append(f"{key}: {said}")
        if "? help" in said:  # the hints, which many keys leave there: once is enough
            prose.hints.add(said)
    if found:
        prose.add(heading, "\n".join(found))


def commands(prose: Prose) -> None:
    for place in ("menu", "edit", "board", "everywhere"):
        here = [command for command in COMMANDS if command.place == place]
        texts = [
            f"{slug(each)} | {each.name} | {each.shown} {each.hint}".rstrip() + f" | {each.help}"
            for each in here
        ]
        prose.add(f"commands: {place}", "\n".join(texts))
    prose.add("settings file", annotated(DEFAULTS, Path("settings.toml")))
    prose.add("themes", "\n".join(f"{each.name}: {each.about}" for each in THEMES.values()))


async def menu(prose: Prose, home: Path) -> None:
    """The menu without and with stored sweeps, its help, and what its keys answer."""
    async with BatchscopeApp(home).run_test(size=SMALL) as pilot:
        await listed(pilot)
        prose.add("menu: no stored sweeps", screen_text(pilot.app))
        await answers(prose, pilot, "menu: keys that need a sweep", "up", "z", "r", "e", "D", "o")
        await answers(prose, pilot, "menu: more keys", "space", "escape")
        await pilot.press("?")
        prose.add("menu: help", dialog_text(pilot.app))
        await pilot.press("x", "slash")
        prose.add("menu: filter", str(pilot.app.screen.query_one("#filter", Input).placeholder))
        await answers(prose, pilot, "menu: filter without a match", "z", "j", "enter", "enter", "E")
        prose.add("menu: no match", part(pilot.app, "picker"))
        await pilot.press("escape", "down", "down")
        prose.add("menu: invalid preset", screen_text(pilot.app))
        await answers(prose, pilot, "menu: keys on an invalid preset", "E")
        await pilot.press("enter")
        prose.add("dialog: invalid preset", dialog_text(pilot.app))


async def sweeps(prose: Prose, home: Path) -> None:
    """Stored sweeps in the menu, and the dialogs about them."""
    finished_sweep(home, "20270114-080000-large")
    running_sweep(home)
    async with BatchscopeApp(home).run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end")
        prose.add("menu: finished sweep", part(pilot.app, "preview"))
        await answers(prose, pilot, "menu: keys on a finished sweep", "r", "o", "down")
        await pilot.press("up")
        prose.add("menu: interrupted sweep", part(pilot.app, "preview"))
        await answers(prose, pilot, "menu: keys on an interrupted sweep", "space")
        await pilot.press("escape", "e")
        prose.add("dialog: export", dialog_text(pilot.app))
        await pilot.press("ctrl+u", "enter")
        await until(pilot, lambda: "name" in dialog_text(pilot.app))
        prose.add("dialog: export without a folder", dialog_text(pilot.app))
        await answers(prose, pilot, "menu: export cancelled", "escape")
        await pilot.press("D")
        prose.add("dialog: delete", dialog_text(pilot.app))
        await answers(prose, pilot, "menu: delete cancelled", "n")


async def form(prose: Prose, home: Path) -> None:
    """The form of an experiment's settings."""
    async with BatchscopeApp(home).run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("down", "E")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditScreen))
        await until(pilot, lambda: "4 trials" in part(pilot.app, "edit-title"))
        prose.add("form", screen_text(pilot.app))
        await answers(prose, pilot, "form: keys", "up", "u", "U", "z", "enter", "down", "escape")
        await pilot.press("down", "enter", "ctrl+u", "x", "enter")
        await until(pilot, lambda: "✗" in part(pilot.app, "edit-title"))
        prose.add("form: a mistake", screen_text(pilot.app))
        await pilot.press("ctrl+u", *"1000000", "enter", "L")
        await until(pilot, lambda: "Not" in last_line(pilot.app))
        prose.add("form: launch of a mistake", last_line(pilot.app))
        await pilot.press("?")
        prose.add("form: help", dialog_text(pilot.app))
        await pilot.press("x", "end")
        prose.add(
            "form: add a setting", part(pilot.app, "edit-key") + part(pilot.app, "edit-notes")
        )
        await pilot.press("escape")
        prose.add("dialog: discard", dialog_text(pilot.app))


async def board(prose: Prose, heading: str, folder: Path, alive: bool, *keys: str) -> None:
    """The lines around the panes, each pane's first rows, and what keys answer."""
    with conductor_of(folder) if alive else nullcontext():
        async with board_on(folder).run_test(size=SMALL) as pilot:
            shown = await loaded(pilot)
            lines = ("title", "status", "notice", "tabs", "summary")
            prose.add(heading, "\n".join(part(pilot.app, name) for name in lines))
            for name, key in PANE_KEYS.items():
                if name != shown.current.NAME:
                    await pilot.press(key)
                text = part(pilot.app, f"pane-{name}")
                prose.add(f"{heading}: {name}", text if len(text.split()) < 20 else _first(text))
            await answers(prose, pilot, f"{heading}: keys", *keys)


def _first(text: str) -> str:
    return text.splitlines()[0]


async def dialogs(prose: Prose, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions and refusals of a board on a running sweep."""
    folder = running_sweep(home)
    (folder / "sweep.toml").write_text(PRESET)
    with conductor_of(folder):
        async with board_on(folder).run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("?")
            prose.add("board: help", dialog_text(pilot.app))
            await pilot.press("x", "o")
            await until(pilot, lambda: isinstance(pilot.app.screen, SweepChooser))
            prose.add("dialog: overlay", dialog_text(pilot.app))
            await pilot.press("escape", "S")
            prose.add("dialog: stop", dialog_text(pilot.app))
            await pilot.press("n", "5", "end", "X")
            prose.add("dialog: skip", dialog_text(pilot.app))
            await pilot.press("n", "a")
            prose.add("dialog: add a batch size", dialog_text(pilot.app))
            for typed in ("0", "32", "16"):
                await pilot.press("ctrl+u", *typed)
                prose.add(f"dialog: add a batch size of {typed}", dialog_text(pilot.app))
            await pilot.press("escape")
            await answers(prose, pilot, "board: keys of trials", "down", "R", "home", "up", "X")
            await answers(prose, pilot, "board: requests", "p")
            await pilot.press("S", "y")
            prose.add("board: stopping", last_line(pilot.app))
            await answers(prose, pilot, "board: keys while it stops", "a", "p")

    def refuse(_: Path) -> None:
        raise MachineProblem("no room on the disk")

    monkeypatch.setattr("batchscope.tui.screens.board_controls.start_conductor", refuse)
    async with board_on(folder).run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(pilot.app.screen, MessageDialog))
        prose.add("dialog: resume failed", dialog_text(pilot.app))


def paused(home: Path) -> Path:
    """A sweep that is paused after one trial of each end."""
    recipe, chosen = Recipe(home, "20270110-080000-paused"), configurations((8, 32), seeds=2)
    recipe.open(chosen)
    recipe.ready(chosen)
    one, two, three, four = (trial for each in chosen for trial in trials_of(each))
    recipe.whole(one)
    recipe.start(two)
    recipe.end(two, "failed", "RuntimeError: out of memory")
    recipe.start(three)
    recipe.end(three, "diverged", "the loss was not finite after epoch 3")
    recipe.end(four, "skipped", "skipped on request")
    recipe.say(ev.SweepPaused())
    return recipe.folder


async def test_all_prose(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("batchscope.tui.screens.edit_form.cores", lambda: 2)
    prose = Prose(tmp_path)
    commands(prose)
    await menu(prose, home)
    await form(prose, home)
    await sweeps(prose, home)
    await dialogs(prose, home, monkeypatch)
    starting = Recipe(home, "20270101-080000-empty")
    await board(prose, "board: nothing yet", starting.folder, True, *TURNS, "c", "X", "R", "r")
    starting.open(configurations())
    starting.say(ev.DataProgress(name="mnist", received=4 << 20, total=10 << 20))
    await board(prose, "board: preparing", starting.folder, True)
    keys = (*TURNS, "T", "z", "S", "r", "p", "a", "escape", "enter", "down")
    finished = finished_sweep(home, "20270102-080000-done")
    await board(prose, "board: finished", finished, False, "1", *keys)
    probed = probed_sweep(home / "other")
    await board(prose, "board: probed", probed, False, "g", "f", "n", "]", "g", "f", "n", "[")
    await board(prose, "board: paused", paused(home), True)
    for state in ("failed", "stopped"):
        recipe = Recipe(home, f"20270103-080000-{state}")
        recipe.open(configurations())
        recipe.close(state, 12, 0, "no route to host" if state == "failed" else "")
        await board(prose, f"board: {state}", recipe.folder, False, "p", "X")
        async with board_on(recipe.folder).run_test(size=SMALL) as pilot:
            ended = (await loaded(pilot)).view.state
        prose.add(f"after leaving: {state}", farewell(recipe.folder, ended))
    with conductor_of(finished):
        prose.add("after leaving: running", farewell(finished))
    golden.check("screens", str(prose))
