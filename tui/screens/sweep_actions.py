"""Exports and deletes stored sweeps from a screen: asks first, then works in a thread."""

import asyncio
import os
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual.screen import Screen

from batchscope.engine.errors import Problem, UsageProblem, printable
from batchscope.engine.experiment.draft import Draft
from batchscope.engine.experiment.toml_literal import literal
from batchscope.engine.export.bundle import check_target, write_export
from batchscope.engine.formatting import shown_size
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.deletion import delete_sweep
from batchscope.engine.sweeps.launch_file import look_up
from batchscope.engine.sweeps.listing import StoredSweep
from batchscope.engine.sweeps.store import SWEEP
from batchscope.engine.system.files import user_path
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.text_prompt import TextPrompt

NAMED = 8


def delete_question(sweeps: Sequence[StoredSweep]) -> ConfirmDialog:
    """Return a dialog that asks whether to delete these sweeps."""
    count = len(sweeps)
    names = [f"{printable(s.id)}  {s.finished} of {s.trials} trials" for s in sweeps[:NAMED]]
    if count > NAMED:
        names.append(f"… and {count - NAMED} more")
    size = shown_size(sum(sweep.bytes for sweep in sweeps))
    what = "this sweep" if count == 1 else f"these {count} sweeps"
    lost = f"This deletes {size} of journal, weights, checkpoints and logs. It cannot be undone."
    return ConfirmDialog(f"Delete {what}?", "\n".join([*names, "", lost]), "delete", "keep")


def delete_all(sweeps: Sequence[StoredSweep]) -> tuple[int, list[str]]:
    """Delete sweeps; return how many were deleted, and an error for each of the others."""
    gone, problems = 0, []
    for sweep in sweeps:
        try:
            delete_sweep(Path(sweep.folder))
            gone += 1
        except Problem as problem:
            problems.append(str(problem))
    return gone, problems


ABOUT = "Folder for report, tables, findings, sweep.toml and journal:"


def ask_export(screen: Screen[Any], folder: Path, say: Callable[[str], None]) -> None:
    """Ask for a folder and export the sweep in `folder` to it; `say` shows the outcome."""

    def begin(written: str | None) -> None:
        if written is None:
            say("Export cancelled")
            return
        say("Exporting…")
        target = target_of(written)
        screen.run_worker(_export(screen, folder, target, say), group="export")

    asked = TextPrompt(
        f"Export {printable(folder.name)}",
        ABOUT,
        str(Path.cwd() / folder.name),
        "export",
        partial(_check, folder.name),
    )
    screen.app.push_screen(asked, begin)


def target_of(written: str) -> Path:
    """Return the folder that was typed, with links resolved.

    Raises:
        UsageProblem: nothing was typed, or the path begins with the home of an unknown user.
    """
    if not written.strip():
        raise UsageProblem("Type the name of a folder")
    return Path(os.path.realpath(user_path(written.strip())))


def _check(sweep: str, written: str) -> None:
    """Check a folder as the command line does, with messages that fit a dialog."""
    try:
        check_target(target_of(written), sweep, False, mending="")
    except Problem as problem:
        raise UsageProblem(_plain(problem)) from None


async def _export(
    screen: Screen[Any], folder: Path, target: Path, say: Callable[[str], None]
) -> None:
    try:
        kept: list[str] = []
        state = await asyncio.to_thread(write_export, folder, target, kept=kept.extend)
    except (Problem, OSError) as problem:
        say("")
        screen.app.push_screen(MessageDialog("The sweep could not be exported", _plain(problem)))
        return
    say("")
    screen.app.push_screen(MessageDialog("Exported", _outcome(state, target, kept), bad=False))


def _outcome(state: SweepState, target: Path, kept: Sequence[str]) -> str:
    done = sum(trial.done for trial in state.trials.values())
    count = len(state.trials) + trials_to_come(state)
    some = f"The tables hold {done} of {count} trials; the others have not ended."
    tables = f"The tables hold all {count} trials." if count and done == count else some
    changed = f"\n\nChanged files were kept as {printable(', '.join(kept))}." if kept else ""
    return f"{printable(target)}\n\n{tables}{changed}{_about_weights(state, target)}"


def _about_weights(state: SweepState, target: Path) -> str:
    """Return a paragraph that says how to get the final weights; empty if none are stored."""
    if state.opened is None or not any(trial.weights for trial in state.trials.values()):
        return ""
    command = shlex.join(
        ["batchscope", "--export", str(target), "--sweep", state.opened.id, "--weights"]
    )
    return f"\n\nThe final weights are stored too; this copies them:\n{printable(command)}"


def _plain(problem: Exception) -> str:
    return printable(problem).removeprefix("--export ")


def draft_of(folder: Path) -> Draft:
    """Return the settings of a stored sweep, to run it again with changes.

    A task is used from where it stood: the stored file lies elsewhere.

    Raises:
        Problem: the file of the sweep cannot be read.
    """
    draft = Draft(folder / SWEEP)
    launch, _ = look_up(folder)
    if launch and launch.task_folder:
        draft.change("task.path", literal(launch.task_folder))
    return draft
