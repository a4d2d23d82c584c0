"""The keys of the board that choose what is drawn: configurations, and the metric of a pane."""

from batchscope.tui.config.panes import PANE_KEYS
from batchscope.tui.panes.bars.pane import BarsPane
from batchscope.tui.panes.base import Pane
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.screens.board_controls import NOT_LOADED
from batchscope.tui.screens.board_overlay import OverlayScreen
from batchscope.tui.screens.figure_chooser import FigureChooser
from batchscope.tui.viewmodel.focus import Entry, Focus

FOCUSING = ("hide", "isolate")
"""The actions on the selected configuration, which the curves and the trials select."""
UNPICKED = f"Select a configuration first: ↑ ↓ in pane {PANE_KEYS['curves']}"
UNPICKED += f", or a trial in pane {PANE_KEYS['trials']}"


class FocusScreen(OverlayScreen):
    """A screen of panes in which configurations are hidden and metrics are chosen by name."""

    panes: dict[str, Pane]
    current: Pane

    def _go(self, pane: Pane) -> None:
        """Make a pane the current one."""
        raise NotImplementedError

    def _arrange(self) -> None:
        """Draw the panes again."""
        raise NotImplementedError

    def action_figures(self, name: str) -> None:
        """Ask for the metric that a pane draws, from the list of all of them."""
        pane = self.panes[name]
        assert isinstance(pane, CurvesPane | BarsPane)
        if not self.view.loaded:
            self.say(NOT_LOADED)
            return

        def choose(figure: str | None) -> None:
            if figure is not None and figure in pane.figure_names:
                pane.choose_figure(figure)
                self._go(pane)
                self._arrange()

        chooser = FigureChooser(f"Metric of the {name}", pane.figure_names, pane.figure_name)
        self.app.push_screen(chooser, choose)

    def action_hide(self) -> None:
        """Hide the selected configuration in all panes, or show it again."""
        entry = self._picked()
        self._focused(self.curves.hide(entry) if entry else UNPICKED)

    def action_isolate(self) -> None:
        """Show the selected configuration alone; if any is hidden, show all."""
        entry = self._picked()
        if self.view.focus.hidden:
            self.view.focus = Focus()
            self._focused("")
        else:
            self._focused(self.curves.isolate(entry) if entry else UNPICKED)

    def _picked(self) -> Entry | None:
        """Return the selected configuration of the current pane, if there is one."""
        if self.current is self.curves:
            return self.curves.selected
        trial = self.trial()
        return ("", trial.configuration) if trial else None

    def _focused(self, answer: str) -> None:
        """Draw all panes after configurations were hidden or shown, or show why none was."""
        if answer:
            self.say(answer)
        else:
            self._arrange()
