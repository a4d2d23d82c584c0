"""A sweep whose workers lack open files or processes for a while: nothing fails, all is said."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.devices.devices import Device
from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import DiedAtStart, Scarce
from batchscope.engine.orchestration.dispatcher import Dispatcher
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.retry_policy import PATIENT_RETRIES, RETRIES
from batchscope.engine.processes import orders
from tests.unit.engine.conductor_fixtures import DATA, FIXED, House, ScriptedMember

FEW = "a worker could not be started: Too many open files"
LOST = "the worker was ended with exit code 1; its log ends: OSError: Too many open files"
Plain = type[MachineProblem]


class Member(ScriptedMember):
    """A worker that is lost the first `losses` times."""

    losses = 0

    async def work(
        self, order: orders.TrainOrder, heard: Callable[[AnyEvent], None], control: Control
    ) -> str | None:
        if type(self).losses:
            type(self).losses -= 1
            return LOST
        return await super().work(order, heard, control)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, FIXED)
    yield made
    made.ledger.close()


async def serve(
    house: House, refusals: list[MachineProblem], monkeypatch: pytest.MonkeyPatch
) -> MachineProblem | None:
    monkeypatch.setattr("batchscope.engine.orchestration.retry_policy.FIRST_WAIT_SECONDS", 0.0)
    control = Control()

    class Crew:
        async def hire(self, number: int, device: str, threads: int, card: str = "") -> Member:
            if refusals:
                raise refusals.pop()
            return Member(number, device, lambda *_: False, [])

    crew: Any = Crew()
    server = Dispatcher(house.ledger, house.queue, DATA, control, lambda: None, None)
    async with asyncio.timeout(30):
        first: Any = asyncio.ensure_future(crew.hire(0, "cpu", 1))
        return await server.serve(crew, 0, first, Placement(Device("cpu", ""), 1, 1))


@pytest.mark.parametrize(
    ("kind", "times", "works"),
    [
        (Scarce, PATIENT_RETRIES, True),
        (Scarce, PATIENT_RETRIES + 1, False),
        (DiedAtStart, RETRIES, True),
        (DiedAtStart, RETRIES + 1, False),
        (MachineProblem, 1, False),
    ],
)
async def test_a_place_without_a_worker(
    kind: Plain, times: int, works: bool, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = await serve(house, [kind(FEW) for _ in range(times)], monkeypatch)
    assert (problem is None) == works
    assert house.ledger.state.count("finished") == 4 * works
    said = [line.text for line in house.ledger.state.log if FEW in line.text]
    assert len(said) == times, "each attempt is in the journal, with its reason"


async def test_a_trial_whose_workers_lack_files(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Member, "losses", PATIENT_RETRIES)
    assert await serve(house, [], monkeypatch) is None
    assert house.ledger.state.count("finished") == 4


async def test_a_lack_that_does_not_pass_fails_the_trial(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Member, "losses", PATIENT_RETRIES + 1)
    assert await serve(house, [], monkeypatch) is None
    state = house.ledger.state
    (failed,) = (trial for trial in state.trials.values() if trial.status == "failed")
    assert failed.reason == f"{LOST} (after {PATIENT_RETRIES} retries)"
    assert state.count("finished") == 3
