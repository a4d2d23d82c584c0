"""The part of the app that screens use, so that they need not import the app."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from textual.screen import Screen

from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.sweeps.listing import Listing
from batchscope.tui.config.settings import UserSettings
from batchscope.tui.launches import Launches


class AppProtocol(Protocol):
    """The app as its screens see it.

    Attributes:
        settings: the user's settings.
        home: the folder with sweeps and data.
        listing: the sweeps stored there.
        visited: the folders of the sweeps shown so far, in order.
        launches: the starts of conductors that are under way.
    """

    settings: UserSettings
    home: Path
    listing: Listing
    visited: list[Path]
    launches: Launches

    def open_menu(self) -> None:
        """Show the menu."""

    def open_sweep(self, folder: Path) -> None:
        """Show a stored or running sweep."""

    def open_comparison(self, folders: Sequence[Path]) -> None:
        """Show the first of these sweeps, with the curves of the others overlaid."""

    def launch(self, preset: Preset) -> None:
        """Start a new sweep and show it."""

    def conduct(self, folder: Path) -> None:
        """Start a conductor for a sweep.

        Raises:
            MachineProblem: no conductor could be started.
        """

    def give_up(self, problem: Problem) -> None:
        """Report why a sweep cannot be shown."""

    def copy(self, text: str) -> bool:
        """Copy a text to the terminal's clipboard; return False if it is too long for it."""
        ...

    def entitle(self, text: str) -> None:
        """Set the title of the terminal's window."""


def app_of(screen: Screen[Any]) -> AppProtocol:
    """Return the app of a screen."""
    return cast(AppProtocol, screen.app)
