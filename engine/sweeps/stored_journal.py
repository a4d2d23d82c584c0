"""Reads the journal of a stored sweep, and rebuilds its first event from `sweep.toml` if needed.

One line of the journal states the experiment. If that line is damaged, the preset next to the
journal says the same, unless the rest of the journal contradicts it.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from batchscope.engine.errors import MachineProblem, Problem, UsageProblem, printable
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import trials_of
from batchscope.engine.sweeps.launch_file import read_launch
from batchscope.engine.sweeps.sweep_file import read_preset
from batchscope.engine.system.untrusted_files import is_damage

MEASURED = frozenset(
    {"epochs", "progress", "memory", "probed", "plan", "measured", "paced", "predicted", "note"}
)
"""Kinds of events that say nothing about the experiment, and are most of a journal."""


def reader_of(folder: Path, without: Iterable[str] = (), sweep: str = "") -> journal.Reader:
    """Return a reader of the journal in the folder of a sweep or export.

    Args:
        folder: the folder.
        without: kinds of events to skip.
        sweep: id of the sweep, by default the folder's name.
    """
    opening = partial(_opening, folder, sweep or folder.name)
    return journal.Reader(folder / journal.NAME, without, opening)


def load_state(folder: Path, sweep: str = "") -> SweepState:
    """Read a whole journal into the state of the sweep; arguments as for `reader_of`.

    Raises:
        UsageProblem: something else is in place of the journal, or a later version wrote it.
        MachineProblem: it cannot be read.
    """
    return read_into(SweepState(), reader_of(folder, sweep=sweep))


def read_into(state: SweepState, reader: journal.Reader) -> SweepState:
    """Fold what a reader finds into a state and return it; raises as `load_state`."""
    try:
        for events in reader.batches():
            state.fold(events)
    except OSError as error:
        raise unreadable(reader.path, error) from None
    note_damage(state, reader)
    refuse_later(state, reader.path)
    return state


def note_damage(state: SweepState, reader: journal.Reader) -> None:
    """Record in the state what its reader could not use."""
    state.damaged, state.rebuilt = reader.damaged, reader.rebuilt


def damage_text(lost: int) -> str:
    """Return what the number of lines that could not be used means; empty if it is 0."""
    if not lost:
        return ""
    lines = "1 line of the journal is" if lost == 1 else f"{lost:,} lines of the journal are"
    return f"{lines} damaged and left out, so figures may be missing or wrong"


def unreadable(path: Path, error: OSError) -> Problem:
    """Return the problem to raise for a journal that cannot be read."""
    kind = UsageProblem if is_damage(error) else MachineProblem
    return kind(f"{printable(path)}: {printable(error.strerror or error)}")


def refuse_later(state: SweepState, path: Path) -> None:
    """Raise `UsageProblem` if a later version of the program wrote the journal."""
    if state.journal_version > ev.JOURNAL_VERSION:
        raise UsageProblem(
            f"{printable(path)}: version {state.journal_version} needs a later batchscope "
            f"({printable(state.program)}); this one reads up to {ev.JOURNAL_VERSION}"
        )


def _opening(folder: Path, sweep: str) -> ev.SweepOpened | None:
    """Return the first event of a sweep as `sweep.toml` has it; None if that is not known.

    The preset also has the batch sizes that were added later; the journal says which they are.
    """
    try:
        preset = read_preset(folder)
    except Problem:
        return None
    at, later, named = 0.0, dict[str, None](), set[str]()
    known = {trial.id for each in preset.configurations for trial in trials_of(each)}
    for events in journal.Reader(folder / journal.NAME, without=MEASURED).batches():
        for event in events:
            at = at or event.at
            if isinstance(event, ev.ConfigurationsAdded):
                later |= dict.fromkeys(each.id for each in event.configurations)
                known |= {trial.id for each in event.configurations for trial in trials_of(each)}
            elif isinstance(event, ev.TrialStarted | ev.TrialEnded):
                named.add(event.trial)
    if not named <= known:
        return None
    try:
        notes = read_launch(folder).notes
    except UsageProblem:
        notes = ()
    return ev.SweepOpened(
        at=at,
        id=sweep,
        preset=preset.name,
        title=preset.title,
        question=preset.question,
        source=preset.source,
        configurations=tuple(each for each in preset.configurations if each.id not in later),
        notes=tuple(dict.fromkeys((*notes, *preset.notes))),
        claims=preset.claims,
        selection=preset.selection,
        interpolation=preset.interpolation,
        judging=preset.judging,
    )
