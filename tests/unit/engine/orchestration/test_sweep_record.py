"""The exit code of a sweep that has ended by itself, and what its last event says."""

from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.sweep_record import SweepRecord
from batchscope.engine.sweeps.launch_file import Launch
from tests.unit.training_fixtures import configuration, ended, epochs, opened, record, started

OF = configuration(64, seeds=2)


@pytest.mark.parametrize(
    ("first", "second", "state", "code", "why"),
    [
        ("finished", "finished", "finished", 0, ""),
        ("diverged", "finished", "finished", 0, ""),
        ("skipped", "finished", "finished", 0, ""),
        ("diverged", "diverged", "finished", 1, "all 2 trials diverged"),
        ("skipped", "skipped", "finished", 1, "all 2 trials were skipped"),
        ("diverged", "skipped", "finished", 1, "1 diverged, 1 skipped"),
        ("failed", "finished", "failed", 1, ""),
        ("failed", "failed", "failed", 1, "all 2 trials failed"),
    ],
)
def test_a_sweep_without_any_figures_ends_with_1(
    tmp_path: Path,
    first: ev.TrialStatus,
    second: ev.TrialStatus,
    state: ev.SweepEnding,
    code: int,
    why: str,
) -> None:
    ledger = JournalWriter(tmp_path)
    for event in opened([OF]):
        ledger.heard(event)
    for seed, status in enumerate((first, second)):
        ledger.heard(started(OF, seed))
        if status == "finished":
            ledger.heard(epochs(OF, record(1), seed=seed))
        ledger.heard(ended(OF, seed, status=status))
    assert SweepRecord(tmp_path, Launch(preset="mine"), ledger).close(False) == code
    ledger.close()
    last = ledger.state.ended
    assert last is not None
    assert (last.state, last.exit_code) == (state, code)
    assert why in last.reason
    assert bool(why) == bool(last.reason)
