"""The choice of the number of workers, with workers that answer from a table."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import Device
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.orchestration import throughput_survey
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.staffing import Staff, Staffing
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.planning.stacking import StackTiming
from batchscope.engine.planning.worker_count import WORTH_SECONDS
from batchscope.engine.processes import orders
from tests.unit.engine.conductor_fixtures import DATA, RAW, House

CPU, GPU = Device("cpu", "a CPU"), Device("cuda:0", "a GPU", "GPU-1")
LONG: dict[str, Any] = {
    **RAW,
    "seeds": 4,
    "run": {},
    "train": {"lr": 0.1, "epochs": 200_000},
}
Seconds = Callable[[orders.Pace], float]


class Member:
    """A worker that answers with the seconds of a step from a table, or fails without an entry."""

    def __init__(self, seconds: Seconds) -> None:
        self.seconds, self.asked = seconds, list[orders.Pace]()

    async def work(
        self, order: orders.Pace, heard: Callable[[AnyEvent], None], control: Control
    ) -> str | None:
        self.asked.append(order)
        await asyncio.sleep(0)
        seconds = self.seconds(order)
        if not seconds:
            name = order.members[0].id
            heard(ev.TrialEnded(trial=name, attempt=1, status="failed", reason="no"))
            return None
        paced = ev.Paced(
            trial=order.members[0].id,
            worker=0,
            device_name=order.device_name,
            batch_size=order.plan.largest,
            micro_batch_size=order.plan.micro_batch_size,
            threads=order.plan.threads,
            asked=max(order.stacks),
            stacks=tuple(StackTiming(size, size * seconds) for size in order.stacks),
            seconds=order.seconds,
            workers=order.workers,
        )
        heard(paced)
        return None


class Crew:
    """Ends workers and starts more."""

    def __init__(self, seconds: Seconds) -> None:
        self.seconds, self.gone, self.hired = seconds, list[int](), list[int]()

    async def let_go(self, number: int) -> None:
        self.gone.append(number)

    async def hire(self, number: int, device: str, threads: int, card: str = "") -> Member:
        self.hired.append(number)
        return Member(self.seconds)


class Floor:
    """A sweep before its start, on a machine with four cores."""

    def __init__(
        self,
        folder: Path,
        seconds: Seconds,
        raw: dict[str, Any] = LONG,
        data: Mapping[str, Prepared] = DATA,
    ) -> None:
        self.house, self.crew, self._data = House(folder, raw, data), Crew(seconds), data
        self.members = [Member(seconds) for _ in range(4)]

    async def settle(
        self,
        device: Device = CPU,
        count: int = 4,
        limited: bool = False,
        alone: bool = False,
    ) -> list[tuple[str, int, int]]:
        """Choose the workers; return device, workers and threads of each remaining place."""
        places = [Placement(device, count if device is CPU else 1, 1)] * count
        hired: Any = [asyncio.ensure_future(_itself(each)) for each in self.members[:count]]
        staffing = Staffing(
            self.house.ledger, self.house.queue, self._data, Control(), limited, alone
        )
        crew: Any = self.crew
        staff = await staffing.settle(crew, Staff(places, hired))
        await asyncio.gather(*staff.hired)
        self.house.ledger.close()
        assert len(staff.hired) == len(staff.places)
        return [(place.device.name, place.workers, place.threads) for place in staff.places]

    @property
    def asked(self) -> list[list[tuple[int, int]]]:
        """The orders of each worker: for how many workers, with how many threads."""
        return [
            [(order.workers, order.plan.threads) for order in each.asked if order.seconds]
            for each in self.members
        ]


async def _itself(member: Member) -> Member:
    return member


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchscope.engine.orchestration.staffing.cores", lambda: 4)


def alone_faster(order: orders.Pace) -> float:
    """Two threads make a step more than twice as fast, four no faster than two."""
    return {1: 0.1, 2: 0.04, 4: 0.04}[order.plan.threads]


async def test_each_division_is_timed_by_as_many_workers_at_once(tmp_path: Path) -> None:
    floor = Floor(tmp_path, alone_faster)
    assert await floor.settle() == [("cpu", 2, 2)] * 2
    assert floor.crew.gone == [2, 3]
    both = [[(4, 1)] * 2, [(2, 2)] * 2, [(1, 4)] * 2]
    one, two, three, four = floor.asked
    assert one == [each for pair in both for each in pair]
    assert two == [*both[0], *both[1]]
    assert three == four == both[0]
    said = [line.text for line in floor.house.ledger.state.log]
    (chosen,) = [text for text in said if text.startswith("cpu: ")]
    assert "2 workers with 2 threads each" in chosen
    assert "1.25 ×" in chosen
    assert said[-1].startswith("worker 3: ended")


async def test_only_threads_are_measured_if_epochs_are_timed_alone(tmp_path: Path) -> None:
    raw = {**LONG, "train": {"lr": 0.1, "epochs": 1}}  # however short it is
    floor = Floor(tmp_path, alone_faster, raw)
    assert await floor.settle(count=1, alone=True) == [("cpu", 1, 4)]  # four are no slower
    assert floor.asked[0] == [(1, 4)] * 2 + [(1, 2)] * 2 + [(1, 1)] * 2
    (tmp_path / "more").mkdir()
    floor = Floor(tmp_path / "more", lambda order: 0.1 * order.plan.threads, raw)
    assert await floor.settle(count=1, alone=True) == [("cpu", 1, 1)]


async def test_workers_that_do_not_slow_each_other_stay(tmp_path: Path) -> None:
    floor = Floor(tmp_path, lambda order: 0.1)
    assert await floor.settle() == [("cpu", 4, 1)] * 4
    assert floor.crew.gone == []


async def test_stacks_are_timed_for_each_number_of_workers(tmp_path: Path) -> None:
    """One configuration of four seeds: four workers have one each, two have two."""
    raw = {**LONG, "grid": {"batch_size": [8]}}
    floor = Floor(tmp_path, alone_faster, raw)
    await floor.settle()
    asked = {(order.workers, order.stacks) for each in floor.members for order in each.asked}
    assert asked == {(4, (1,)), (2, (1, 2)), (1, (1, 4))}


@pytest.mark.parametrize(
    ("raw", "limited"),
    [({**LONG, "train": {"lr": 0.1, "epochs": 2}}, False), (LONG, True)],
)
async def test_short_and_limited_sweeps_are_not_measured(
    tmp_path: Path, raw: dict[str, Any], limited: bool
) -> None:
    floor = Floor(tmp_path, alone_faster, raw)
    assert await floor.settle(limited=limited) == [("cpu", 4, 1)] * 4
    assert floor.asked == [[]] * 4
    (why,) = (each.text for each in floor.house.ledger.state.log if each.text.startswith("cpu: "))
    assert "4 workers with 1 thread each" in why
    assert ("memory limit" if limited else "too short") in why


TASK: dict[str, Any] = {
    **LONG,
    "task": {"use": "mine:make"},
    "grid": {"batch_size": [8, 16, 64]},
}
del TASK["data"], TASK["model"]


def task_floor(folder: Path, epochs: int) -> Floor:
    """A sweep of a task on four cores: three divisions of two kinds, so six interpreters."""
    (folder / "mine.py").write_text("def make(seed):\n    pass\n")
    data = replace(DATA["digits"], name="mine:make", train=1_000, test=0)
    raw = {**TASK, "task": {"use": "mine:make", "path": str(folder)}}
    raw["train"] = {"lr": 0.1, "epochs": epochs}
    return Floor(folder, alone_faster, raw, {"mine:make": data})


async def test_a_task_is_surveyed_only_where_starting_interpreters_pays(tmp_path: Path) -> None:
    """Twelve trials of a minute on four workers take three minutes, but not ten surveys."""
    short = task_floor(tmp_path, 200)
    groups = short.house.queue.groups()
    alone = sum(map(short.house.queue.seconds, groups)) / 4
    assert WORTH_SECONDS < alone < 10 * throughput_survey.survey_seconds(groups, 3)
    assert await short.settle() == [("cpu", 4, 1)] * 4
    assert short.asked == [[]] * 4


async def test_a_task_is_timed_in_one_round_since_each_starts_anew(tmp_path: Path) -> None:
    long = task_floor(tmp_path, 600)
    assert await long.settle() == [("cpu", 2, 2)] * 2
    assert [len(each.asked) for each in long.members] == [6, 4, 2, 2]
    assert all(order.seconds for each in long.members for order in each.asked)


async def test_a_worker_without_an_answer_changes_nothing(tmp_path: Path) -> None:
    floor = Floor(tmp_path, lambda order: 0.0)
    assert await floor.settle() == [("cpu", 4, 1)] * 4
    assert {trial.status for trial in floor.house.ledger.state.trials.values()} == {"queued"}
    assert floor.house.ledger.state.paced == []


async def test_the_threads_of_recorded_plans_set_the_number_of_workers(
    tmp_path: Path,
) -> None:
    floor = Floor(tmp_path, alone_faster)
    for group in floor.house.queue.groups():
        for trial in group.trials:
            floor.house.ledger.heard(ev.Planned(plan=make_plan(trial, 1437, 2)))
    floor.house.queue.line_up()
    assert await floor.settle() == [("cpu", 2, 2)] * 2
    assert floor.asked == [[]] * 4


async def test_a_gpu_is_shared_if_that_is_faster(tmp_path: Path) -> None:
    """With two workers a step takes a fifth longer, with four more than twice as long."""
    floor = Floor(tmp_path, lambda order: {1: 0.1, 2: 0.12, 4: 0.25}[order.workers])
    assert await floor.settle(GPU, count=1) == [("cuda:0", 2, 1)] * 2
    assert floor.crew.hired == [1, 2, 3]
    assert floor.crew.gone == [2, 3]


async def test_a_gpu_that_gains_nothing_has_one_worker(tmp_path: Path) -> None:
    floor = Floor(tmp_path, lambda order: 0.1 * order.workers)
    assert await floor.settle(GPU, count=1) == [("cuda:0", 1, 1)]
    assert floor.crew.gone == [1, 2, 3]


class Slow(Member):
    """A worker that measures until it is told to end, as `Halt` does."""

    def __init__(self) -> None:
        super().__init__(lambda order: 1.0)
        self.halted = asyncio.Event()

    async def order(self, order: orders.AnyOrder) -> None:
        assert isinstance(order, orders.Halt)
        self.halted.set()

    async def work(
        self, order: orders.Pace, heard: Callable[[AnyEvent], None], control: Control
    ) -> str | None:
        self.asked.append(order)
        async with asyncio.timeout(60):
            await self.halted.wait()
        heard(ev.TrialEnded(trial=order.members[0].id, attempt=1, status="stopped"))
        return None


async def test_a_survey_that_takes_a_share_of_the_sweep_is_given_up(
    tmp_path: Path, four_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput_survey, "LEAST_BUDGET", 0.05)
    monkeypatch.setattr(throughput_survey, "BUDGET_SHARE", 0.0)
    floor = Floor(tmp_path, lambda order: 1.0)
    floor.members = [Slow() for _ in range(4)]
    assert await floor.settle() == [("cpu", 4, 1)] * 4
    assert [len(each.asked) for each in floor.members] == [1] * 4, "nothing is asked afterwards"
    assert floor.crew.gone == []
    events = journal.Reader(tmp_path / journal.NAME).read_all()
    (note,) = (each for each in events if isinstance(each, ev.Note))
    assert "not measured to the end" in note.text
