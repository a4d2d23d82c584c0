"""What screens ask of the app that shows them, so that they need not know which one it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from textual.screen import Screen

from batchscope.engine.errors import Problem
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.sweeps.listing import Listing
from batchscope.tui.config.settings import UserSettings


class AppProtocol(Protocol):
    """A viewer of sweeps.

    Attributes:
        home: the folder that holds sweeps and data.
        listing: the sweeps that are stored there.
        visited: those that were shown, in their order.
    """

    settings: UserSettings
    home: Path
    listing: Listing
    visited: list[Path]

    def open_menu(self) -> None:
        """Show the menu."""

    def open_sweep(self, folder: Path) -> None:
        """Show a stored or running sweep."""

    def open_comparison(self, folders: Sequence[Path]) -> None:
        """Show the first of these sweeps, with the curves of the others over its own."""

    def launch(self, preset: Preset) -> None:
        """Begin a new sweep and show it."""

    def conduct(self, folder: Path) -> None:
        """Have a conductor take charge of a sweep.

        Raises:
            MachineProblem: none could be started.
        """

    def give_up(self, problem: Problem) -> None:
        """Say why a sweep cannot be shown."""

    def copy(self, text: str) -> bool:
        """Hand a text to the terminal's clipboard; False where it is too long for that."""
        ...

    def entitle(self, text: str) -> None:
        """Give the terminal's window this title."""


def app_of(screen: Screen[Any]) -> AppProtocol:
    """The app that shows a screen."""
    return cast(AppProtocol, screen.app)
