"""A task that cannot be trained: its trials fail with the reason, and the sweep goes on."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent, DataReady, Note
from batchscope.engine.orchestration import data_fetch
from batchscope.engine.orchestration.planner import PlanningTask
from batchscope.engine.task_table import TaskFacts
from tests.unit.engine.planner_fixtures import ALONE, DATA, Office
from tests.unit.training_fixtures import configuration

REASON = "mine.py, line 3: ValueError: no label 7"
BROKEN = replace(DATA, train=0, test=0, task=TaskFacts(train=0, problem=REASON))


async def found() -> Prepared:
    return BROKEN


async def test_its_trials_fail_and_nothing_is_measured() -> None:
    office = Office(configuration(64, seeds=2), configuration(8, seeds=1))
    *broken, whole = office.trials
    task: Any = PlanningTask(office.worker, ALONE, broken, 1, BROKEN)  # type: ignore[arg-type]
    assert await office.planner.settle(task) is None
    for trial in broken:
        view = office.state.trials[trial.id]
        assert (view.status, view.reason) == ("failed", REASON)
    assert office.worker.asked == []
    assert await office.settle(whole) is None
    assert office.state.trials[whole.id].status == "queued"
    assert whole.id in office.state.plans


async def test_a_problem_is_said_and_not_recorded_as_data() -> None:
    said: list[AnyEvent] = []
    assert await data_fetch.prepared("mine:make", found(), None, said.append) is BROKEN
    (note,) = said
    assert isinstance(note, Note)
    assert (note.level, note.text) == ("error", f"mine:make: {REASON}")


async def test_a_task_that_worked_before_can_still_be_resumed() -> None:
    recorded = DataReady(name="mine:make", train=5, test=5, shape=(0, 0, 0), digest="1")
    with pytest.raises(MachineProblem, match=REASON):
        await data_fetch.prepared("mine:make", found(), recorded, lambda event: None)
