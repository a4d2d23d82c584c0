"""Exporting a stored or running sweep from a screen: where to, then in a thread."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from textual.screen import Screen

from engine.disk import user_path
from engine.export.bundle import check_target, write_export
from engine.problems import Problem, UsageProblem, printable
from engine.state import SweepState
from tui.screens.asking import Asking
from tui.screens.dialog import Message

ABOUT = "A report, tables, findings, sweep.toml and the journal go into this folder:"


def ask_export(screen: Screen[Any], folder: Path, say: Callable[[str], None]) -> None:
    """Ask for a folder and export the sweep in `folder` to it; `say` answers on the screen."""

    def begin(written: str | None) -> None:
        if written is None:
            say("nothing was exported")
            return
        say("exporting…")
        target = target_of(written)
        screen.run_worker(_export(screen, folder, target, say), group="export")

    asked = Asking(
        f"Export {printable(folder.name)}",
        ABOUT,
        str(Path.cwd() / folder.name),
        "export",
        partial(_check, folder.name),
    )
    screen.app.push_screen(asked, begin)


def target_of(written: str) -> Path:
    """The folder that was typed; a link stands for the folder that it leads to.

    Raises:
        UsageProblem: nothing was typed, or it begins with the home of nobody.
    """
    if not written.strip():
        raise UsageProblem("name a folder")
    return Path(os.path.realpath(user_path(written.strip())))


def _check(sweep: str, written: str) -> None:
    """Refuse what the command line refuses, in the words of a dialog."""
    try:
        check_target(target_of(written), sweep, False, mending="")
    except Problem as problem:
        raise UsageProblem(_plain(problem)) from None


async def _export(
    screen: Screen[Any], folder: Path, target: Path, say: Callable[[str], None]
) -> None:
    try:
        state = await asyncio.to_thread(write_export, folder, target)
    except (Problem, OSError) as problem:
        say("")
        screen.app.push_screen(Message("The sweep could not be exported", _plain(problem)))
        return
    say("")
    screen.app.push_screen(Message("Exported", _told(state, target), bad=False))


def _told(state: SweepState, target: Path) -> str:
    done = sum(trial.done for trial in state.trials.values())
    count = len(state.trials)
    some = f"{done} of {count} trials have ended; the manifest says that it is not complete."
    return f"{printable(target)}\n\n" + (
        f"All {count} trials are in its tables." if count and done == count else some
    )


def _plain(problem: Exception) -> str:
    return printable(problem).removeprefix("--export ")
