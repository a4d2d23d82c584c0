"""Whether a screen can be drawn, and the app that draws it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tui.plain import wants_ascii

if TYPE_CHECKING:
    from engine.catalog import Launch
    from engine.reading import Preset
    from tui.settings import Settings


def has_terminal() -> bool:
    """Whether a board can be drawn: a screen to write on and a keyboard to read."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def show_screen(
    home: Path,
    settings: "Settings",
    preset: "Preset | None" = None,
    launch: "Launch | None" = None,
    sweep: Path | None = None,
    others: Sequence[Path] = (),
) -> int:
    """Open the menu, or the board of a preset or a sweep; returns the exit code.

    The curves of `others` are laid over those of the sweep.
    """
    from tui.collecting import hold

    hold()
    import msgspec

    from engine.warming import Standby
    from tui.app import BatchscopeApp
    from tui.escapes import RESTORE_TITLE

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
    try:
        farewell = app.run(mouse=settings.mouse)
    finally:
        standby.end()
        if app.titled and sys.__stderr__:
            print(RESTORE_TITLE, end="", file=sys.__stderr__, flush=True)
    if app.failure:
        raise app.failure
    if farewell:
        print(farewell)
    return app.return_code or 0
