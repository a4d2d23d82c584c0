"""The menu: its entries, their previews, and the ways to a board."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.sweeps.store import SWEEP, read_launch, sweep_toml
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import MessageDialog
from batchscope.tui.screens.help import Help
from batchscope.tui.screens.menu import MenuScreen
from tests.functional.board_fixtures import (
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    running_sweep,
)
from tests.functional.boards import loaded, part, screen_text, still, until
from tests.functional.menu.menu_fixtures import HOSTILE, PRESET, SMALL, listed, presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets")


def started_by_recipe(folder: Path) -> None:
    """Stands in for a conductor: writes how a sweep begins."""
    recipe = Recipe(folder.parent.parent, folder.name)
    recipe.open(configurations())


async def test_presets_are_there_with_what_they_will_run(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        shown = part(app, "picker")
        assert shown.index("quickstart") < shown.index("large") < shown.index("broken")
        assert "none yet" in shown
        await pilot.press("down")
        assert " ▸ large" in part(app, "picker")
        preview = part(app, "preview")
        assert "Does a larger batch learn less?" in preview
        assert "MNIST: 60,000 training + 10,000 test images" in preview
        assert "cnn" in preview
        assert "16, 1,024" in preview
        assert "sgd, lr 0.1, 3 epochs" in preview
        assert "2 configurations × 2 seeds = 4 trials" in preview
        assert "about " in preview
        assert "(estimate)" in preview
        assert "Shen 2018" in preview


@pytest.mark.parametrize("changes", [[], ["train.epochs=1"]], ids=["as it is", "edited"])
async def test_the_expected_time_is_the_last_one_of_just_this_preset(
    home: Path, presets: dict[str, Path], changes: list[str]
) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        assert "took" not in screen_text(app)
    recipe = Recipe(home, "20270115-090000-large")
    recipe.open(configurations((16, 1024), seeds=2))
    recipe.at += 754
    recipe.close("finished", 4, 4)
    ran = load_preset(presets["large"], changes)
    (recipe.folder / SWEEP).write_bytes(sweep_toml(ran))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("down")
        await until(pilot, lambda: "stored sweep" in part(app, "menu-title"))
        for where in ("preview", "picker"):
            assert ("took 12:34" in part(app, where)) == (not changes)


async def test_stored_sweeps_are_listed_newest_first_with_their_state(home: Path) -> None:
    finished_sweep(home, "20270114-080000-large")
    folder = running_sweep(home)
    app = BatchscopeApp(home)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await listed(pilot)
            lines = [line for line in part(app, "picker").splitlines() if "of 12 trials" in line]
            assert "● running" in lines[0]
            assert "5 of 12 trials" in lines[0]
            assert "✓ finished" in lines[1]
            assert "12 of 12 trials" in lines[1]
            assert lines[1].endswith("00:39")
            assert "2027-01-14 08:00" in lines[1]
            await pilot.press("end")
            assert "20270114-080000-large" in part(app, "preview")
            await pilot.press("k")
            assert "enter opens" in part(app, "preview")


async def test_an_invalid_preset_shows_its_error_and_does_no_harm(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("j", "j")
        assert "✗ invalid" in part(app, "picker")
        assert "unknown key 'batch'" in " ".join(part(app, "preview").split())
        await pilot.press("enter")
        assert isinstance(app.screen, MessageDialog)
        await pilot.press("space")
        assert isinstance(app.screen, MenuScreen)


async def test_enter_launches_a_preset(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchscope.tui.app.start_conductor", started_by_recipe)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("down", "enter")
        board = await loaded(pilot)
        assert board.folder is not None
        assert board.folder.parent == home / "sweeps"
        assert read_launch(board.folder).preset == "large"
        await until(pilot, lambda: "0/12 done" in part(app, "summary"))


async def test_enter_opens_a_stored_sweep_and_m_returns(home: Path) -> None:
    folder = finished_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "enter")
        board = await loaded(pilot)
        assert board.folder == folder
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen))
        await pilot.press("q")
    assert app.last_words() == []


async def test_leaving_the_menu_names_what_was_left_running(home: Path) -> None:
    folder = running_sweep(home)
    app = BatchscopeApp(home)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await listed(pilot)
            await pilot.press("end", "enter")
            await loaded(pilot)
            await pilot.press("m")
            await until(pilot, lambda: isinstance(app.screen, MenuScreen))
            await pilot.press("q")
        assert "is still running" in app.last_words()[0]


async def test_a_failed_launch_is_explained_and_the_menu_still_works(
    home: Path, presets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise MachineProblem("cuda:7: not on this machine; [b]there is[/b] none")

    monkeypatch.setattr("batchscope.tui.app.start_conductor", refuse)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, MessageDialog))
        said = str(app.screen.query_one("Static").render())
        assert "cuda:7: not on this machine; [b]there is[/b] none" in said
        await pilot.press("enter")
        assert isinstance(app.screen, MenuScreen)
        await listed(pilot)
        await pilot.press("down", "down")
        assert " ▸ broken" in part(app, "picker")


async def test_a_launch_from_the_command_line_that_fails_ends_the_app(
    home: Path, presets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = MachineProblem("cuda:7: not on this machine")

    def refuse(_: Path) -> None:
        raise problem

    monkeypatch.setattr("batchscope.tui.app.start_conductor", refuse)
    app = BatchscopeApp(home, preset=load_preset(presets["quickstart"]))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.failure is not None)
    assert app.failure is problem


async def test_a_preset_given_at_the_start_opens_its_board(
    home: Path, presets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchscope.tui.app.start_conductor", started_by_recipe)
    app = BatchscopeApp(home, preset=load_preset(presets["quickstart"]))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        assert board.folder is not None
        assert read_launch(board.folder).preset == "quickstart"


async def test_the_ends_of_the_list_and_unused_keys_show_a_message(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("up")
        assert "End" in part(app, "menu-hints")
        await pilot.press("z")
        assert "z does nothing here" in part(app, "menu-hints")
        await pilot.press("down")
        assert "enter launch  / filter  E edit" in part(app, "menu-hints")
        await pilot.press("home")
        assert " ▸ quickstart" in part(app, "picker")


async def test_help_and_palette_are_about_the_menu(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        menu = app.screen
        titles = [command.title for command in app.get_system_commands(menu)]
        assert "Open" in titles
        assert "Stop the sweep" not in titles
        await pilot.press("?")
        assert isinstance(app.screen, Help)
        assert "Launch the experiment" in str(app.screen.query_one("Static").render())
        await pilot.press("x")
        assert app.screen is menu


async def test_a_click_selects_and_a_double_click_opens(home: Path) -> None:
    finished_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        row = (
            part(app, "picker")
            .splitlines()
            .index(next(line for line in part(app, "picker").splitlines() if "✓ finished" in line))
        )
        await pilot.click("#picker", offset=(10, row))
        assert "20270115-080000-quickstart" in part(app, "preview")
        app._click_chain_last_time = None  # as if it were long ago
        await pilot.click("#picker", offset=(10, row))
        assert isinstance(app.screen, MenuScreen), "a later click is no double click"
        await pilot.click("#picker", offset=(10, row), times=2)
        await until(pilot, lambda: isinstance(app.screen, BoardScreen))


async def test_a_click_on_a_key_of_the_last_line_presses_it(home: Path) -> None:
    finished_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.click("#menu-hints", offset=(part(app, "menu-hints").index("filter"), 0))
        assert app.screen.query_one("#filter").has_focus
        await pilot.click("#menu-hints", offset=(part(app, "menu-hints").index("esc"), 0))
        assert not app.screen.query_one("#filter").has_focus


async def test_a_long_list_scrolls_with_the_cursor(home: Path) -> None:
    for day in range(10, 29):
        finished_sweep(home, f"202701{day}-080000-large")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        assert part(app, "picker").startswith(" sizes")
        for _ in range(21):
            await pilot.press("down")
            assert " ▸ " in part(app, "picker")
        assert "2027-01-10" in part(app, "picker")
        await pilot.press("home")
        assert part(app, "picker").startswith(" sizes")


async def test_titles_are_neither_markup_nor_escape_sequences(
    home: Path, presets: dict[str, Path]
) -> None:
    presets["large"].write_text(PRESET.format(title=HOSTILE, question=HOSTILE, group=HOSTILE))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("down")
        for name in ("picker", "preview"):
            assert "[red]x[/] �]0;pwn�" in part(app, name)


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (300, 60)])
async def test_any_size(home: Path, size: tuple[int, int]) -> None:
    finished_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await pilot.press("down", "end", "?", "x", "up")
        await pilot.resize_terminal(*SMALL)
        await listed(pilot)
        assert "quickstart" in part(app, "picker")


@pytest.mark.parametrize("size", [SMALL, (160, 45)], ids=["80x24", "160x45"])
def test_picture_of_the_menu(
    home: Path, snap_compare: Callable[..., bool], size: tuple[int, int]
) -> None:
    finished_sweep(home)
    assert snap_compare(BatchscopeApp(home), terminal_size=size, run_before=listed)
