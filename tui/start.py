"""Checks for a terminal and starts the app in it."""

import contextlib
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from batchscope.tui.render.ascii import wants_ascii
from batchscope.tui.terminal.output import say

if TYPE_CHECKING:
    from batchscope.engine.experiment.preset import Preset
    from batchscope.engine.sweeps.store import Launch
    from batchscope.tui.config.settings import UserSettings


QUIET_SECONDS = 0.5
"""How long the end waits for a sweep that is being started before it says so."""
MOST_CELLS = {"COLUMNS": 2000, "LINES": 1000}
"""The largest size of a screen that is taken from these variables."""


def drop_absurd_size(environ: MutableMapping[str, str]) -> None:
    """Remove COLUMNS or LINES if a screen of that size would never be drawn in time."""
    for name, most in MOST_CELLS.items():
        written = environ.get(name, "").strip().lstrip("0_+")
        if len(written) > 4 or (written.isdecimal() and int(written) > most):
            del environ[name]


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
    drop_absurd_size(os.environ)
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
    with left_by_signals(app.leave_soon, app.last_words) as caught:
        try:
            app.run(mouse=settings.mouse)
        finally:
            with contextlib.suppress(OSError):  # the terminal may be gone
                tail = (RESTORE_TITLE if app.titled else "") + (NO_PIXELS if settings.mouse else "")
                print(tail, end="", file=sys.__stderr__, flush=True)
            with contextlib.suppress(OSError):
                if not app.launches.finish(QUIET_SECONDS):
                    say("A sweep is being started and will run on…")
            app.launches.close()
            standby.end()
        if app.failure:
            raise app.failure
        with contextlib.suppress(OSError):
            say(*app.last_words())
        return caught.exit_code if caught.number else app.return_code or 0
