"""Opens a board on a stored sweep, reads its texts, and waits for changes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widget import Widget

from batchscope.tui.app import BatchscopeApp
from batchscope.tui.screens.board import BoardScreen
from batchscope.tui.widgets.rows_widget import Rows
from tests.functional.board_fixtures import NOW

SMALL, LARGE = (80, 24), (160, 45)
PATIENCE = 1000


def board_on(folder: Path) -> BatchscopeApp:
    """Return the app on a stored sweep, with a clock that does not advance."""
    return BatchscopeApp(folder.parent.parent, sweep=folder, clock=lambda: NOW)


def panes_seen(app: BatchscopeApp) -> list[str]:
    """Return the names of the visible panes."""
    assert isinstance(app.screen, BoardScreen)
    return [pane.NAME for pane in app.screen.panes.values() if pane.display]


def gradients(app: BatchscopeApp) -> str:
    """Return the text of the pane of gradients."""
    return part(app, "pane-gradients")


async def until(pilot: Pilot[str], happened: Callable[[], bool]) -> None:
    """Run the app until `happened` returns true; fail if that takes too long."""
    for _ in range(PATIENCE):
        await pilot.pause(0.01)
        if isinstance(pilot.app.screen, BoardScreen):
            pilot.app.screen.redraw()
        if happened():
            await pilot.pause()
            return
    raise AssertionError(f"it did not happen; on the screen:\n{screen_text(pilot.app)}")


def screen_text(app: App[str]) -> str:
    """Return the visible texts of the screen, from top to bottom."""
    return "\n".join(rows.text for rows in app.screen.query(Rows) if _seen(rows))


def _seen(widget: Widget) -> bool:
    """Return whether neither a widget nor what it is in is hidden."""
    around = (each for each in widget.ancestors_with_self if isinstance(each, Widget))
    return all(each.display for each in around)


def part(app: App[str], name: str) -> str:
    """Return the text of one widget of the screen."""
    return app.screen.query_one(f"#{name}", Rows).text


async def loaded(pilot: Pilot[str]) -> BoardScreen:
    """Wait until the board has read its journal, judged the claims and drawn everything."""

    def read() -> bool:
        screen = pilot.app.screen
        return isinstance(screen, BoardScreen) and screen.view.loaded and not screen.view.unjudged

    await until(pilot, read)
    board = pilot.app.screen
    assert isinstance(board, BoardScreen)
    board.redraw()
    await pilot.pause()
    return board


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fix time zone and terminal, and disable the redraw at every second."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("batchscope.tui.screens.board.POLL_SECONDS", 0.1)
    monkeypatch.setattr("batchscope.tui.screens.board.DRAW_SECONDS", 1e6)
    yield
    monkeypatch.undo()
    time.tzset()
