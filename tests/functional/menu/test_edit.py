"""Editing the settings of an experiment in the menu, and launching the result."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from batchscope.engine.experiment.draft import Checked, checked
from batchscope.engine.experiment.preset import load_preset, read_toml
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.sweeps.store import SWEEP
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.edit import EditScreen
from batchscope.tui.screens.help import Help
from batchscope.tui.screens.menu import MenuScreen
from tests.functional.board_fixtures import Recipe, configurations, home
from tests.functional.boards import loaded, part, still, until
from tests.functional.menu.menu_fixtures import HOSTILE, PRESET, SMALL, listed, presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets")


async def editing(pilot: Pilot[str]) -> None:
    """The form of the preset `large`, read."""
    await listed(pilot)
    await pilot.press("down", "E")
    await until(pilot, lambda: isinstance(pilot.app.screen, EditScreen))
    await said(pilot, "edit-title", "4 trials")


async def said(pilot: Pilot[str], where: str, what: str) -> None:
    """Wait until a part of the form says something."""
    await until(pilot, lambda: what in part(pilot.app, where))


async def typed(pilot: Pilot[str], key: str, text: str) -> None:
    """Choose a key and replace its value, without taking it."""
    await chosen(pilot, key)
    await pilot.press("enter", "ctrl+u", *text)


async def chosen(pilot: Pilot[str], key: str) -> None:
    """Put the cursor on a key."""
    await pilot.press("home")
    for _ in range(60):
        if any(f"▸ {key} " in f"{line} " or f"▸*{key} " in f"{line} " for line in rows(pilot)):
            return
        await pilot.press("down")
    raise AssertionError(f"{key} is not there:\n{part(pilot.app, 'settings')}")


def rows(pilot: Pilot[str]) -> list[str]:
    """The list of settings."""
    return part(pilot.app, "settings").splitlines()


def line_of(pilot: Pilot[str], key: str) -> str:
    """The line of a key."""
    return next(line for line in rows(pilot) if key in line)


async def test_the_form_shows_what_is_set_and_what_a_value_may_be(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        shown = part(app, "settings")
        assert shown.index("grid.batch_size          [16, 1024]") < shown.index("not set")
        assert "no change" in part(app, "edit-title")
        assert "a list, each entry an integer (at least 1)" in part(app, "edit-notes")
        await chosen(pilot, "train.optimizer")
        assert line_of(pilot, "train.optimizer").endswith('"sgd"')
        assert 'default "sgd"' in " ".join(part(app, "edit-notes").split())


async def test_trials_follow_what_is_typed_and_the_change_is_marked(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await typed(pilot, "grid.batch_size", "[16, 32, 64]")
        await said(pilot, "edit-title", "6 trials, about ")
        await pilot.press("enter")
        assert line_of(pilot, "grid.batch_size").startswith(" ▸*grid.batch_size")
        assert "[16, 32, 64]" in line_of(pilot, "grid.batch_size")
        assert "was [16, 1024]" in line_of(pilot, "grid.batch_size")
        assert "1 change" in part(app, "edit-title")
        await typed(pilot, "seeds", "1")
        await pilot.press("enter")
        await said(pilot, "edit-title", "3 trials, about ")
        assert "2 changes" in part(app, "edit-title")
        await pilot.press("u")
        await said(pilot, "edit-title", "6 trials")
        await pilot.press("U")
        await said(pilot, "edit-title", "4 trials")
        assert "no change" in part(app, "edit-title")
        await pilot.press("U")
        assert "Nothing to reset" in part(app, "edit-hints")
        await pilot.press("u")
        assert "Nothing to reset" in part(app, "edit-hints")


@pytest.mark.parametrize(
    ("key", "text", "problem"),
    [
        ("train.lr", "fast", "train.lr: expected a number (above 0), got 'fast'"),
        ("data.name", "mnits", "did you mean 'mnist'?"),
        ("grid.batch_size", "[16", "is not a TOML value"),
        ("grid.batch_size", "[100000000000000000000]", "grid.batch_size[0]: expected an integer"),
        ("seeds", "1000000", "2,000,000 trials; at most 100,000"),
        ("train.epochs", "", "train: expected one budget"),
    ],
)
async def test_an_error_is_shown_while_typing_and_prevents_a_launch(
    home: Path, key: str, text: str, problem: str
) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await typed(pilot, key, text)
        await until(pilot, lambda: problem in " ".join(part(app, "edit-notes").split()))
        assert "✗" in part(app, "edit-title")
        await pilot.press("enter")
        if key in ("seeds", "train.epochs"):  # right by themselves: another setting may follow
            await pilot.press("L")
            await said(pilot, "edit-hints", "Not launched")
        else:
            await said(pilot, "edit-hints", "Not taken")
            assert app.screen.query_one("#edit-value", Input).has_focus
            assert app.screen.query_one("#edit-value", Input).value == text
        assert isinstance(app.screen, EditScreen)
        assert list((home / "sweeps").iterdir()) == []


async def test_a_search_finds_a_setting_by_what_it_means(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await pilot.press("slash", *"decoupled")
        await until(pilot, lambda: "train.weight_decay" in part(app, "settings"))
        assert "grid.batch_size" not in part(app, "settings")
        await pilot.press("enter", "down", "up", "enter", "ctrl+u", *"0.25", "enter")
        assert "0.25" in line_of(pilot, "train.weight_decay")
        await pilot.press("escape")
        await until(pilot, lambda: "grid.batch_size" in part(app, "settings"))
        assert isinstance(app.screen, EditScreen)
        await pilot.press("slash", *"xyzzy")
        await said(pilot, "settings", "no setting matches")
        await pilot.press("escape")
        await until(pilot, lambda: "xyzzy" not in part(app, "settings"))
        assert "1 change" in part(app, "edit-title")


async def test_the_form_says_what_a_key_means(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await chosen(pilot, "train.sampling")
        await said(pilot, "edit-notes", "permutation of the images")
        await chosen(pilot, "grid.batch_size")
        await said(pilot, "edit-notes", "Images per optimizer step")


async def test_escape_cancels_an_edit_and_arrows_do_not(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await typed(pilot, "seeds", "q?")
        await pilot.press("down")
        assert "enter accepts" in part(app, "edit-hints")
        await pilot.press("escape")
        await said(pilot, "edit-title", "4 trials")
        assert line_of(pilot, "seeds").endswith("2")
        assert "no change" in part(app, "edit-title")


async def test_another_key_is_an_assignment(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await pilot.press("end", "enter", *"gird.lr=[1]")
        await said(pilot, "edit-notes", "unknown key 'gird'; did you mean 'grid'?")
        await pilot.press("enter")
        assert "did you mean 'grid'?" in part(app, "edit-hints")
        await pilot.press("ctrl+u", *"grid.lr=[0.1, 0.2]")
        await said(pilot, "edit-title", "8 trials")
        await pilot.press("enter")
        await until(pilot, lambda: " ▸*grid.lr" in part(app, "settings"))
        assert "was not set" in line_of(pilot, "grid.lr")


async def test_what_is_launched_is_what_set_would_make(
    home: Path, presets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(folder: Path) -> None:
        Recipe(folder.parent.parent, folder.name).open(configurations())

    monkeypatch.setattr("batchscope.tui.app.start_conductor", started)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await typed(pilot, "train.epochs", "")
        await pilot.press("enter")
        await typed(pilot, "train.steps", "40")
        await pilot.press("enter")
        await typed(pilot, "train.optimizer", "adam")
        await pilot.press("enter", "L")
        board = await loaded(pilot)
        assert board.folder is not None
    changes = ["train.epochs=", "train.steps=40", "train.optimizer=adam"]
    expected = find_preset(str(presets["large"]), changes)
    assert read_toml(board.folder / SWEEP) == {"name": "large", **expected.raw}
    assert load_preset(board.folder / SWEEP).configurations == expected.configurations


async def test_leaving_asks_only_if_changes_would_be_lost(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await pilot.press("escape")
        assert isinstance(app.screen, MenuScreen)
        await pilot.press("E")
        await said(pilot, "edit-title", "4 trials")
        await typed(pilot, "seeds", "7")
        await pilot.press("enter", "escape")
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        assert isinstance(app.screen, EditScreen)
        assert "1 change" in part(app, "edit-title")
        await pilot.press("escape", "y")
        assert isinstance(app.screen, MenuScreen)


async def test_help_is_about_the_form_and_other_keys_say_so(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        await pilot.press("z")
        assert "z does nothing here" in part(app, "edit-hints")
        await pilot.press("?")
        assert isinstance(app.screen, Help)
        assert "L           Launch" in str(app.screen.query_one("Static").render())
        await pilot.press("x", "up", "up")
        assert "End" in part(app, "edit-hints")


async def test_a_broken_preset_and_a_sweep_are_not_edited(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "E")
        assert "cannot be edited" in part(app, "menu-hints")


async def test_a_missing_file_is_reported(home: Path, presets: dict[str, Path]) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await editing(pilot)
        presets["large"].unlink()
        await typed(pilot, "seeds", "3")
        await said(pilot, "edit-notes", "no such preset file")
        await pilot.press("escape", "escape", "E")
        await until(pilot, lambda: isinstance(app.screen, MessageDialog))
        assert "no such preset file" in str(app.screen.query_one("Static").render())


async def test_values_are_neither_markup_nor_escape_sequences(
    home: Path, presets: dict[str, Path]
) -> None:
    text = PRESET.format(title=HOSTILE, question="?", group="generalization")
    presets["large"].write_text(text + '[[cells]]\nbatch_size = 8\nlabel = "\\u001b[2J"\n')
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("down", "E")
        await until(pilot, lambda: isinstance(app.screen, EditScreen))
        await said(pilot, "settings", "[red]x[/] \\u001b]0;pwn\\u0007")
        assert "\x1b" not in part(app, "settings")


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (300, 60)])
async def test_any_size(home: Path, size: tuple[int, int]) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("E", "down", "enter", "x", "escape", "end", "u", "?", "x")
        await pilot.resize_terminal(*SMALL)
        await said(pilot, "edit-title", "4 trials")
        assert "▸ add another" in part(app, "settings")


@pytest.mark.parametrize("size", [SMALL, (160, 45)], ids=["80x24", "160x45"])
def test_picture_of_the_form(
    home: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    async def changed(pilot: Pilot[str]) -> None:
        await editing(pilot)
        await typed(pilot, "grid.batch_size", "[16, 64, 256, 1024]")
        await pilot.press("enter")
        await typed(pilot, "train.lr", "-1")
        await said(pilot, "edit-notes", "expected a number")

    assert snap_compare(BatchscopeApp(home), terminal_size=size, run_before=changed)


async def test_a_form_that_is_left_while_its_settings_are_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, left = threading.Event(), threading.Event()
    found: list[Checked] = []

    def slow(path: Path, assignments: list[str]) -> Checked:
        begun.set()
        left.wait(10)
        found.append(checked(path, assignments))
        return found[-1]

    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        monkeypatch.setattr("batchscope.tui.screens.edit.checked", slow)
        await pilot.press("down", "E")
        await until(pilot, lambda: isinstance(app.screen, EditScreen) and begun.is_set())
        form = app.screen
        assert isinstance(form, EditScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen) and not form.children)
        left.set()
        await until(pilot, lambda: bool(found))
        form._draw()
        form.say("what a worker has to say after that")
