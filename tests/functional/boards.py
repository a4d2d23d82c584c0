"""A board on a sweep that is stored, in a small and in a large terminal."""

from pathlib import Path

from tests.functional.board_fixtures import NOW, part
from tui.app import BatchscopeApp
from tui.screens.board import BoardScreen

SMALL, LARGE = (80, 24), (160, 45)


def board_on(folder: Path) -> BatchscopeApp:
    """The app on a stored sweep, at a moment that stands still."""
    return BatchscopeApp(folder.parent.parent, sweep=folder, clock=lambda: NOW)


def panes_seen(app: BatchscopeApp) -> list[str]:
    """The panes that are on the screen."""
    assert isinstance(app.screen, BoardScreen)
    return [pane.TAB for pane in app.screen.panes if pane.display]


def gradients(app: BatchscopeApp) -> str:
    """What the pane of gradients shows."""
    return part(app, "pane-gradients")
