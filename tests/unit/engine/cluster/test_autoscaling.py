"""The number of workers follows the room on a cluster that grows, shrinks or is full."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.cluster.autoscaling import MOST_PROBLEMS, Recruiter
from batchscope.engine.cluster.ray_cluster import Needs
from batchscope.engine.errors import MachineProblem
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import DiedAtStart
from batchscope.engine.orchestration.dispatcher import Dispatcher
from tests.unit.engine.conductor_fixtures import DATA, FIXED, House, ScriptedMember

RAW: dict[str, Any] = {**FIXED, "seeds": 3}


class Room:
    """A cluster with room for so many workers, which it places while there is room."""

    def __init__(self, count: int) -> None:
        self.count, self.needs = count, Needs("GPU", 0.5)
        self.placed, self.most = set[int](), 0
        self.done: list[tuple[str, str]] = []
        self.refuses: Callable[[int], Exception | None] = lambda number: None

    def slots(self) -> int:
        return self.count

    async def hire(self, number: int, device: str, threads: int, card: str = "") -> ScriptedMember:
        while len(self.placed) >= self.count:
            await asyncio.sleep(0.001)
        problem = self.refuses(number)
        if problem:
            raise problem
        self.placed.add(number)
        self.most = max(self.most, len(self.placed))
        return ScriptedMember(number, device, lambda device, trial: False, self.done)

    async def let_go(self, number: int) -> None:
        self.placed.discard(number)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchscope.engine.cluster.autoscaling.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("batchscope.engine.cluster.autoscaling.PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr("batchscope.engine.orchestration.dispatcher.IDLE_SECONDS", 0.05)


async def recruit(
    folder: Path,
    room: Room,
    meanwhile: Callable[[House], Any] | None = None,
    most: int | None = None,
) -> tuple[House, list[MachineProblem]]:
    house, control, crew = House(folder, RAW), Control(), room
    server = Dispatcher(house.ledger, house.queue, DATA, control, lambda: None, None)
    anybody: Any = crew
    recruiter = Recruiter(house.ledger, house.queue, server, anybody, room, most, control)
    async with asyncio.timeout(30):
        task = asyncio.create_task(recruiter.run())
        if meanwhile:
            await meanwhile(house)
        problems = await task
    house.ledger.close()
    return house, problems


def finished(house: House) -> int:
    return house.ledger.state.count("finished")


async def test_no_more_workers_than_there_is_room_for(tmp_path: Path) -> None:
    room = Room(2)
    house, problems = await recruit(tmp_path, room)
    assert (finished(house), problems, room.most) == (6, [], 2)
    assert room.placed == set()
    assert house.ledger.state.workers == {}
    assert house.ledger.state.awaited == {}


async def test_no_more_workers_than_the_user_set(tmp_path: Path) -> None:
    room = Room(5)
    house, _ = await recruit(tmp_path, room, most=1)
    assert (finished(house), room.most) == (6, 1)


async def test_waiting_for_a_full_cluster_is_logged(tmp_path: Path) -> None:
    room = Room(0)

    async def grow(house: House) -> None:
        state = house.ledger.state
        while not state.awaited:
            await asyncio.sleep(0.001)
        assert state.needed == "0.5 GPU"
        assert state.log[-1].text == "worker 0: waits for 0.5 GPU"
        assert finished(house) == 0
        room.count = 3

    house, problems = await recruit(tmp_path, room, grow)
    assert (finished(house), problems) == (6, [])
    assert room.most > 1
    assert house.ledger.state.needed == ""


async def test_a_cluster_that_does_not_answer_does_not_block_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The placed workers continue."""
    monkeypatch.setattr("batchscope.engine.cluster.autoscaling.ANSWER_SECONDS", 0.01)
    answered, silent = threading.Event(), threading.Event()

    class Mute(Room):
        def slots(self) -> int:
            if answered.is_set():
                silent.wait(20)
            answered.set()
            return super().slots()

    room = Mute(2)
    house, problems = await recruit(tmp_path, room, most=3)
    assert (finished(house), problems) == (6, [])
    assert not silent.is_set()
    silent.set()


async def test_a_worker_that_cannot_start_is_replaced(tmp_path: Path) -> None:
    room = Room(1)
    room.refuses = lambda number: DiedAtStart("its node went") if number < 5 else None
    house, problems = await recruit(tmp_path, room)
    assert (finished(house), problems) == (6, [])


async def test_a_lasting_problem_ends_the_sweep(tmp_path: Path) -> None:
    room = Room(1)
    room.refuses = lambda number: MachineProblem("a node has another batchscope")
    house, problems = await recruit(tmp_path, room)
    assert finished(house) == 0
    assert {str(each) for each in problems} == {"a node has another batchscope"}
    assert len(problems) >= MOST_PROBLEMS


@pytest.mark.parametrize(
    ("needs", "has", "room"),
    [
        (Needs("GPU", 1), 8, 8),
        (Needs("GPU", 0.5), 3, 6),
        (Needs("GPU", 0.6), 2, 2),  # no card has room for two
        (Needs("GPU", 0.1), 1, 10),
        (Needs("CPU", 1), 16, 16),
        (Needs("CPU", 4), 7, 1),
        (Needs("CPU", 4), 0, 0),
    ],
)
def test_how_many_workers_a_node_has_room_for(needs: Needs, has: float, room: int) -> None:
    assert needs.room(has) == room
