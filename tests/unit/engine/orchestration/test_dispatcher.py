"""The dispatcher with groups of trials, and scripted workers that only report results."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.devices.devices import Device
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.events import AnyEvent
from batchscope.engine.orchestration.command_handler import CommandHandler
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.dispatcher import SKIPPED, Dispatcher
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.trial_queue import Group
from batchscope.engine.planning.plan import Plan, for_members, make_plan
from batchscope.engine.planning.stacking import StackTiming
from batchscope.engine.processes import orders
from batchscope.engine.sweeps import commands
from batchscope.engine.task_table import TaskFacts
from batchscope.engine.tasks.code_digests import CodeRefused
from tests.unit.engine.conductor_fixtures import DATA, RAW, House, began

RUNS: dict[str, Any] = {
    **RAW,
    "seeds": 3,
    "run": {"stack": 3},
    "grid": {"batch_size": [64]},
    "memory": {"micro_batch_size": 64},
}
NAMES = [f"b64-s{seed}" for seed in range(3)]
Does = Callable[["Scripted", orders.TrainOrder], str | None]


@dataclass
class Scripted:
    """A worker that starts each order and then does what `script` says, call by call."""

    script: list[Does]
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
        self.heard, self.control = heard, control
        if isinstance(order, orders.Pace):
            heard(paced(order))
            return None
        assert isinstance(order, orders.TrainOrder)
        for name in order.active:
            heard(began(order, name))
        await asyncio.sleep(0)
        return self.script.pop(0)(self, order)

    def end(self, order: orders.TrainOrder, status: ev.TrialStatus, *names: str) -> None:
        for name in names or order.active:
            self.heard(ev.TrialEnded(trial=name, attempt=order.attempt, status=status))

    @property
    def trained(self) -> list[tuple[tuple[str, ...], int]]:
        """The active trials and the attempt of each training."""
        return [(o.active, o.attempt) for o in self.asked if isinstance(o, orders.TrainOrder)]


def paced(order: orders.Pace) -> ev.Paced:
    return ev.Paced(
        trial=order.members[0].id,
        worker=0,
        device_name=order.device_name,
        batch_size=order.plan.largest,
        micro_batch_size=order.plan.micro_batch_size,
        threads=order.plan.threads,
        asked=max(order.stacks),
        stacks=tuple(StackTiming(size, 2.0 + size) for size in order.stacks),
        seconds=0.1,
    )


def planned(group: Group) -> Plan:
    return for_members(make_plan(group.trials[0], 1437, 1), group.trials)


def finishes(worker: Scripted, order: orders.TrainOrder) -> None:
    worker.end(order, "finished")


class Crew:
    """Returns the same scripted worker each time."""

    def __init__(self, member: Scripted) -> None:
        self.member = member

    async def hire(self, number: int, device: str, threads: int, card: str = "") -> Scripted:
        return self.member


async def serve(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *script: Does, raw: dict[str, Any] = RUNS
) -> tuple[House, Scripted]:
    monkeypatch.setattr("batchscope.engine.orchestration.retry_policy.FIRST_WAIT_SECONDS", 0.001)
    house, member = House(folder, raw), Scripted(list(script))
    crew: Any = Crew(member)
    server = Dispatcher(house.ledger, house.queue, DATA, member.control, lambda: None, None)
    async with asyncio.timeout(30):
        first: Any = asyncio.ensure_future(crew.hire(0, "cpu", 1))
        assert await server.serve(crew, 0, first, Placement(Device("cpu", "a CPU"), 1, 1)) is None
    house.ledger.close()
    return house, member


def statuses(house: House) -> list[str]:
    return [house.ledger.state.trials[name].status for name in NAMES]


async def test_a_group_is_trained_by_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, worker = await serve(tmp_path, monkeypatch, finishes)
    (order,) = worker.asked
    assert isinstance(order, orders.TrainOrder)
    assert [trial.id for trial in order.members] == NAMES
    assert (order.active, order.attempt) == (tuple(NAMES), 1)
    assert order.checkpoints == str(checkpoints.folder_of(tmp_path, "b64-s0+2"))
    assert statuses(house) == ["finished"] * 3


async def test_timed_replicates_are_trained_by_one_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = {**RUNS, "run": {}}
    house, worker = await serve(tmp_path, monkeypatch, finishes, raw=raw)
    assert [type(order) for order in worker.asked] == [orders.Pace, orders.TrainOrder]
    assert worker.trained == [(tuple(NAMES), 1)]
    assert statuses(house) == ["finished"] * 3


async def test_after_a_death_the_unfinished_trials_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(worker: Scripted, order: orders.TrainOrder) -> str:
        worker.end(order, "diverged", NAMES[1])
        return "killed"

    house, worker = await serve(tmp_path, monkeypatch, dies, finishes)
    assert worker.trained == [(tuple(NAMES), 1), ((NAMES[0], NAMES[2]), 2)]
    assert statuses(house) == ["finished", "diverged", "finished"]


async def test_after_too_many_deaths_the_unfinished_trials_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(worker: Scripted, order: orders.TrainOrder) -> str:
        if order.attempt == 1:
            worker.end(order, "finished", NAMES[2])
        return "killed"

    house, worker = await serve(tmp_path, monkeypatch, *[dies] * 4)
    assert len(worker.trained) == 4
    assert statuses(house) == ["failed", "failed", "finished"]
    assert "3 retries" in house.ledger.state.trials[NAMES[0]].reason


async def test_a_group_that_makes_progress_is_always_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gets_further(worker: Scripted, order: orders.TrainOrder) -> str:
        checkpoints.write(Path(order.checkpoints), order.attempt, order.attempt, b"payload")
        return "killed"

    house, worker = await serve(tmp_path, monkeypatch, *[gets_further] * 6, finishes)
    assert [attempt for _, attempt in worker.trained] == list(range(1, 8))
    assert statuses(house) == ["finished"] * 3
    assert not checkpoints.folder_of(tmp_path, "b64-s0+2").exists()


async def test_a_skipped_trial_ends_while_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def skips(worker: Scripted, order: orders.TrainOrder) -> None:
        worker.control.drop(NAMES[1])
        worker.end(order, "stopped", NAMES[1])
        worker.end(order, "finished", NAMES[0], NAMES[2])

    house, _ = await serve(tmp_path, monkeypatch, skips)
    assert statuses(house) == ["finished", "skipped", "finished"]
    assert house.ledger.state.trials[NAMES[1]].reason == SKIPPED


async def test_a_skipped_trial_is_not_trained_again_after_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(worker: Scripted, order: orders.TrainOrder) -> str:
        worker.control.drop(NAMES[1])
        return "killed"

    house, worker = await serve(tmp_path, monkeypatch, dies, finishes)
    assert worker.trained == [(tuple(NAMES), 1), ((NAMES[0], NAMES[2]), 2)]
    assert statuses(house) == ["finished", "skipped", "finished"]


async def test_a_trial_retried_while_its_worker_dies_is_not_started_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, RUNS)
    control = Control()
    servant = CommandHandler(tmp_path, house.ledger, house.queue, control)

    def skips(worker: Scripted, order: orders.TrainOrder) -> str:
        control.drop(NAMES[1])
        worker.end(order, "stopped", NAMES[1])
        servant.do(commands.Retry(NAMES[1]))
        return "killed"

    monkeypatch.setattr("batchscope.engine.orchestration.retry_policy.FIRST_WAIT_SECONDS", 0.001)
    member = Scripted([skips, finishes, finishes], control=control)
    crew: Any = Crew(member)
    server = Dispatcher(house.ledger, house.queue, DATA, control, lambda: None, None)
    async with asyncio.timeout(30):
        first: Any = asyncio.ensure_future(crew.hire(0, "cpu", 1))
        await server.serve(crew, 0, first, Placement(Device("cpu", "a CPU"), 1, 1))
    house.ledger.close()
    assert member.trained == [
        *((tuple(NAMES), 1), ((NAMES[0], NAMES[2]), 2), ((NAMES[1],), 2)),
    ]
    last = member.asked[-1]
    assert isinstance(last, orders.TrainOrder)
    assert [trial.id for trial in last.members] == NAMES, "the same bits as in the stack"
    assert last.checkpoints == str(checkpoints.folder_of(tmp_path, NAMES[1]))
    assert statuses(house) == ["finished"] * 3


async def test_a_trial_skipped_before_its_group_starts_keeps_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder belongs to the group, although its first trial is separate by then."""
    house = House(tmp_path, RUNS)
    control = Control()
    member = Scripted([finishes], control=control)
    crew: Any = Crew(member)
    server = Dispatcher(house.ledger, house.queue, DATA, control, lambda: None, None)
    taken = house.take()
    house.ledger.heard(ev.Planned(plan=planned(taken)))
    house.queue.give_back(taken)
    control.drop(NAMES[0])
    async with asyncio.timeout(30):
        first: Any = asyncio.ensure_future(crew.hire(0, "cpu", 1))
        await server.serve(crew, 0, first, Placement(Device("cpu", "a CPU"), 1, 1))
    house.ledger.close()
    (order,) = member.asked
    assert isinstance(order, orders.TrainOrder)
    assert order.active == tuple(NAMES[1:])
    assert order.checkpoints == str(checkpoints.folder_of(tmp_path, "b64-s0+2"))
    assert statuses(house) == ["skipped", "finished", "finished"]


async def test_two_workers_that_import_different_contents_stop_the_sweep(tmp_path: Path) -> None:
    house, member = House(tmp_path, RUNS), Scripted([])
    facts = TaskFacts(train=4, digests=(("mine.py", "1"),))
    house.ledger.heard(
        ev.DataReady(name="mine:make", train=4, test=0, shape=(0, 0, 0), digest="d", task=facts)
    )
    server = Dispatcher(house.ledger, house.queue, DATA, member.control, lambda: None, None)
    late = ev.CodeLoaded(name="mine:make", digests=(("late.py", "2"),))
    server._heard(late)
    server._heard(late)
    with pytest.raises(CodeRefused) as caught:
        server._heard(ev.CodeLoaded(name="mine:make", digests=(("late.py", "3"),)))
    assert caught.value.files == ("late.py",)
    house.ledger.close()
