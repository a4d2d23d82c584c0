"""The state of trials that resume from a checkpoint, and repeated events."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from tests.unit.training_fixtures import (
    conductor,
    configuration,
    ended,
    epochs,
    opened,
    record,
    started,
    worker,
)

OF = configuration(64)
NAME = "b64-s0"


def resumed(attempt: int, steps: int, finished: int) -> ev.AnyEvent:
    event = started(OF, attempt=attempt)
    assert isinstance(event, ev.TrialStarted)
    return replace(event, resumed_steps=steps, resumed_epochs=finished)


def probe(share: float, steps: int, attempt: int = 1) -> ev.AnyEvent:
    return ev.Probed(
        trial=NAME,
        attempt=attempt,
        at_share=share,
        epoch=1,
        steps=steps,
        samples=0,
        seconds=1.0 * attempt,
    )


def cut(steps: int, attempt: int = 1, **more: Any) -> ev.AnyEvent:
    return ev.MicroBatchCut(trial=NAME, attempt=attempt, steps=steps, size=8, **more)


def again(event: ev.AnyEvent, attempt: int) -> Any:
    return replace(event, attempt=attempt)


FOUR = epochs(OF, *(record(number, steps=number * 10) for number in (1, 2, 3, 4)))


def folded(*events: ev.AnyEvent) -> SweepState:
    return SweepState().fold([*opened([OF]), worker(0), started(OF), *events])


def test_results_up_to_the_checkpoint_stay_and_later_ones_go() -> None:
    events = [FOUR, probe(0.2, 15), probe(0.5, 25), cut(12), cut(30), resumed(2, 20, 2)]
    trial = folded(*events).trials[NAME]
    assert [one.epoch for one in trial.records] == [1, 2]
    assert [one.at_share for one in trial.probes] == [0.2]
    assert [one.steps for one in trial.cuts] == [12]
    assert (trial.attempt, trial.status) == (2, "running")


def test_a_lost_result_is_there_once_it_is_repeated() -> None:
    events = [
        *(epochs(OF, record(1, steps=10)), resumed(2, 30, 3), again(probe(0.2, 15), 2)),
        again(epochs(OF, *(record(number, steps=number * 10) for number in (1, 2, 3))), 2),
        again(epochs(OF, record(4, steps=40)), 2),
    ]
    trial = folded(*events).trials[NAME]
    assert [one.steps for one in trial.records] == [10, 20, 30, 40]
    assert [one.at_share for one in trial.probes] == [0.2]


def test_a_missing_epoch_is_inserted_in_order() -> None:
    events = [epochs(OF, record(1)), epochs(OF, record(4)), epochs(OF, record(2), record(3))]
    trial = folded(*events).trials[NAME]
    assert [one.epoch for one in trial.records] == [1, 2, 3, 4]


@pytest.mark.parametrize("fact", [FOUR, probe(0.2, 15), cut(12), cut(12, evaluation=True)])
def test_the_same_event_of_a_later_attempt_changes_nothing(fact: Any) -> None:
    state = folded(fact, resumed(2, 40, 4))
    assert state.repeats(again(fact, 2))
    trial = state.trials[NAME]
    before = (list(trial.records), list(trial.probes), list(trial.cuts))
    state.apply(again(fact, 2))
    assert (list(trial.records), trial.probes, trial.cuts) == before


@pytest.mark.parametrize(
    "fact",
    [
        *(epochs(OF, record(4), record(5)), probe(0.3, 15), cut(12, probe=True), cut(13)),
        *(started(OF, attempt=2), ended(OF)),
    ],
)
def test_a_new_event_is_not_a_repetition(fact: ev.AnyEvent) -> None:
    assert not folded(FOUR, probe(0.2, 15), cut(12)).repeats(fact)


def test_an_attempt_from_the_beginning_has_no_results() -> None:
    trial = folded(FOUR, started(OF, attempt=2)).trials[NAME]
    assert len(trial.records) == 0


def test_a_repeated_start_removes_nothing() -> None:
    start = resumed(2, 20, 2)
    trial = folded(FOUR, start, again(epochs(OF, record(3)), 2), start).trials[NAME]
    assert [one.epoch for one in trial.records] == [1, 2, 3]


def test_the_trial_of_a_dead_worker_waits_with_its_results() -> None:
    state = folded(FOUR, ev.WorkerLost(worker=0, reason="killed"))
    trial = state.trials[NAME]
    assert (trial.status, len(trial.records)) == ("queued", 4)
    state.apply(conductor(at=9.0))
    assert (trial.status, len(trial.records)) == ("queued", 4)


def test_the_log_says_from_which_step_a_trial_resumes() -> None:
    text = folded(FOUR, resumed(2, 1234, 2)).log[-1].text
    assert text.startswith("b64-s0: started on cpu, attempt 2")
    assert "1,234" in text
