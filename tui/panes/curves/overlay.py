"""Overlays: the curves of other stored sweeps, drawn over those of the board."""

import string
from pathlib import Path

from batchscope.engine.analysis.figures import preferred
from batchscope.engine.errors import UsageProblem, printable
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launch_file import look_up, read_launch
from batchscope.tui.panes.curves.series import CurveSource
from batchscope.tui.render.units import when
from batchscope.tui.viewmodel.journal_follower import JournalFollower, JournalUpdate
from batchscope.tui.viewmodel.marks import COLOURS, Mark
from batchscope.tui.viewmodel.view import View

GLYPHS = string.ascii_lowercase
DIGITS = string.digits[1:]
"""The markers in ASCII, where letters draw the lines."""


class Overlay:
    """Follows the journal of another sweep, as the board follows its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.title = ""
        self.state = SweepState()
        self._follower = JournalFollower(folder)

    def load(self) -> "Overlay":
        """Read the whole journal; this waits for the disk.

        Raises:
            UsageProblem: the folder has no sweep that can be drawn.
        """
        launch, _ = look_up(self.folder)
        preset = launch.preset if launch else self.folder.name.split("-", 2)[-1]
        self.title = printable(f"{when(self.folder.name)[5:]} {preset}".lstrip())
        self.state, batch = self._follower.load()
        if not self.state.configurations:
            read_launch(self.folder)  # says if it is deleted or damaged
            why = batch.problem or "the sweep has not begun"
            raise UsageProblem(f"{printable(self.folder.name)}: {why}")
        return self

    def poll(self) -> JournalUpdate:
        """Return what is new in the journal; this waits for the disk and draws nothing."""
        return self._follower.poll()

    def take(self, batch: JournalUpdate) -> None:
        """Apply what is new."""
        self.state.fold(batch.events)

    @property
    def stamp(self) -> tuple[str, int]:
        """A value that changes when there is more to draw."""
        return self.folder.name, self.state.version


def sources(view: View, overlays: list[Overlay]) -> list[CurveSource]:
    """Return the overlays with their marks.

    A configuration has the colour of the one with the same label on the board, and another glyph.
    """
    styles = {mark.label: mark.style for mark in view.marks.values()}
    glyphs = DIGITS if view.look.ascii else GLYPHS
    overlaid, used = [], 0
    for overlay in overlays:
        order = preferred(overlay.state)
        marks = {}
        for name in order:
            label = printable(overlay.state.configurations[name].label)
            style = styles.setdefault(label, f"s{len(styles) % COLOURS}")
            marks[name] = Mark(glyphs[used % len(glyphs)], style, label)
            used += 1
        overlaid.append(
            CurveSource(overlay.folder.name, overlay.title, overlay.state, order, marks)
        )
    return overlaid
