"""Presets of the current and of a personal folder in the menu, and the question of trust."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from textual.pilot import Pilot

from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.sweeps.store import LAUNCH
from batchscope.engine.sweeps.trust import TrustQuestion, trusted_folders
from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.screens.dialog import MessageDialog
from batchscope.tui.screens.edit import EditScreen
from batchscope.tui.screens.menu import MenuScreen
from batchscope.tui.screens.trust_dialog import TrustDialog
from tests.functional.board_fixtures import Recipe, configurations, home, running_sweep
from tests.functional.boards import LARGE, SMALL, board_on, loaded, part, still, until
from tests.functional.menu.menu_fixtures import HOSTILE, listed, presets

__all__ = ["home", "presets", "still"]
pytestmark = pytest.mark.usefixtures("still", "presets", "folders")

TASK = """
title = "{title}"
seeds = 2
[task]
use = "mine:make"
[train]
lr = 0.1
epochs = 3
[grid]
batch_size = [16, 64]
"""
MODULE = """
raise SystemExit("this file is never run here")

def make(seed, width=64): ...
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A current folder and a personal one, each with a preset of a task."""
    current, config = tmp_path / "here", tmp_path / "config"
    personal = config / "presets"
    for folder in (current, personal):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "mine.py").write_text(MODULE)
    (current / "ours.toml").write_text(TASK.format(title="A network of one's own"))
    (current / "bad.toml").write_text(TASK.format(title="Bad").replace("mine:make", "mine:mak"))
    (current / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (personal / "mine.toml").write_text(TASK.format(title="Everywhere"))
    (config / "settings.toml").write_text("")
    monkeypatch.chdir(current)
    monkeypatch.setenv("BATCHSCOPE_CONFIG", str(config))
    return current, personal


def started(folder: Path) -> None:
    """Stands in for a conductor: writes how a sweep begins."""
    Recipe(folder.parent.parent, folder.name).open(configurations())


async def asked(pilot: Pilot[str]) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, TrustDialog))


def question(app: BatchscopeApp) -> str:
    return " ".join(str(app.screen.query_one("Static").render()).split())


async def test_own_presets_are_offered_first_with_their_origin(
    home: Path, folders: tuple[Path, Path]
) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=LARGE) as pilot:
        await listed(pilot)
        text = part(app, "picker")
        assert text.index("this folder") < text.index("ours") < text.index("bad")
        assert text.index("bad") < text.index("your presets") < text.index("Everywhere")
        assert text.index("Everywhere") < text.index("quickstart")
        assert "project" not in text
        assert "▸ ours" in text
        preview = part(app, "preview")
        assert "mine:make" in preview
        assert "asks" in preview
        assert all(str(folder.name) in text for folder in folders)


async def test_a_broken_preset_of_ones_own_says_why_in_its_line(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=LARGE) as pilot:
        await listed(pilot)
        (line,) = (each for each in part(app, "picker").splitlines() if " bad " in each)
        assert "✗" in line
        assert "no function 'mak'" in line
        await pilot.press("down", "enter")
        assert isinstance(app.screen, MessageDialog)
        await pilot.press("space", "E")
        assert "cannot be edited" in part(app, "menu-hints")


async def test_a_preset_that_appears_or_is_mended_is_seen(
    home: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchscope.tui.screens.menu.AGAIN_SECONDS", 0.05)
    app = BatchscopeApp(home)
    async with app.run_test(size=LARGE) as pilot:
        await listed(pilot)
        (folders[0] / "late.toml").write_text(TASK.format(title="A late one"))
        await until(pilot, lambda: "A late one" in part(app, "picker"))
        assert "▸ ours" in part(app, "picker")
        (folders[0] / "mine.py").write_text(
            MODULE.replace("def make", "def mak(seed): ...\ndef make")
        )
        await until(pilot, lambda: "✗" not in part(app, "picker").split("your presets")[0])


async def test_a_folder_without_presets_has_no_heading(
    home: Path, folders: tuple[Path, Path]
) -> None:
    for folder in folders:
        shutil.rmtree(folder)
    app = BatchscopeApp(home)
    async with app.run_test(size=LARGE) as pilot:
        await listed(pilot)
        assert "this folder" not in part(app, "picker")
        assert "your presets" not in part(app, "picker")


async def test_code_is_run_only_after_t(
    home: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchscope.tui.app.start_conductor", started)
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("enter")
        await asked(pilot)
        text = question(app)
        assert str(folders[0]) in text
        assert "owner" in text
        assert "(you)" in text
        await pilot.press("enter", "y", "n", "space")
        assert isinstance(app.screen, TrustDialog)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, MenuScreen))
        assert "Not started" in part(app, "menu-hints")
        assert not trusted_folders(home)
        assert not list((home / "sweeps").glob("*"))
        await pilot.press("enter")
        await asked(pilot)
        await pilot.press("t")
        board = await loaded(pilot)
        assert board.folder is not None
        assert board.folder.name.endswith("-ours")
    assert [each.path for each in trusted_folders(home)] == [str(folders[0])]
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        assert "trusted" in part(app, "preview")
        await pilot.press("enter")
        await loaded(pilot)


async def test_the_form_asks_too_and_stays_open(home: Path) -> None:
    app = BatchscopeApp(home)
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, EditScreen))
        await until(pilot, lambda: "4 trials" in part(app, "edit-title"))
        assert "task.use" in part(app, "settings")
        await pilot.press("L")
        await asked(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, EditScreen))
        assert "Not started" in part(app, "edit-hints")


async def test_a_folder_that_others_may_write_to_is_not_offered_for_trust(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory(dir="/tmp") as name:  # one that others can reach
        folder = Path(name)
        (folder / "mine.py").write_text(MODULE)
        (folder / "ours.toml").write_text(TASK.format(title="A network of one's own"))
        folder.chmod(0o777)
        monkeypatch.chdir(folder)
        app = BatchscopeApp(home)
        async with app.run_test(size=SMALL) as pilot:
            await listed(pilot)
            assert "cannot be trusted" in part(app, "preview")
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, MessageDialog))
            await pilot.press("t")
            assert not trusted_folders(home)
            assert isinstance(app.screen, MenuScreen)


async def test_a_preset_given_at_the_start_is_asked_about_and_esc_leaves(
    home: Path, folders: tuple[Path, Path]
) -> None:
    app = BatchscopeApp(home, preset=load_preset(folders[0] / "ours.toml"))
    async with app.run_test(size=SMALL) as pilot:
        await asked(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app.failure is not None)
    assert "trusted" in str(app.failure)
    assert not list((home / "sweeps").glob("*"))


@pytest.mark.parametrize("place", ["menu", "board"])
async def test_a_resume_asks_too(home: Path, folders: tuple[Path, Path], place: str) -> None:
    folder = running_sweep(home)
    launch = json.loads((folder / LAUNCH).read_bytes())
    (folder / LAUNCH).write_text(json.dumps({**launch, "task_folder": str(folders[0])}))
    app = board_on(folder) if place == "board" else BatchscopeApp(home)
    async with app.run_test(size=LARGE) as pilot:
        if place == "board":
            await loaded(pilot)
        else:
            await until(pilot, lambda: "stored sweep" in part(app, "menu-title"))
            await pilot.press("end")
        await pilot.press("r")
        await asked(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, BoardScreen | MenuScreen))
    assert not trusted_folders(home)


async def test_names_from_files_cannot_change_the_screen(
    home: Path, folders: tuple[Path, Path]
) -> None:
    name = json.loads(f'"{HOSTILE}"').replace("/", "")
    (folders[0] / f"{name}.toml").write_text(TASK.format(title=HOSTILE))
    app = BatchscopeApp(home)
    async with app.run_test(size=LARGE) as pilot:
        await listed(pilot)
        assert "\x1b" not in part(app, "picker")


def test_picture_of_the_question(
    home: Path, snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    question = TrustQuestion(
        Path("/home/ada/mine"),
        "This preset runs code from /home/ada/mine. Trust this folder, with all that is in it now "
        "and later?",
    )
    monkeypatch.setattr("batchscope.tui.screens.trust_dialog.owner", lambda _: "ada (you)")
    monkeypatch.setattr("batchscope.tui.screens.trust_dialog.is_mine", lambda _: True)
    monkeypatch.chdir(home)
    monkeypatch.setenv("BATCHSCOPE_CONFIG", str(home / "none" / "settings.toml"))

    async def ask(pilot: Pilot[str]) -> None:
        await listed(pilot)
        await pilot.app.push_screen(TrustDialog(question))

    assert snap_compare(BatchscopeApp(home), terminal_size=SMALL, run_before=ask)
