"""Lines between solutions, given to scripted workers together with groups of trials."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.devices.devices import Device
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.journal.instrument_events import LinePoint
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.dispatcher import Dispatcher
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.processes import orders
from batchscope.engine.spec import Interpolation
from tests.unit.engine.conductor_fixtures import DATA, RAW, House, began

POINTS = (LinePoint(-1.0, 1.0, 0.5, 1.0, 0.5), LinePoint(2.0, 1.0, 0.5, 1.0, 0.5))
NAMED: dict[str, Any] = {**RAW, "memory": {"micro_batch_size": 8}}
Answers = Callable[["Scripted", orders.Interpolate], str | None]


@dataclass
class Scripted:
    """A worker that finishes every trial not in `lost`, and treats lines as scripted."""

    script: list[Answers]
    lost: str = ""
    number: int = 0
    free_bytes: int | None = None
    sharing: int = 1
    fault: str = ""
    asked: list[orders.Work] = field(default_factory=list)
    heard: Callable[[AnyEvent], None] = lambda event: None
    control: Control = field(default_factory=Control)

    async def work(
        self, order: orders.Work, heard: Callable[[AnyEvent], None], control: Control
    ) -> str | None:
        self.asked.append(order)
        self.heard = heard
        await asyncio.sleep(0)
        if isinstance(order, orders.Interpolate):
            return self.script.pop(0)(self, order)
        assert isinstance(order, orders.TrainOrder)
        for name in order.active:
            heard(began(order, name))
            status: ev.TrialStatus = "diverged" if name == self.lost else "finished"
            heard(ev.TrialEnded(trial=name, attempt=order.attempt, status=status))
        return None

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The ends of every line that was ordered."""
        found = [order for order in self.asked if isinstance(order, orders.Interpolate)]
        return [(order.members[0].id, order.members[1].id) for order in found]


def answer(worker: Scripted, order: orders.Interpolate, **more: Any) -> None:
    start, end = (member.id for member in order.members)
    worker.heard(ev.Interpolated(start=start, end=end, **more))


def draws(worker: Scripted, order: orders.Interpolate) -> None:
    answer(worker, order, points=POINTS, samples=9)


def dies(worker: Scripted, order: orders.Interpolate) -> str:
    return "killed"


class Day:
    """A sweep with one worker and lines between its two batch sizes."""

    def __init__(self, folder: Path, worker: Scripted) -> None:
        self.house, self.worker = House(folder, NAMED), worker
        self.state = self.house.ledger.state
        assert self.state.opened is not None
        line = Interpolation(start="b8", end="b64", points=2)
        self.state.opened = replace(self.state.opened, interpolation=line)
        control = worker.control
        self.server = Dispatcher(
            self.house.ledger, self.house.queue, DATA, control, lambda: None, None
        )

    async def hire(self, number: int, device: str, threads: int, card: str = "") -> Scripted:
        return self.worker

    async def serve(self) -> None:
        crew: Any = self
        async with asyncio.timeout(30):
            first: Any = asyncio.ensure_future(self.hire(0, "cpu", 1))
            await self.server.serve(crew, 0, first, Placement(Device("cpu", "a CPU"), 1, 1))


Begin = Callable[[Scripted], Day]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Start a sweep with a worker, and close its journal afterwards."""
    monkeypatch.setattr("batchscope.engine.orchestration.retry_policy.FIRST_WAIT_SECONDS", 0.001)
    days: list[Day] = []

    def begin(worker: Scripted) -> Day:
        days.append(Day(tmp_path, worker))
        return days[-1]

    yield begin
    for day in days:
        day.house.ledger.close()


PAIRS = [("b8-s0", "b64-s0"), ("b8-s1", "b64-s1")]


async def test_each_line_is_measured_once_when_both_ends_exist(
    begin: Begin, tmp_path: Path
) -> None:
    worker = Scripted([draws, draws])
    day = begin(worker)
    await day.serve()
    assert worker.lines == PAIRS
    kinds = [type(order).__name__ for order in worker.asked]
    assert kinds == [
        "TrainOrder",
        "TrainOrder",
        "Interpolate",
        "TrainOrder",
        "TrainOrder",
        "Interpolate",
    ]
    assert list(day.state.lines) == PAIRS
    assert not day.server.linker
    left = [order.weights for order in worker.asked if isinstance(order, orders.TrainOrder)]
    folder = checkpoints.weights_of(tmp_path, "b8-s0")
    assert {"b8-s0": str(folder)} in left
    assert folder.parent != checkpoints.folder_of(tmp_path, "b8-s0").parent


async def test_another_worker_measures_the_line_of_a_dead_worker(begin: Begin) -> None:
    worker = Scripted([dies, draws, dies, dies, draws])
    day = begin(worker)
    await day.serve()
    assert worker.lines == [PAIRS[0], PAIRS[0], PAIRS[1], PAIRS[1], PAIRS[1]]
    assert [line.points for line in day.state.lines.values()] == [POINTS, POINTS]


async def test_after_too_many_deaths_the_sweep_continues_without_the_line(begin: Begin) -> None:
    worker = Scripted([*[dies] * 4, draws])
    day = begin(worker)
    await day.serve()
    given_up, drawn = day.state.lines.values()
    assert (given_up.points, given_up.reason) == ((), "killed (after 3 retries)")
    assert drawn.points == POINTS
    assert {trial.status for trial in day.state.trials.values()} == {"finished"}


async def test_an_error_gives_a_line_up_at_once(begin: Begin) -> None:
    def fails(worker: Scripted, order: orders.Interpolate) -> None:
        answer(worker, order, reason="no weights")

    day = begin(Scripted([fails, draws]))
    await day.serve()
    assert [line.reason for line in day.state.lines.values()] == ["no weights", ""]


async def test_a_line_interrupted_by_a_stop_is_still_to_be_measured(begin: Begin) -> None:
    def stopped(worker: Scripted, order: orders.Interpolate) -> None:
        worker.control.stop()
        answer(worker, order)

    day = begin(Scripted([stopped]))
    await day.serve()
    assert day.state.lines == {}
    assert day.server.linker
    assert day.server.linker.take() is not None


async def test_an_end_that_did_not_finish_is_noted_once(begin: Begin) -> None:
    worker = Scripted([draws], lost="b64-s0")
    day = begin(worker)
    await day.serve()
    assert worker.lines == PAIRS[1:]
    for _ in range(2):
        day.server.linker.note_hindered()
    told = [line.text for line in day.state.log if line.text.startswith("no line")]
    assert told == ["no line from b8-s0 to b64-s0: b64-s0 diverged"]
