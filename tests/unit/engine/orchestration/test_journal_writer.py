"""Which events of workers are recorded, and when checkpoints are removed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.orchestration.journal_writer import JournalWriter
from tests.unit.training_fixtures import configuration, ended, epochs, opened, record, started

OF = configuration(64, seeds=2)
NAME = "b64-s0"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path)
    for event in [*opened([OF]), started(OF)]:
        made.heard(event)
    yield made
    made.close()


def lines(folder: Path) -> list[ev.AnyEvent]:
    return journal.Reader(folder / journal.NAME).read_all()[4:]


def last(*numbers: int, seed: int = 0) -> ev.AnyEvent:
    event = epochs(OF, *map(record, numbers), seed=seed)
    assert isinstance(event, ev.EpochsFinished)
    return replace(event, last=True)


def test_the_last_epochs_are_written_with_the_end_and_not_before(
    ledger: JournalWriter, tmp_path: Path
) -> None:
    ledger.heard(started(OF, seed=1))
    ledger.heard(last(1, 2))
    ledger.heard(last(1, seed=1))
    assert [type(event) for event in lines(tmp_path)] == [ev.TrialStarted, ev.TrialStarted]
    assert len(ledger.state.trials[NAME].records) == 0
    ledger.heard(ended(OF))
    assert [type(event) for event in lines(tmp_path)[2:]] == [ev.EpochsFinished, ev.TrialEnded]
    assert len(ledger.state.trials[NAME].records) == 2
    assert len(ledger.state.trials["b64-s1"].records) == 0


def test_last_epochs_without_an_end_do_not_join_the_next_attempt(
    ledger: JournalWriter, tmp_path: Path
) -> None:
    ledger.heard(last(1, 2))
    ledger.heard(started(OF, attempt=2))
    ledger.heard(ended(OF, attempt=2))
    assert [type(event) for event in lines(tmp_path)[1:]] == [ev.TrialStarted, ev.TrialEnded]


def test_repeated_events_are_not_written_again(ledger: JournalWriter, tmp_path: Path) -> None:
    ledger.heard(epochs(OF, record(1), record(2)))
    before = len(lines(tmp_path))
    ledger.heard(epochs(OF, record(1)))
    ledger.heard(epochs(OF, record(1), record(2)))
    assert len(lines(tmp_path)) == before
    ledger.heard(epochs(OF, record(2), record(3)))
    assert len(lines(tmp_path)) == before + 1


@pytest.mark.parametrize(
    ("status", "kept"),
    [("finished", False), ("diverged", False), ("stopped", True), ("failed", True)],
)
def test_checkpoints_stay_while_they_are_needed(
    status: ev.TrialStatus, kept: bool, ledger: JournalWriter
) -> None:
    folder = ledger.checkpoints_of(NAME)
    checkpoints.write(folder, 1, 7, b"payload")
    assert ledger.kept_steps(NAME) == 7
    ledger.heard(ended(OF, status=status))
    assert folder.exists() == kept


def test_checkpoints_left_by_a_crash_are_removed(ledger: JournalWriter) -> None:
    ledger.heard(ended(OF))
    for name in (NAME, "b64-s1"):
        checkpoints.write(ledger.checkpoints_of(name), 1, 7, b"payload")
    ledger.clear_away()
    assert not ledger.checkpoints_of(NAME).exists()
    assert ledger.checkpoints_of("b64-s1").exists()


def test_an_attempt_is_later_than_any_with_a_checkpoint(ledger: JournalWriter) -> None:
    """Even if the journal has lost the lines about that attempt."""
    assert ledger.next_attempt(NAME, NAME) == 2
    checkpoints.write(ledger.checkpoints_of(NAME), 5, 7, b"payload")
    assert ledger.next_attempt(NAME, NAME) == 6
    assert ledger.next_attempt("b64-s1", "b64-s1") == 1
