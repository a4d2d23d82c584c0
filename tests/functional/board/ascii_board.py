"""A board in ASCII or not."""

from pathlib import Path

from batchscope.tui.app import BatchscopeApp
from batchscope.tui.config.settings import UserSettings
from tests.functional.board_fixtures import NOW

SMALL, LARGE = (80, 24), (160, 45)


def board_on(folder: Path, ascii_only: bool = False) -> BatchscopeApp:
    """The app on a stored sweep, at a moment that stands still."""
    settings = UserSettings(ascii=ascii_only)
    return BatchscopeApp(folder.parent.parent, sweep=folder, clock=lambda: NOW, settings=settings)
