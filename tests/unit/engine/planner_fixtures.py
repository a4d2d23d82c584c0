"""A planner of some configurations, with a worker that answers from a table."""

import asyncio
from collections.abc import Callable

import msgspec

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import Device
from batchscope.engine.journal.events import AnyEvent, MicroBatchesMeasured, Paced, TrialEnded
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.costs import Costs
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.planner import Planner, PlanningTask, Rest
from batchscope.engine.planning.micro_batch import Shape, usable
from batchscope.engine.planning.stacking import StackTiming
from batchscope.engine.processes import orders
from batchscope.engine.spec import Configuration, Memory, Trial, trials_of
from tests.unit.training_fixtures import TRAIN_SIZE, opened

DATA = Prepared(
    name="digits", folder="", train=TRAIN_SIZE, test=360, shape=(1, 8, 8), classes=10, digest=""
)
HELD = (TRAIN_SIZE + 360) * (64 * 4 + 8) + 360 * 8
CPU, GPU = Device("cpu", "a CPU"), Device("cuda:0", "a GPU", "GPU-1")
ALONE = Placement(CPU, workers=1, threads=3)
ALL = Rest()
EACH = 2000
"""Bytes that an image takes in the fake worker, beside the data."""


class Worker:
    """Measures up to the whole batch, whole or in eighths, or does what `instead` says."""

    def __init__(self) -> None:
        self.asked: list[orders.Measure] = []
        self.paced: list[orders.Pace] = []
        self.free = 1 << 40
        self.step: Callable[[int], float] | None = lambda size: 2.0 + size
        self.instead: Callable[[orders.Measure], AnyEvent | None] | None = None

    async def work(
        self,
        order: orders.Measure | orders.Pace,
        heard: Callable[[AnyEvent], None],
        control: Control,
    ) -> str | None:
        if isinstance(order, orders.Pace):
            self.paced.append(order)
            heard(self.timed(order) if self.step else stopped(order))
            return None
        self.asked.append(order)
        await asyncio.sleep(0)
        event = self.instead(order) if self.instead else self.measured(order)
        if event is None:
            return "exit code -9"
        heard(event)
        return None

    def timed(self, order: orders.Pace) -> Paced:
        assert self.step is not None
        return Paced(
            trial=order.members[0].id,
            worker=0,
            device_name=order.device_name,
            batch_size=order.plan.largest,
            micro_batch_size=order.plan.micro_batch_size,
            threads=order.plan.threads,
            asked=max(order.stacks),
            stacks=tuple(StackTiming(size, self.step(size)) for size in order.stacks),
            seconds=0.1,
        )

    def measured(self, order: orders.Measure) -> MicroBatchesMeasured:
        batch = order.plan.batch_size
        sizes = sorted({1, max(1, batch // 8), batch})
        limit = min(self.free, order.limit_bytes or self.free)
        return MicroBatchesMeasured(
            trial=order.members[0].id,
            device="cpu",
            device_name=order.device_name,
            batch_size=batch,
            asked_bytes=order.asked_bytes,
            limit_bytes=limit,
            held_bytes=HELD,
            shapes=tuple(Shape(size, HELD + EACH * size) for size in sizes),
            evaluation_batch_size=180,
            evaluation_peak_bytes=HELD,
            seconds=0.5,
        )


def stopped(order: orders.Pace) -> TrialEnded:
    return TrialEnded(trial=order.members[0].id, attempt=order.attempt, status="stopped")


class Office:
    """A planner of some configurations, its state and its worker."""

    def __init__(self, *configurations: Configuration, limit: int | None = None) -> None:
        self.state = SweepState().fold(opened(configurations))
        self.worker = Worker()
        self.trials = [trial for c in configurations for trial in trials_of(c)]
        costs = Costs(self.state, {"digits": DATA})
        self.planner = Planner(self.state, self.state.apply, Control(), limit, costs)

    async def settle(
        self, *trials: Trial, place: Placement = ALONE, rest: Rest = ALL
    ) -> str | None:
        task = PlanningTask(self.worker, place, trials, 1, DATA)  # type: ignore[arg-type]
        return await self.planner.settle(task, lambda: rest)

    def micro(self, *trials: Trial) -> list[int]:
        return [self.state.plans[trial.id].micro_batch_size for trial in trials]


def with_memory(of: Configuration, memory: Memory) -> Configuration:
    return msgspec.structs.replace(of, settings=msgspec.structs.replace(of.settings, memory=memory))


def fits(count: int) -> int:
    """The least limit below which a micro-batch of so many images keeps the headroom."""
    limit = int((HELD + EACH * count) / 0.9)
    while usable(limit) < HELD + EACH * count:
        limit += 1
    return limit
