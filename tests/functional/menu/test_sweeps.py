"""What the menu does with stored sweeps: resume, mark, export, delete; and export on the board."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from batchscope.engine.errors import MachineProblem
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_catalog import find_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.sweeps.launch_file import LAUNCH, Launch, encoded
from batchscope.engine.sweeps.store import SWEEP, sweep_folders, sweep_toml
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.edit import EditScreen
from batchscope.tui.screens.menu import MenuScreen
from batchscope.tui.screens.sweep_actions import draft_of
from batchscope.tui.screens.text_prompt import TextPrompt
from tests.functional.board_fixtures import (
    Recipe,
    conductor_of,
    configurations,
    finished_sweep,
    home,
    running_sweep,
)
from tests.functional.boards import loaded, part, still, until
from tests.functional.menu.menu_fixtures import SMALL, listed, presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets", "here")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def shown(pilot: Pilot[str]) -> str:
    """The text of the dialog, without line breaks."""
    texts = [str(static.render()) for static in pilot.app.screen.query(Static)]
    return " ".join(" ".join(texts).split())


def exportable(folder: Path) -> Path:
    """A sweep with the preset that it ran."""
    (folder / SWEEP).write_text('title = "Batch size in half a minute"\n')
    return folder


async def answered(pilot: Pilot[str], what: str) -> None:
    """Wait until the menu says something in its last line."""
    await until(
        pilot,
        lambda: isinstance(pilot.app.screen, MenuScreen) and what in part(pilot.app, "menu-hints"),
    )


async def dialog(pilot: Pilot[str], kind: type) -> None:
    """Wait until a dialog is open."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))


async def test_keys_for_sweeps_show_a_message_when_no_sweep_is_selected(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        assert "D delete" not in part(app, "menu-hints")
        for key, answer in (
            ("r", "to resume"),
            ("e", "to export"),
            ("D", "to delete"),
            ("space", "marked"),
        ):
            await pilot.press(key)
            assert answer in part(app, "menu-hints")


async def test_the_size_on_disk_is_shown(home: Path) -> None:
    folder = finished_sweep(home)
    size = sum(path.stat().st_size for path in folder.iterdir())
    app = BatchscopeApp(home)
    async with app.run_test(size=(110, 24)) as pilot:
        await listed(pilot)
        await pilot.press("end")
        assert f"on disk   {size / 1024:.0f} KiB" in part(app, "preview")
        assert f"{size / 1024:.0f} KiB" in part(app, "picker")
        assert "enter open  / filter  E edit  e export  space mark  D delete" in part(
            app, "menu-hints"
        )


async def test_r_starts_a_conductor_if_none_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = running_sweep(home)
    begun: list[Path] = []
    monkeypatch.setattr("batchscope.tui.app.start_conductor", begun.append)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end")
        assert "r resumes it" in part(app, "preview")
        assert "r resume" in part(app, "menu-hints")
        await pilot.press("r")
        await answered(pilot, "is running")
    assert begun == [folder]


async def test_r_does_not_resume_running_or_finished_sweeps_and_reports_a_failure(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise MachineProblem("the conductor did not start: [b]no[/b] disk")

    monkeypatch.setattr("batchscope.tui.app.start_conductor", refuse)
    finished_sweep(home, "20270114-080000-large")
    folder = running_sweep(home)
    app = BatchscopeApp(home)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await listed(pilot)
            await pilot.press("end", "r")
            assert "finished" in part(app, "menu-hints")
            await pilot.press("up", "r")
            assert "running already" in part(app, "menu-hints")
            assert "enter opens" in part(app, "preview")
            assert "━━━━━━━━──────────── 5 of 12 finished" in part(app, "preview")
    async with (app := BatchscopeApp(home)).run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "up", "r")
        await dialog(pilot, MessageDialog)
        assert "[b]no[/b] disk" in shown(pilot)


async def test_a_sweep_deleted_meanwhile_is_reported(home: Path) -> None:
    folder = exportable(running_sweep(home))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end")
        folder.rename(home / "elsewhere")
        await pilot.press("r")
        await dialog(pilot, MessageDialog)
        assert "No such file" in shown(pilot)
        await pilot.press("x", "e", "enter")
        await dialog(pilot, MessageDialog)
        assert "could not be exported" in shown(pilot)


async def test_the_reason_of_an_end_is_shown(home: Path) -> None:
    recipe = Recipe(home)
    recipe.open(configurations())
    recipe.close("failed", 12, 0, "no room on the disk: [b]x[/b]\x1b[2J")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end")
        assert "failed: no room on the disk: [b]x[/b]�[2J" in part(app, "preview")


async def test_marks_are_shown_counted_and_cleared(home: Path) -> None:
    for day in (13, 14):
        finished_sweep(home, f"202701{day}-080000-large")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "space", "up", "space")
        lines = [line[:4] for line in part(app, "picker").splitlines() if "finished" in line]
        assert lines == [" ▸*l", "  *l"]
        assert "2 marked" in part(app, "menu-title")
        await pilot.press("space")
        assert "1 marked" in part(app, "menu-title")
        await pilot.press("escape")
        assert "marked" not in part(app, "menu-title")


async def test_the_mark_of_a_deleted_sweep_is_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchscope.tui.screens.menu.AGAIN_SECONDS", 0.05)
    folder = finished_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "space")
        assert "1 marked" in part(app, "menu-title")
        folder.rename(home / "elsewhere")
        await until(pilot, lambda: "none yet" in part(app, "picker"))
        assert "marked" not in part(app, "menu-title")


async def test_o_compares_the_marked_sweeps(home: Path) -> None:
    folders = [finished_sweep(home, f"202701{day}-080000-large") for day in (12, 13, 14)]
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "o")
        assert "with space" in part(app, "menu-hints")
        await pilot.press("space", "o")
        assert "with space" in part(app, "menu-hints")
        await pilot.press("up")
        assert "o compare" in part(app, "menu-hints")
        await pilot.press("space", "up", "o")
        board = await loaded(pilot)
        assert board.folder == folders[1]
        await until(pilot, lambda: len(board.curves.overlays) == 1)
        assert board.curves.overlays[0].folder == folders[0]


async def test_o_overlays_the_only_marked_sweep_on_the_selected_one(home: Path) -> None:
    folders = [finished_sweep(home, f"202701{day}-080000-large") for day in (13, 14)]
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "space", "up", "o")
        board = await loaded(pilot)
        assert board.folder == folders[1]
        await until(pilot, lambda: len(board.curves.overlays) == 1)
        assert board.curves.overlays[0].folder == folders[0]


async def test_d_deletes_the_selected_sweep_after_asking(home: Path) -> None:
    kept = finished_sweep(home, "20270114-080000-large")
    folder = finished_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "up", "D")
        await dialog(pilot, ConfirmDialog)
        assert f"Delete this sweep? {folder.name} 12 of 12 trials" in shown(pilot)
        assert "cannot be undone" in shown(pilot)
        await pilot.press("n")
        assert "Nothing was deleted" in part(app, "menu-hints")
        assert folder.is_dir()
        await pilot.press("D", "y")
        await answered(pilot, "Deleted 1 sweep")
        assert part(app, "picker").count("finished") == 1
        assert f"sweep     {kept.name}" in part(app, "preview")
    assert sweep_folders(home) == [kept]


async def test_d_deletes_all_marked_sweeps_but_none_while_one_runs(home: Path) -> None:
    for day in (10, 11, 12):
        finished_sweep(home, f"202701{day}-080000-large")
    folder = running_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        with conductor_of(folder):
            await pilot.press("end", "space", "up", "space", "up", "up", "space")
            app.listing.look()
            await until(pilot, lambda: "● running" in part(app, "picker"))
            await pilot.press("D")
            assert "is running. Stop it" in part(app, "menu-hints")
            await pilot.press("space", "D")
            await dialog(pilot, ConfirmDialog)
            assert "Delete these 2 sweeps? 20270111" in shown(pilot)
            await pilot.press("y")
            await answered(pilot, "Deleted 2 sweeps")
    assert [path.name[:8] for path in sweep_folders(home)] == ["20270115", "20270112"]


async def test_a_sweep_that_started_meanwhile_is_not_deleted(home: Path) -> None:
    folder = running_sweep(home)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "D")
        await dialog(pilot, ConfirmDialog)
        with conductor_of(folder):
            await pilot.press("y")
            await dialog(pilot, MessageDialog)
            assert "running; stop it first" in shown(pilot)
    assert sweep_folders(home) == [folder]


async def test_e_exports_to_the_typed_folder(home: Path, here: Path) -> None:
    folder = exportable(finished_sweep(home))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "e")
        await dialog(pilot, TextPrompt)
        assert app.screen.query_one(Input).value == str(here / folder.name)
        await pilot.press("enter")
        await dialog(pilot, MessageDialog)
        assert "all 12 trials" in shown(pilot)
        await pilot.press("enter")
        assert isinstance(app.screen, MenuScreen)
    manifest = json.loads((here / folder.name / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert (here / folder.name / "trials.csv").is_file()


async def test_e_refuses_what_the_command_line_refuses(home: Path, here: Path) -> None:
    folder = exportable(finished_sweep(home))
    (here / "full").mkdir()
    (here / "full" / "mine.txt").write_text("x")
    (here / "file").write_text("x")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "e")
        await dialog(pilot, TextPrompt)
        for text, refusal in (
            ("full", "full: holds other files; name another folder"),
            ("file", "file: is a file; name a folder"),
            ("", "name of a folder"),
            ("~nobody-at-all/x", "no such user"),
        ):
            await pilot.press("ctrl+u", *text, "enter")
            await until(pilot, lambda told=refusal: told in shown(pilot))  # type: ignore[misc]
            assert "--" not in shown(pilot)
        await pilot.press("escape")
        await answered(pilot, "Export cancelled")
        await pilot.press("e", "ctrl+u", *"again", "enter")
        await dialog(pilot, MessageDialog)
        await pilot.press("enter", "e", "ctrl+u", *"again", "enter")
        await dialog(pilot, MessageDialog)
    assert [path.name for path in (here / "full").iterdir()] == ["mine.txt"]
    assert json.loads((here / "again" / "manifest.json").read_text())["sweep"] == folder.name


async def test_e_on_the_board_exports_a_running_sweep(home: Path, here: Path) -> None:
    folder = exportable(running_sweep(home))
    app = BatchscopeApp(home, sweep=folder)
    with conductor_of(folder):
        async with app.run_test(size=SMALL) as pilot:
            await loaded(pilot)
            await pilot.press("e")
            await dialog(pilot, TextPrompt)
            await pilot.press("enter")
            await dialog(pilot, MessageDialog)
            assert "5 of 12 trials" in shown(pilot)
        manifest = json.loads((here / folder.name / "manifest.json").read_text())
    assert (manifest["complete"], manifest["state"]) == (False, "running")


async def test_e_on_the_board_before_the_sweep_has_started(
    home: Path, presets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def start(folder: Path) -> None:
        Recipe(folder.parent.parent, folder.name).open(configurations())
        assert begun.wait(60)

    monkeypatch.setattr("batchscope.tui.app.start_conductor", start)
    app = BatchscopeApp(home, preset=load_preset(presets["large"]))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: isinstance(app.screen, BoardScreen))
        await pilot.press("e")
        assert "Nothing to export" in part(app, "hints")
        begun.set()
        await loaded(pilot)


def test_picture_of_the_question(home: Path, snap_compare: Callable[..., bool]) -> None:
    for day in (13, 14):
        finished_sweep(home, f"202701{day}-080000-large")

    async def asked(pilot: Pilot[str]) -> None:
        await listed(pilot)
        await pilot.press("end", "space", "up", "space", "D")
        await dialog(pilot, ConfirmDialog)

    assert snap_compare(BatchscopeApp(home), terminal_size=SMALL, run_before=asked)


@pytest.mark.parametrize("kept", [True, False])
async def test_an_export_says_how_to_get_kept_weights(home: Path, here: Path, kept: bool) -> None:
    folder = exportable(finished_sweep(home))
    if kept:
        path = folder / journal.NAME
        *before, ended, over = path.read_bytes().splitlines(keepends=True)
        last = journal.decode(ended)
        assert isinstance(last, ev.TrialEnded)
        stored = ev.WeightsKept(trial=last.trial, attempt=last.attempt, bytes=8, digest="ab")
        lines = (*before, journal.encode(stored) + b"\n", ended, over)
        path.write_bytes(b"".join(lines))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("end", "e")
        await dialog(pilot, TextPrompt)
        await pilot.press("enter")
        await dialog(pilot, MessageDialog)
        assert (f"--sweep {folder.name} --weights" in shown(pilot)) == kept


async def test_a_stored_sweep_is_run_again_with_edits(home: Path) -> None:
    folder = finished_sweep(home)
    (folder / SWEEP).write_bytes(sweep_toml(find_preset("quickstart", ["seeds=3"])))
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await until(pilot, lambda: "1 stored sweep" in part(app, "menu-title"))
        await pilot.press("end")
        assert "E edit" in part(app, "menu-hints")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, EditScreen))
        await until(pilot, lambda: "trials" in part(app, "edit-title"))
        assert folder.name in part(app, "edit-title")
        before = (folder / SWEEP).read_bytes()
        await pilot.press("slash", *"seeds", "enter", "enter", "ctrl+u", "2", "enter")
        await until(pilot, lambda: "was 3" in part(app, "settings"))
        assert (folder / SWEEP).read_bytes() == before


async def test_a_damaged_sweep_has_no_form(home: Path) -> None:
    (finished_sweep(home) / SWEEP).write_text("[[[")
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await until(pilot, lambda: "1 stored sweep" in part(app, "menu-title"))
        await pilot.press("end", "E")
        await until(pilot, lambda: isinstance(app.screen, MessageDialog))
        assert "cannot be edited" in shown(pilot) or "not valid TOML" in shown(pilot)


def test_a_task_of_a_stored_sweep_is_used_from_where_it_stood(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text('title = "x"\n[task]\nuse = "mine:make"\n')
    launch = Launch(preset="x", task_folder=str(tmp_path / "code"))
    (tmp_path / LAUNCH).write_bytes(encoded(launch))
    assert draft_of(tmp_path).assignments == [f'task.path="{tmp_path / "code"}"']
