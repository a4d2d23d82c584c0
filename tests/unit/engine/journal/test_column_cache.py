"""Columns beside a journal: what they tell is what the journal tells, or nothing."""

import os
import random
from pathlib import Path

import msgspec
import pytest

from batchscope.engine.journal import column_cache
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import trials_of
from batchscope.tui.viewmodel.journal_follower import JournalFollower
from tests.functional.board_fixtures import (
    EPOCHS,
    Recipe,
    configurations,
    finished_sweep,
    running_sweep,
)

Told = dict[str, object]


@pytest.fixture(autouse=True)
def _every_journal_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_cache, "WORTH_BYTES", 0)


def told(state: SweepState) -> Told:
    """All that a state says, except how often it was told, and what its reader noted."""
    beside = ("version", "said", "damaged")
    found = {name: value for name, value in vars(state).items() if name not in beside}
    found["trials"] = {
        trial.id: {name: getattr(trial, name) for name in trial.__slots__}
        for trial in state.trials.values()
    }
    return found


def by_journal(folder: Path) -> Told:
    return told(SweepState().fold(journal.Reader(folder / journal.NAME).read_all()))


def interrupted_sweep(home: Path) -> Path:
    """Trials in several attempts: stopped and begun anew, gone on from a checkpoint, failed."""
    recipe, chosen = Recipe(home), configurations((8, 32), seeds=2)
    recipe.open(chosen)
    recipe.ready(chosen)
    one, two, three, _ = (trial for configuration in chosen for trial in trials_of(configuration))
    recipe.whole(one)
    recipe.start(two)
    recipe.epochs(two, 5)
    recipe.end(two, "stopped")
    recipe.start(three)
    recipe.epochs(three, 9)
    recipe.close("stopped", 4, 1)
    recipe.say(ev.ConductorStarted(pid=2, machine={}))
    recipe.start(two, attempt=2)
    recipe.epochs(two, EPOCHS, attempt=2)
    recipe.epochs(two, EPOCHS, attempt=2, first=3)
    recipe.say(ev.TrialEnded(trial=two.id, attempt=2, status="finished"))
    events = journal.Reader(recipe.path).read_all()
    began = next(e for e in events if isinstance(e, ev.TrialStarted) and e.trial == three.id)
    recipe.say(msgspec.structs.replace(began, attempt=2, resumed_epochs=6, resumed_steps=6 * 45))
    recipe.epochs(three, 11, attempt=2, first=5)
    recipe.say(ev.TrialEnded(trial=three.id, attempt=2, status="failed", reason="lost"))
    recipe.close("failed", 4, 2)
    return recipe.folder


@pytest.mark.parametrize("make", [finished_sweep, interrupted_sweep, running_sweep])
def test_columns_tell_what_the_journal_tells(tmp_path: Path, make: object) -> None:
    assert callable(make)
    folder = make(tmp_path)
    expected = by_journal(folder)
    column_cache.write(folder)
    found = column_cache.read(folder)
    assert found is not None
    ours = told(found.state)
    if make is running_sweep:  # written when all has ended, so nobody asks for progress
        for trial in (*expected["trials"].values(), *ours["trials"].values()):  # type: ignore[attr-defined]
            trial["progress"] = None
    assert ours == expected
    assert found.offset == (folder / journal.NAME).stat().st_size


def test_what_comes_after_is_read_from_the_journal(tmp_path: Path) -> None:
    folder = finished_sweep(tmp_path)
    column_cache.write(folder)
    with open(folder / journal.NAME, "ab") as file:
        for event in (
            ev.ConductorStarted(pid=3, machine={}, at=1_900_000_000.0),
            ev.Note(text="again", at=1_900_000_001.0),
        ):
            file.write(journal.encode(event) + b"\n")
        file.write(b"nonsense\n")
    follower = JournalFollower(folder)
    state, batch = follower.load()
    assert told(state) == by_journal(folder)
    assert (batch.damaged, batch.problem) == (1, "")
    assert follower.poll().events == []


def test_a_damaged_file_or_another_journal_is_not_believed(tmp_path: Path) -> None:
    folder = finished_sweep(tmp_path)
    column_cache.write(folder)
    path = folder / column_cache.NAME
    whole, draw = path.read_bytes(), random.Random(4)
    for size in (0, 5, 16, 40, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:size])
        assert column_cache.read(folder) is None
    for at in (*range(64), *draw.sample(range(len(whole)), 200)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        assert column_cache.read(folder) is None, at
    path.write_bytes(whole + b"\0" * 8)
    assert column_cache.read(folder) is None
    path.write_bytes(b"bscolumn" + whole[8:-8])  # that of an earlier version, without checksum
    assert column_cache.read(folder) is None
    path.unlink()
    os.mkfifo(path)
    assert column_cache.read(folder) is None
    path.unlink()
    path.write_bytes(whole)
    assert column_cache.read(folder) is not None
    journal_path = folder / journal.NAME
    lines = journal_path.read_bytes()
    journal_path.write_bytes(lines[:-400] + lines[-400:].replace(b"finished", b"FINISHED"))
    assert column_cache.read(folder) is None
    journal_path.write_bytes(lines[:-400])
    assert column_cache.read(folder) is None
    assert told(JournalFollower(folder).load()[0]) == by_journal(folder)


def test_a_short_journal_is_not_worth_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished_sweep(tmp_path)
    monkeypatch.setattr(column_cache, "WORTH_BYTES", (folder / journal.NAME).stat().st_size + 1)
    column_cache.write(folder)
    assert [path.name for path in folder.glob("epochs*")] == []
