"""Deleting stored sweeps from the menu: what is asked first, and the deed in a thread."""

from collections.abc import Sequence
from pathlib import Path

from engine.listing import StoredSweep
from engine.problems import Problem, printable
from engine.removal import delete_sweep
from engine.sizes import shown_size
from tui.screens.dialog import Question

NAMED = 8


def delete_question(sweeps: Sequence[StoredSweep]) -> Question:
    """Names what would go."""
    count = len(sweeps)
    names = [f"{printable(s.id)}  {s.finished} of {s.trials} trials" for s in sweeps[:NAMED]]
    if count > NAMED:
        names.append(f"… and {count - NAMED} more")
    size = shown_size(sum(sweep.bytes for sweep in sweeps))
    what = "this sweep" if count == 1 else f"these {count} sweeps"
    lost = f"Journal, checkpoints and logs go from the disk, {size}; there is no way back."
    return Question(f"Delete {what}?", "\n".join([*names, "", lost]), "delete", "keep")


def delete_all(sweeps: Sequence[StoredSweep]) -> tuple[int, list[str]]:
    """Delete one after the other; how many went, and why others did not."""
    gone, problems = 0, []
    for sweep in sweeps:
        try:
            delete_sweep(Path(sweep.folder))
            gone += 1
        except Problem as problem:
            problems.append(str(problem))
    return gone, problems
