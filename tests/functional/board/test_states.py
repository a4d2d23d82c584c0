"""What the board shows of a sweep in each of its states, and the keys that control it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.spec import trials_of
from batchscope.tui.cli.main import run
from batchscope.tui.config.commands import COMMANDS
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.help import Help
from batchscope.tui.screens.menu import MenuScreen
from tests.functional.board_fixtures import (
    EPOCHS,
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    running_sweep,
)
from tests.functional.boards import (
    LARGE,
    SMALL,
    board_on,
    loaded,
    panes_seen,
    part,
    screen_text,
    still,
    until,
)

__all__ = ["home", "still"]

pytestmark = pytest.mark.usefixtures("still")


def preparing(recipe: Recipe) -> None:
    recipe.say(ev.DataProgress(name="mnist", received=4 << 20, total=10 << 20))


def failed(recipe: Recipe) -> None:
    recipe.close("failed", 12, 0, "mnist: cannot be downloaded: no route to host")


def stopped(recipe: Recipe) -> None:
    recipe.close("stopped", 12, 3)


def nothing(_: Recipe) -> None:
    pass


@pytest.mark.parametrize(
    ("then", "alive", "status", "notice"),
    [
        (preparing, True, "◌ preparing 40 % of mnist", ""),
        (nothing, True, "◌ preparing", ""),
        (nothing, False, "! interrupted", "r resumes"),
        (failed, False, "✗ failed after", "no route to host. r runs"),
        (stopped, False, "■ stopped after", "r resumes"),
    ],
)
async def test_each_state_has_a_word_and_a_notice(
    home: Path, then: Callable[[Recipe], None], alive: bool, status: str, notice: str
) -> None:
    recipe = Recipe(home)
    recipe.open(configurations())
    then(recipe)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder if alive else home):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            assert status in part(app, "status")
            assert notice in part(app, "notice")
            assert bool(notice) == bool(app.screen.query_one("#notice").size.height)
            assert ("r resume" in part(app, "hints")) == (not alive)


async def test_a_download_is_shown_where_the_curves_will_be(home: Path) -> None:
    recipe = Recipe(home)
    recipe.open(configurations())
    preparing(recipe)
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            shown = part(app, "pane-curves")
            assert "Downloading mnist" in shown
            assert "4.00 MiB of 10.0 MiB" in shown
            assert shown.count("━") + shown.count("╸") > 9


async def test_a_finished_sweep_says_how_long_it_took(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        assert "✓ finished in 00:39" in part(app, "status")
        assert "ETA" not in part(app, "status")
        assert board.view.elapsed == 39


@pytest.mark.parametrize(
    ("key", "awaited"),
    [
        ("1", "epoch"),
        ("2", "epoch"),
        ("3", "memory"),
        ("4", "epoch"),
        ("5", "trials"),
        ("6", "trials"),
        ("7", "events"),
    ],
)
async def test_an_empty_pane_says_what_is_missing(home: Path, key: str, awaited: str) -> None:
    app = board_on(Recipe(home).folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press(*([] if key == "1" else [key]))
        assert re.search(f"no .*{awaited}.* yet", screen_text(app), re.IGNORECASE)


async def test_the_board_follows_the_journal_as_it_grows(home: Path) -> None:
    recipe, chosen = Recipe(home), configurations()
    app = board_on(recipe.folder)
    with conductor_of(recipe.folder):
        async with app.run_test(size=LARGE) as pilot:
            await loaded(pilot)
            assert "No trials yet" in part(app, "pane-trials")
            recipe.open(chosen)
            recipe.ready(chosen)
            await until(pilot, lambda: "0/12 done" in part(app, "pane-trials"))
            assert "What changes when only the batch size does?" in part(app, "title")
            trial = trials_of(chosen[1])[0]
            recipe.start(trial)
            recipe.epochs(trial, 4)
            await until(pilot, lambda: "epoch 4" in part(app, "pane-curves"))
            recipe.epochs(trial, EPOCHS, first=5)
            recipe.end(trial)
            await until(pilot, lambda: "1/12 done" in part(app, "pane-trials"))
            recipe.close("finished", 12, 1)
            await until(pilot, lambda: "✓ finished" in part(app, "status"))


async def test_a_conductor_that_dies_is_noticed(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        with conductor_of(folder):
            board = await loaded(pilot)
            await until(pilot, lambda: board.view.alive)
        await until(pilot, lambda: "! interrupted" in part(app, "status"))
        assert "r resumes" in part(app, "notice")


async def test_damaged_lines_are_counted_and_shown(home: Path) -> None:
    folder = finished_sweep(home)
    path = folder / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], b"{broken\n", b"\xff\n", *lines[5:]]))
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("7")
        assert "2 damaged" in part(app, "pane-log")
        assert "✓ finished" in part(app, "status")


async def test_an_unreadable_journal_is_reported(home: Path) -> None:
    folder = finished_sweep(home)
    (folder / journal.NAME).unlink()
    (folder / journal.NAME).mkdir()
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        assert "the journal cannot be read: is a folder" in part(app, "notice")


async def test_stop_asks_first_and_no_changes_nothing(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            for no in ("n", "escape"):
                await pilot.press("S")
                assert isinstance(app.screen, ConfirmDialog)
                await pilot.press("x")
                assert isinstance(app.screen, ConfirmDialog)
                await pilot.press(no)
                assert not isinstance(app.screen, ConfirmDialog)
    assert not (folder / "commands.jsonl").exists()


async def test_stop_sends_a_command_and_shows_that_it_waits(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("ctrl+s", "y")
            assert "■ stopping" in part(app, "status")
            assert "Stopping" in part(app, "hints")
    assert json.loads((folder / "commands.jsonl").read_bytes()) == {"command": "stop"}


async def test_stop_without_a_running_sweep_shows_a_message(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("S")
        assert "Nothing to stop" in part(app, "hints")
        await pilot.press("r")
        assert "Nothing to resume" in part(app, "hints")


async def test_resume_starts_a_conductor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = running_sweep(home)
    started: list[Path] = []
    monkeypatch.setattr("batchscope.tui.screens.board_controls.start_conductor", started.append)
    app = board_on(folder)
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("r")
        await until(pilot, lambda: started == [folder])


async def test_a_resume_that_fails_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise MachineProblem("the disk is [b]full[/b]")

    monkeypatch.setattr("batchscope.tui.screens.board_controls.start_conductor", refuse)
    app = board_on(running_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, MessageDialog))
        await pilot.press("x")
        assert app.screen is board


async def test_help_shows_every_key_that_the_registry_has(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=(80, 60)) as pilot:
        await loaded(pilot)
        for key in ("?", "f1"):
            await pilot.press(key)
            assert isinstance(app.screen, Help)
            shown = " ".join(str(app.screen.query_one("Static").render()).split())
            for command in COMMANDS:
                if command.shown and command.place in ("board", "everywhere"):
                    assert " ".join(f"{command.shown} {command.help}".split()) in shown
            await pilot.press("down")
            assert isinstance(app.screen, Help)
            await pilot.press("escape")
            assert isinstance(app.screen, BoardScreen)


async def test_the_palette_offers_the_same_commands_and_runs_them(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        board = await loaded(pilot)
        offered = {command.title for command in app.get_system_commands(board)}
        told = [c.name for c in COMMANDS if c.place in ("board", "everywhere")]
        expected = set(told) - {"Palette"}
        assert offered == expected
        await pilot.press("ctrl+p")
        await pilot.press(*"Pane 5")
        await until(pilot, lambda: app.screen is not board)
        await pilot.pause(0.3)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is board and panes_seen(app) == ["trials"])


async def test_menu_key_goes_to_the_menu(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen))


async def test_an_unused_key_points_to_the_help(home: Path) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=SMALL) as pilot:
        await loaded(pilot)
        await pilot.press("z")
        assert "z does nothing" in part(app, "hints")
        await pilot.press("tab")
        assert "q leave" in part(app, "hints")


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
async def test_leaving_a_running_sweep_says_how_to_return(home: Path, key: str) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press(key)
        (words,) = app.last_words()
    name = folder.name
    for part_of in ("still running", f"`batchscope attach {name}`", f"`batchscope stop {name}`"):
        assert part_of in words


async def test_leaving_from_a_question_leaves(home: Path) -> None:
    folder = running_sweep(home)
    app = board_on(folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("S", "ctrl+c")
        assert "still running" in app.last_words()[0]


async def test_leaving_says_how_a_sweep_ended(home: Path) -> None:
    recipe = Recipe(home, "20270115-080000-stopped")
    recipe.open(configurations())
    stopped(recipe)
    texts = []
    for folder in (finished_sweep(home), recipe.folder):
        app = board_on(folder)
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("q")
        texts += app.last_words()
    assert "finished, 12 of 12 trials finished" in texts[0]
    assert "stopped, 0 of 12 trials finished" in texts[1]
    assert "`batchscope resume 20270115-080000-stopped`" in texts[1]


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_sweep_of_which_all_trials_diverged_says_so_in_each_place(
    home: Path, size: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(home)
    chosen = configurations()
    recipe.open(chosen)
    recipe.ready(chosen)
    why = "the gradient was not finite at or before step 14"
    for configuration in chosen:
        for trial in trials_of(configuration):
            recipe.start(trial)
            recipe.end(trial, "diverged", why)
    recipe.close("finished", 12, 0, "all 12 trials diverged")
    app = board_on(recipe.folder)
    async with app.run_test(size=size) as pilot:
        board = await loaded(pilot)
        status = part(app, "status")
        assert "✗ all diverged in" in status
        assert "finished" not in status
        for place in ("notice", "pane-curves"):
            text = " ".join(part(app, place).replace("│", " ").split())
            assert "all 12 trials diverged" in text
            assert "step 14" in text
            assert "--set train.lr=0.01" in text
        assert "no epoch" not in screen_text(app)
        said = " ".join(board.view.findings.recommendation.split())
        assert said.startswith("No results: all 12 trials diverged")
    assert run(["--home", str(home), "list"]) == 0
    assert "no results: all 12 trials diverged" in capsys.readouterr().out


@pytest.mark.parametrize("size", [SMALL, (120, 35), LARGE])
async def test_the_counts_of_verdicts_have_a_noun(home: Path, size: tuple[int, int]) -> None:
    app = board_on(finished_sweep(home))
    async with app.run_test(size=size) as pilot:
        await loaded(pilot)
        assert re.search(r"claims( \d[✓✗?])+ ", part(app, "status"))
