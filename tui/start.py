"""Checks for a terminal and starts the app in it."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.tui.render.ascii import wants_ascii
from batchscope.tui.terminal.output import say

if TYPE_CHECKING:
    from batchscope.engine.experiment.preset import Preset
    from batchscope.engine.sweeps.store import Launch
    from batchscope.tui.config.settings import UserSettings


def has_terminal() -> bool:
    """Return whether input, output and errors are all connected to a terminal."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def show_screen(
    home: Path,
    settings: "UserSettings",
    preset: "Preset | None" = None,
    launch: "Launch | None" = None,
    sweep: Path | None = None,
    others: Sequence[Path] = (),
) -> int:
    """Open the menu, or the board of a preset or a sweep; return the exit code.

    The curves of `others` are overlaid on those of the sweep.
    """
    from batchscope.tui.gc_pause import hold

    hold()
    import msgspec

    from batchscope.engine.sweeps.prewarm import Standby
    from batchscope.tui.app import BatchscopeApp
    from batchscope.tui.terminal.escapes import NO_PIXELS, RESTORE_TITLE
    from batchscope.tui.terminal.termination import left_by_signals

    settings = msgspec.structs.replace(settings, ascii=wants_ascii(settings.ascii))
    standby = Standby(launch.device, launch.workers) if launch else Standby()
    app = BatchscopeApp(
        home,
        preset=preset,
        launch=launch,
        sweep=sweep,
        others=others,
        settings=settings,
        standby=standby,
    )
    with left_by_signals(app.leave_soon) as caught:
        try:
            farewell = app.run(mouse=settings.mouse)
        finally:
            with contextlib.suppress(OSError):  # the terminal may be gone
                tail = (RESTORE_TITLE if app.titled else "") + (NO_PIXELS if settings.mouse else "")
                print(tail, end="", file=sys.__stderr__, flush=True)
            standby.end()
        if app.failure:
            raise app.failure
        if farewell:
            with contextlib.suppress(OSError):
                say(*farewell.split("\n"))
        return caught.exit_code if caught.number else app.return_code or 0
