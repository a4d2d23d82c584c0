"""Compares the code that a stored sweep has trained with to the files as they are now.

Nothing is imported: the journal holds the digest of every module that was run, and the names of the
task's metrics and layers. So a resume that must fail is refused before any process is started, and
the sweep stays as it was.
"""

from pathlib import Path

from batchscope.engine.errors import Problem, UsageProblem
from batchscope.engine.experiment.task_facts_check import refuse_unknown
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launch_file import look_up
from batchscope.engine.sweeps.stored_journal import load_state
from batchscope.engine.sweeps.sweep_file import read_preset
from batchscope.engine.tasks.code_digests import code_changed
from batchscope.engine.tasks.module_digests import digest_of_file


def refuse_code(folder: Path, accepts: bool = False, state: SweepState | None = None) -> None:
    """Refuse to go on with a sweep whose code has changed, or lacks what its preset names.

    Args:
        folder: the sweep's folder.
        accepts: whether changed code is accepted.
        state: its state, where it is known already.

    Raises:
        CodeRefused: files have changed; the message names them and says what to do.
        UsageProblem: the preset names a metric or a layer that the task does not have.
        MachineProblem: the journal cannot be read.
    """
    launch, _ = look_up(folder)
    if launch is None or not launch.task_folder:
        return
    state = state or load_state(folder)
    _refuse_names(folder, state)
    if not accepts and (changed := _changed_files(Path(launch.task_folder), state)):
        raise code_changed(changed, folder.name)


def code_refusal(folder: Path, state: SweepState) -> str:
    """Return why a sweep cannot go on with its code as it is; empty if it can."""
    try:
        refuse_code(folder, state=state)
    except Problem as problem:
        return str(problem)
    return ""


def _refuse_names(folder: Path, state: SweepState) -> None:
    """Refuse names that a run of the task's function has shown not to exist."""
    try:
        preset = read_preset(folder)
    except Problem:  # who resumes the sweep says what is wrong with it
        return
    for name, ready in state.data.items():
        if ready.task is None:
            continue
        try:
            refuse_unknown(preset, name, ready.task)
        except UsageProblem as problem:
            raise UsageProblem(
                f"{problem}; this sweep cannot go on: correct the preset or the task, and start a "
                "new one"
            ) from None


def _changed_files(code: Path, state: SweepState) -> list[str]:
    """Return the modules that are other files now than those that were run, by name.

    One that is missing may be written by the code itself; a run of the code tells.
    """
    known = {
        name: digest
        for ready in state.data.values()
        if ready.task
        for name, digest in ready.task.digests
    }
    now = {name: digest_of_file(code / name) for name in known}
    return sorted(name for name, digest in known.items() if now[name] not in ("", digest))
