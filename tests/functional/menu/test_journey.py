"""From the menu through a real sweep: edited, launched, exported, deleted, with real processes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from batchscope.engine.sweeps.launcher import wait_until_free
from batchscope.engine.sweeps.store import conductor_lives, home_folder, sweep_folders
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.edit import EditScreen
from batchscope.tui.screens.menu import MenuScreen
from batchscope.tui.screens.text_prompt import TextPrompt
from tests.functional.boards import loaded, part, still

__all__ = ["still"]
pytestmark = [
    pytest.mark.usefixtures("still"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]
"""A conductor outlives whoever started it: that is its point."""
ROUNDS = 1200


async def until(pilot: Pilot[str], happened: Callable[[], bool]) -> None:
    """Let the app go on until something has happened; real processes take their time."""
    for _ in range(ROUNDS):
        await pilot.pause(0.05)
        if happened():
            return
    raise AssertionError("it did not happen")


async def set_to(pilot: Pilot[str], assignment: str) -> None:
    """Set any key by the last row of the form."""
    await pilot.press("end", "enter", *assignment, "enter")
    await pilot.pause()


async def test_edit_launch_export_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_folder(str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    app = BatchscopeApp(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "quickstart" in part(app, "picker"))
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, EditScreen))
        for assignment in ("seeds=1", "grid.batch_size=[512]", "train.epochs=2"):
            await set_to(pilot, assignment)
        await until(pilot, lambda: "1 trial, about" in part(app, "edit-title"))
        await pilot.press("L")
        board = await loaded(pilot)
        folder = board.folder
        assert folder is not None
        try:
            await until(pilot, lambda: board.view.phase == "finished")
        finally:
            wait_until_free(folder, 30)
        assert not conductor_lives(folder)
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen))
        await until(pilot, lambda: "1 stored sweep" in part(app, "menu-title"))
        await pilot.press("end", "e")
        await until(pilot, lambda: isinstance(app.screen, TextPrompt))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MessageDialog))
        await pilot.press("enter", "D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: sweep_folders(home) == [])
    manifest = json.loads((tmp_path / folder.name / "manifest.json").read_text())
    assert (manifest["state"], manifest["complete"], manifest["trials"]) == ("finished", True, 1)
    rows = (tmp_path / folder.name / "trials.csv").read_text().splitlines()
    assert len(rows) == 2
    assert "finished,512" in rows[1]
