"""The queue of trials follows the state of the sweep and the commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration.trial_queue import TrialQueue
from batchscope.engine.sweeps.add_batch_size import added, with_batch_size
from tests.unit.engine.conductor_fixtures import RAW, House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[House]:
    """A sweep with two batch sizes that both exceed the training set."""
    made = House(tmp_path, {**RAW, "seeds": 1, "grid": {"batch_size": [2000, 3000]}})
    yield made
    made.ledger.close()


def test_all_configurations_of_a_seed_come_before_the_next_seed(house: House) -> None:
    assert house.rest() == ["b8-s0", "b64-s0", "b8-s1", "b64-s1"]


def test_a_group_that_a_worker_has_is_not_handed_out_again(house: House) -> None:
    taken = house.take()
    house.queue.line_up()
    assert house.queue.is_out(taken.trials[0].id)
    assert house.rest() == ["b64-s0", "b8-s1", "b64-s1"]


def test_a_group_that_is_put_back_comes_first(house: House) -> None:
    house.take()
    second = house.take()
    house.queue.put_back(second)
    assert not house.queue.is_out(second.trials[0].id)
    house.queue.line_up()
    assert house.rest() == ["b64-s0", "b8-s1", "b64-s1"]


def test_a_retried_trial_takes_its_place_in_the_queue(house: House) -> None:
    house.end(house.take(), "failed")
    house.end(house.take(), "finished")
    house.queue.line_up()
    house.ledger.write(ev.TrialRetried(trial="b8-s0", attempt=1))
    house.queue.line_up()
    assert house.rest() == ["b8-s0", "b8-s1", "b64-s1"]


def test_an_added_trial_takes_its_place_in_the_queue(house: House) -> None:
    house.take()
    after = with_batch_size(RAW, 32, house.ledger.state)
    new = added(after, set(house.ledger.state.configurations))
    house.ledger.write(ev.ConfigurationsAdded(configurations=new))
    house.queue.preset = after
    house.queue.line_up()
    assert house.rest() == ["b32-s0", "b64-s0", "b8-s1", "b32-s1", "b64-s1"]


def test_an_identical_trial_is_skipped_again_when_retried(twins: House) -> None:
    house = twins
    twin = house.ledger.state.trials["b3000-s0"]
    assert twin.status == "skipped"
    assert "b2000-s0" in twin.reason
    house.end(house.take(), "finished")
    house.ledger.write(ev.TrialRetried(trial="b3000-s0", attempt=0))
    house.queue.line_up()
    assert twin.status == "skipped"
    assert house.rest() == []
    said = [line.text for line in house.ledger.state.log if "exceeds" in line.text]
    assert said == [
        "batch size 2,000 exceeds the 1,437 training samples: the full batch is used"
    ], "said once"


def test_nothing_is_queued_before_the_data_are_ready(house: House) -> None:
    bare = TrialQueue(house.queue.preset, house.ledger)
    bare.line_up()
    assert not bare


def test_growth_beyond_the_training_set_is_identical(tmp_path: Path) -> None:
    """1,437 images cap both; a third with a lower cap trains differently."""
    raw = {
        **RAW,
        "seeds": 1,
        "schedule": {"kind": "step", "by": "batch", "at": [0.5], "factor": 100},
        "train": {**RAW["train"], "batch_size": 64},
        "cells": [{"max_batch_size": 2000}, {"max_batch_size": 5000}, {"max_batch_size": 500}],
    }
    del raw["grid"]
    house = House(tmp_path, raw)
    house.ledger.close()
    trials = house.ledger.state.trials.values()
    assert [trial.status for trial in trials] == ["queued", "skipped", "queued"]
    reasons = [trial.reason for trial in trials]
    assert "1,437 training samples" in reasons[1]


def test_a_phase_beyond_the_training_set_is_the_full_batch(tmp_path: Path) -> None:
    raw = {**RAW, "phases": [{"at": 0.5, "set": {"batch_size": 5000}}]}
    house = House(tmp_path, raw)
    house.ledger.close()
    said = [line.text for line in house.ledger.state.log]
    told = "phases: batch size 5,000 exceeds the 1,437 training samples: the full batch is used"
    assert said.count(told) == 2
