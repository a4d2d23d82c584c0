"""The curves of other stored sweeps over those of the board."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from batchscope.engine.errors import Problem, printable
from batchscope.tui.panes.curves.overlay import Overlay
from batchscope.tui.panes.curves.pane import CurvesPane
from batchscope.tui.screens.board_controls import ControlScreen
from batchscope.tui.screens.sweep_chooser import SweepChooser


class OverlayScreen(ControlScreen):
    """A screen with a pane of curves that other sweeps can be laid over."""

    curves: CurvesPane

    def action_overlay(self) -> None:
        """Ask which sweeps to lay over this one, if there are others."""
        self.run_worker(self._choose(), name="overlay", group="overlay", exclusive=True)

    async def lay_over(self, folders: Sequence[Path]) -> None:
        """Draw the curves of these sweeps too, and of no others; what cannot be drawn is said."""
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
            self.say("not laid over: " + "; ".join(problems))

    async def poll_overlays(self) -> None:
        """Take in what came of the sweeps that are laid over."""
        for overlay in self.curves.overlays:
            overlay.take(await asyncio.to_thread(overlay.poll))

    async def _choose(self) -> None:
        stored = await asyncio.to_thread(self.batchscope.listing.look)
        here = self.folder.name if self.folder else ""
        others = [sweep for sweep in stored if sweep.id != here]
        if not others:
            self.say("no other sweep is stored that could be laid over this one")
            return
        marked = {overlay.folder.name for overlay in self.curves.overlays}
        title = "Which sweeps to lay over these curves?"
        chosen = await self.app.push_screen_wait(SweepChooser(title, others, marked))
        if chosen is not None:
            await self.lay_over(chosen)
