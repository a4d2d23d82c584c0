"""Overlays the curves of other stored sweeps on those of the board."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from batchscope.engine.errors import Problem, printable
from batchscope.tui.panes.curves.overlay import Overlay
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.screens.board_controls import ControlScreen
from batchscope.tui.screens.sweep_chooser import SweepChooser


class OverlayScreen(ControlScreen):
    """A screen with curves on which other sweeps can be overlaid."""

    curves: CurvesPane

    def action_overlay(self) -> None:
        """Ask which sweeps to overlay, if there are others."""
        self.run_worker(self._choose(), name="overlay", group="overlay", exclusive=True)

    async def lay_over(self, folders: Sequence[Path]) -> None:
        """Overlay exactly these sweeps; report those that cannot be read."""
        known = {overlay.folder: overlay for overlay in self.curves.overlays}
        overlays: list[Overlay] = []
        problems: list[str] = []
        for folder in folders:
            try:
                if folder not in known:
                    known[folder] = await asyncio.to_thread(Overlay(folder).load)
                overlays.append(known[folder])
            except Problem as problem:
                problems.append(str(problem))
            except OSError as error:
                problems.append(f"{printable(folder.name)}: {printable(error.strerror or error)}")
        self.curves.overlays = overlays
        self.redraw()
        if problems:
            self.say("Not overlaid: " + "; ".join(problems))

    async def poll_overlays(self) -> None:
        """Read the new events of the overlaid sweeps."""
        for overlay in self.curves.overlays:
            overlay.take(await asyncio.to_thread(overlay.poll))

    async def _choose(self) -> None:
        stored = await asyncio.to_thread(self.batchscope.listing.look)
        here = self.folder.name if self.folder else ""
        others = [sweep for sweep in stored if sweep.id != here]
        if not others:
            self.say("No other stored sweep to overlay")
            return
        marked = {overlay.folder.name for overlay in self.curves.overlays}
        title = "Sweeps to overlay"
        chosen = await self.app.push_screen_wait(SweepChooser(title, others, marked))
        if chosen is not None:
            await self.lay_over(chosen)
