"""The state of a sweep from its journal: attempts, resuming, phases, repeated events."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscope.engine.analysis import tables
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from batchscope.engine.spec import Configuration
from tests.functional.lab import events_of, recorded
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    PRESET,
    THREE,
    TWO,
    conductor,
    epochs,
    folded,
    history,
    progress,
    record,
    started,
    sweep_ended,
    trial_ended,
    worker,
)


def facts(state: SweepState) -> dict[str, Any]:
    """Return everything that figures, tables and manifest are computed from."""
    return {
        "trials": state.trials,
        "plans": state.plans,
        "configurations": state.configurations,
        "data": state.data,
        "workers": state.workers,
        "versions": state.versions,
        "opened": state.opened,
        "conductor": state.conductor,
        "ended": state.ended,
        "trials.csv": tables.to_csv(TRIAL_COLUMNS, tables.trial_rows(state)),
        "epochs.csv": tables.to_csv(tables.EPOCH_COLUMNS, tables.epoch_rows(state)),
        "gradient_norms.csv": tables.to_csv(tables.NORM_COLUMNS, tables.norm_rows(state)),
    }


def real() -> list[AnyEvent]:
    return events_of(recorded().folder)


# ---- the same fact twice, and in parts


@pytest.mark.parametrize("source", [history, real])
def test_applying_events_twice_changes_nothing(source: Any) -> None:
    events = source()
    once = facts(SweepState().fold(events))
    assert once["trials"]
    assert once["epochs.csv"].count("\n") > 4
    assert facts(SweepState().fold(events).fold(events)) == once
    assert facts(SweepState().fold(event for event in events for _ in range(2))) == once


@pytest.mark.parametrize("source", [history, real])
def test_events_may_be_applied_in_parts(source: Any, tmp_path: Any) -> None:
    """A viewer reads a growing journal in parts that end anywhere."""
    events = source()
    once = SweepState().fold(events)
    lines = [journal.encode(event) + b"\n" for event in events]
    path = tmp_path / journal.NAME
    for cut in range(len(lines) + 1):
        path.write_bytes(b"".join(lines[:cut]))
        reader, state = journal.Reader(path), SweepState()
        state.fold(reader.read_all())
        path.write_bytes(b"".join(lines))
        state.fold(reader.read_all())
        assert facts(state) == facts(once)
        assert list(state.log) == list(once.log)
        assert (state.version, state.last_at) == (once.version, once.last_at)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), count=st.integers(1, 12))
def test_repeated_epochs_count_once(data: st.DataObject, count: int) -> None:
    state = folded(started(ONE))
    reached = 0
    while reached < count:
        first = data.draw(st.integers(1, reached + 1))
        last = data.draw(st.integers(first, count))
        state.apply(epochs(ONE, 1, *range(first, last + 1)))
        reached = max(reached, last)
    assert state.trials[ONE].records == [record(number) for number in range(1, count + 1)]


# ---- trials


def test_the_state_of_an_opened_sweep() -> None:
    state = folded()
    assert list(state.trials) == [ONE, TWO, THREE, FOUR]
    assert [trial.seed for trial in state.replicates("b64")] == [0, 1]
    assert [trial.status for trial in state.trials.values()] == ["queued"] * 4
    assert state.count("queued") == 4
    assert state.count("queued", "running") == 4
    assert state.count("running") == 0
    assert list(state.configurations.values()) == list(PRESET.configurations)
    assert [line.text for line in state.log] == [
        f"4 trials of quickstart: {PRESET.title}",
        "a note",
    ]
    assert [line.level for line in state.log] == ["info", "warning"]


def test_a_trial_from_start_to_end() -> None:
    state = folded(started(ONE))
    trial = state.trials[ONE]
    assert (trial.status, trial.attempt, trial.device) == ("running", 1, "cpu")
    assert (trial.fraction, trial.done, trial.last) == (0.0, False, None)
    state.apply(progress(ONE, 1, 25))
    assert trial.fraction == 0.25
    state.apply(epochs(ONE, 1, 1, 2, 3))
    assert trial.fraction == 0.3
    assert trial.last == record(3)
    state.apply(progress(ONE, 1, 250))
    assert trial.fraction == 1.0
    state.apply(trial_ended(ONE, "finished", reason="reached it"))
    assert (trial.status, trial.reason, trial.done, trial.ended_at) == (
        "finished",
        "reached it",
        True,
        4.0,
    )
    assert trial.progress is None
    assert trial.fraction == 1.0
    assert state.log[-1].text == f"{ONE}: finished, test accuracy 0.5000: reached it"


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ("finished", True),
        ("diverged", True),
        ("skipped", True),
        ("failed", False),
        ("stopped", False),
    ],
)
def test_which_statuses_are_done(status: ev.TrialStatus, done: bool) -> None:
    state = folded(started(ONE), trial_ended(ONE, status))
    assert state.trials[ONE].done is done
    assert state.trials[ONE].fraction == (1.0 if done else 0.0)
    assert state.count(status) == 1
    assert state.log[-1].level == ("error" if status == "failed" else "info")


def test_a_trial_without_a_planned_number_of_steps_has_no_fraction() -> None:
    state = folded(started(ONE, steps=None), progress(ONE, 1, 25))
    assert state.trials[ONE].fraction == 0.0


def test_the_batch_size_is_the_configured_one_until_it_is_planned() -> None:
    state = folded()
    assert state.trials[THREE].batch_size == 64
    state.apply(started(THREE, size=40))
    assert state.trials[THREE].batch_size == 40


def test_a_new_attempt_starts_without_the_results_of_the_old_one() -> None:
    state = folded(started(ONE), epochs(ONE, 1, 1, 2), progress(ONE, 1, 25), started(ONE, 2))
    trial = state.trials[ONE]
    assert (trial.attempt, list(trial.records), trial.progress) == (2, [], None)
    state.apply(epochs(ONE, 2, 1))
    assert trial.records == [record(1)]


@pytest.mark.parametrize(
    "late",
    [
        epochs(ONE, 1, 1, 2, 3),
        progress(ONE, 1, 99),
        trial_ended(ONE, "finished", attempt=1),
        started(ONE, 1),
    ],
)
def test_an_event_of_an_earlier_attempt_changes_nothing(late: AnyEvent) -> None:
    before = [started(ONE), started(ONE, 2), epochs(ONE, 2, 1)]
    assert folded(*before, late).trials == folded(*before).trials


@pytest.mark.parametrize(
    "late",
    [
        started(ONE, 2),
        epochs(ONE, 1, 2),
        progress(ONE, 1, 99),
        trial_ended(ONE, "failed", attempt=1),
        trial_ended(ONE, "failed", attempt=2),
        conductor(8),
    ],
)
def test_nothing_changes_a_finished_trial(late: AnyEvent) -> None:
    before = [started(ONE), epochs(ONE, 1, 1), trial_ended(ONE, "finished")]
    assert folded(*before, late).trials[ONE] == folded(*before).trials[ONE]


@pytest.mark.parametrize(
    "event",
    [started("none"), epochs("none", 1, 1), progress("none", 1, 1), trial_ended("none", "failed")],
)
def test_an_event_about_an_unknown_trial_changes_nothing(event: AnyEvent) -> None:
    assert facts(folded(event)) == facts(folded())


def test_a_failure_before_the_start_counts() -> None:
    state = folded(trial_ended(ONE, "failed", reason="RuntimeError: no room"))
    trial = state.trials[ONE]
    assert (trial.status, trial.attempt, trial.reason) == ("failed", 1, "RuntimeError: no room")
    assert state.log[-1].text == f"{ONE}: failed: RuntimeError: no room"


# ---- resuming


def test_a_new_conductor_queues_unfinished_trials_again() -> None:
    events = history()
    first_ending = next(n for n, event in enumerate(events) if isinstance(event, ev.SweepEnded))
    state = SweepState().fold(events[: first_ending + 1])
    assert [trial.status for trial in state.trials.values()] == [
        "finished",
        "stopped",
        "failed",
        "skipped",
    ]
    assert state.ended is not None
    state.apply(conductor(pid=8))
    assert [trial.status for trial in state.trials.values()] == [
        "finished",
        "queued",
        "queued",
        "skipped",
    ]
    assert state.ended is None
    assert state.workers == {}
    assert state.trials[THREE].reason == ""
    assert [trial.attempt for trial in state.trials.values()] == [1, 1, 1, 0]
    assert "resumed" in state.log[-1].text


def test_a_running_trial_of_a_dead_conductor_is_queued_by_the_next() -> None:
    state = folded(worker(), started(ONE), progress(ONE, 1, 25))
    assert state.trials[ONE].status == "running"
    state.apply(conductor(pid=8))
    assert (state.trials[ONE].status, state.trials[ONE].progress) == ("queued", None)
    assert len(state.plans) == 0


def test_a_complete_history() -> None:
    state = SweepState().fold(history())
    found = {
        trial.id: (trial.status, trial.attempt, len(trial.records), trial.reason)
        for trial in state.trials.values()
    }
    assert found == {
        ONE: ("finished", 1, 2, "reached it"),
        TWO: ("finished", 2, 3, ""),
        THREE: ("diverged", 2, 0, "the loss was not finite"),
        FOUR: ("skipped", 0, 0, "the same as another"),
    }
    assert set(state.plans) == {ONE, TWO, THREE, FOUR}
    assert state.versions == {"torch": "2.13.0"}
    assert state.conductor is not None
    assert state.conductor.pid == 8
    assert state.data["digits"].train == 1437
    assert state.fetching is None


# ---- phases


@pytest.mark.parametrize(
    ("events", "alive", "dead"),
    [
        ([], "preparing", "interrupted"),
        ([worker()], "running", "interrupted"),
        ([worker(), started(ONE)], "running", "interrupted"),
        ([worker(), sweep_ended()], "running", "finished"),
        ([worker(), sweep_ended("failed", 1)], "running", "failed"),
        ([worker(), sweep_ended("stopped", 130)], "running", "stopped"),
        ([worker(), sweep_ended("stopped", 130), conductor(8)], "preparing", "interrupted"),
        ([worker(), ev.WorkerLost(worker=0, reason="gone")], "preparing", "interrupted"),
    ],
)
def test_phases(events: list[AnyEvent], alive: str, dead: str) -> None:
    state = folded(*events)
    assert state.phase(alive=True) == alive
    assert state.phase(alive=False) == dead


def test_a_sweep_without_events_is_interrupted() -> None:
    assert SweepState().phase(alive=False) == "interrupted"
    assert SweepState().phase(alive=True) == "preparing"


# ---- log and memory


def test_the_log_keeps_its_last_lines_and_counts_all() -> None:
    state = SweepState().fold(ev.Note(text=str(number)) for number in range(2500))
    assert [line.text for line in state.log] == [str(number) for number in range(500, 2500)]
    assert state.said == 2500


def test_memory_is_kept_by_device() -> None:
    samples = [
        ev.MemorySampled(device=f"cuda:{n % 2}", name="GPU", total=9, ours=n, others=1)
        for n in range(5)
    ]
    state = SweepState().fold(samples)
    assert {name: [sample.ours for sample in kept] for name, kept in state.memory.items()} == {
        "cuda:0": [0, 2, 4],
        "cuda:1": [1, 3],
    }


def test_fetching_ends_when_the_data_are_ready() -> None:
    fetching = ev.DataProgress(name="mnist", received=1, total=2)
    state = folded(fetching)
    assert state.fetching == fetching
    ready = ev.DataReady(name="mnist", train=10000, test=9, shape=(1, 28, 28), digest="d")
    state.apply(ready)
    assert state.fetching is None
    assert state.data == {"mnist": ready}
    assert state.log[-1].text == "mnist: 10,000 training and 9 test images"


def test_configurations_survive_json() -> None:
    """The journal holds the complete configuration."""
    for configuration in PRESET.configurations:
        encoded = msgspec.json.encode(configuration)
        assert msgspec.json.decode(encoded, type=Configuration) == configuration


def test_an_attempt_that_ends_before_its_first_step_has_no_figures() -> None:
    """The results of an earlier attempt do not belong to the later one."""
    state = SweepState().fold(history())
    stopped = state.trials[TWO]
    stopped.status, stopped.attempt = "queued", 2
    assert stopped.records
    state.apply(ev.TrialEnded(trial=TWO, attempt=3, status="failed", reason="lost"))
    assert (stopped.attempt, stopped.status, list(stopped.records)) == (3, "failed", [])
    assert stopped.started is None
