"""The planner of the conductor, with a worker that answers from a table."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from engine import orders
from engine.control import Control
from engine.costs import Costs
from engine.devices import Device, Reading
from engine.events import AnyEvent, Measured, Paced, TrialEnded
from engine.fitting import Shape, usable
from engine.plan import LEAST_SECONDS, Plan, make_plan
from engine.planning import (
    NothingFits,
    Place,
    Planner,
    Rest,
    Task,
    chosen,
    data_bytes,
    worker_share,
)
from engine.prepared import Prepared
from engine.spec import Configuration, Memory, Run, Trial, trials_of
from engine.stacking import Stack
from engine.state import SweepState
from tests.unit.training_fixtures import TRAIN_SIZE, configuration, opened

MIB = 1 << 20
DATA = Prepared(
    name="digits", folder="", train=TRAIN_SIZE, test=360, shape=(1, 8, 8), classes=10, digest=""
)
HELD = (TRAIN_SIZE + 360) * (64 * 4 + 8) + 360 * 8
CPU, GPU = Device("cpu", "a CPU"), Device("cuda:0", "a GPU", "GPU-1")
ALONE = Place(CPU, workers=1, threads=3)
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
            stacks=tuple(Stack(size, self.step(size)) for size in order.stacks),
            seconds=0.1,
        )

    def measured(self, order: orders.Measure) -> Measured:
        batch = order.plan.batch_size
        sizes = sorted({1, max(1, batch // 8), batch})
        limit = min(self.free, order.limit_bytes or self.free)
        return Measured(
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

    async def settle(self, *trials: Trial, place: Place = ALONE, rest: Rest = ALL) -> str | None:
        task = Task(self.worker, place, trials, 1, DATA)  # type: ignore[arg-type]
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


# ---- who is measured


async def test_replicates_and_what_is_alike_share_one_measuring() -> None:
    office = Office(
        configuration(64, seeds=3),
        configuration(64, name="raised", lr=0.9),
        configuration(512, seeds=2),
        limit=fits(64),
    )
    for trial in office.trials:
        assert await office.settle(trial) is None
    assert [order.members[0].id for order in office.worker.asked] == ["b64-s0", "b512-s0"]
    assert office.micro(*office.trials) == [64, 64, 64, 64, 64, 64]
    assert {office.state.plans[t.id].accumulation_steps for t in office.trials[4:]} == {8}


async def test_those_who_come_at_once_wait_for_one_measuring() -> None:
    office = Office(configuration(64, seeds=4))
    assert await asyncio.gather(*map(office.settle, office.trials)) == [None] * 4
    assert len(office.worker.asked) == 1
    assert office.micro(*office.trials) == [64] * 4


async def test_replicates_have_as_many_threads_as_those_that_are_planned() -> None:
    """Whoever resumes with one trial left has all cores for it."""
    office = Office(configuration(64, seeds=2), configuration(8))
    await office.settle(office.trials[0], place=Place(CPU, 2, 1))
    for trial in office.trials[1:]:
        await office.settle(trial, place=Place(CPU, 1, 2))
    assert [office.state.plans[trial.id].threads for trial in office.trials] == [1, 1, 2]


async def test_a_micro_batch_that_the_preset_names_is_taken() -> None:
    office = Office(with_memory(configuration(64, seeds=1), Memory(micro_batch_size=24)))
    (trial,) = office.trials
    await office.settle(trial)
    assert office.state.plans[trial.id] == make_plan(trial, TRAIN_SIZE, 3)
    assert office.micro(trial) == [24]
    assert office.worker.asked == []


async def test_another_limit_or_device_is_measured_anew() -> None:
    alike = [configuration(512, name=name) for name in "abc"]
    office = Office(
        with_memory(alike[0], Memory(limit=fits(64))),
        with_memory(alike[1], Memory(limit=fits(512))),
        alike[2],
    )
    for trial in office.trials:
        await office.settle(trial)
    assert office.micro(*office.trials) == [64, 512, 512]
    assert len(office.worker.asked) == 3
    again = Office(configuration(64, seeds=2))
    await again.settle(again.trials[0])
    await again.settle(again.trials[1], place=Place(GPU, 1, 1))
    assert [order.device_name for order in again.worker.asked] == ["a CPU", "a GPU"]


@pytest.mark.parametrize(("first", "then", "asked"), [(2, 1, 1), (1, 2, 2), (2, 2, 1)])
async def test_what_was_measured_holds_for_a_share_as_large(
    first: int, then: int, asked: int
) -> None:
    """Resume may have fewer workers than there were before, each with more memory."""
    office = Office(configuration(512, seeds=2), limit=2 * fits(64) + HELD)
    for trial, workers in zip(office.trials, (first, then), strict=True):
        await office.settle(trial, place=Place(CPU, workers, 1))
    assert len(office.worker.asked) == asked


# ---- which replicates are stacked


def with_run(of: Configuration, run: Run) -> Configuration:
    return msgspec.structs.replace(of, settings=msgspec.structs.replace(of.settings, run=run))


async def stacks_of(office: Office, rest: Rest = ALL, place: Place = ALONE) -> list[int]:
    """Settle the trials of an office together; the sizes of their groups."""
    assert await office.settle(*office.trials, place=place, rest=rest) is None
    plans = dict.fromkeys(office.state.plans[trial.id] for trial in office.trials)
    return [len(plan.members) for plan in plans]


async def test_replicates_are_stacked_as_the_sweep_ends_first() -> None:
    office = Office(configuration(64, seeds=5), limit=1 << 30)
    assert await stacks_of(office, Rest(2)) == [3, 2]
    (order,) = office.worker.paced
    assert (order.stacks, order.workers, order.plan.micro_batch_size) == ((1, 2, 3, 4, 5), 0, 64)
    assert [trial.id for trial in order.members] == [trial.id for trial in office.trials]
    first, last = (office.state.plans[office.trials[at].id] for at in (0, 4))
    assert (first.group, first.members) == ("b64-s0+2", ("b64-s0", "b64-s1", "b64-s2"))
    assert first.reason.endswith("3 replicates as one stack: 1.7 × the pace of one after the other")
    assert last.members == ("b64-s3", "b64-s4")
    busy = Office(configuration(64, seeds=5), limit=1 << 30)
    assert await stacks_of(busy, Rest(2, waiting=[99.0] * 4)) == [5]


async def test_what_gains_nothing_stays_alone_and_says_so() -> None:
    office = Office(configuration(64, seeds=3))
    office.worker.step = lambda size: float(size)
    assert await stacks_of(office) == [1, 1, 1]
    told = "alone: a stack of 3 has 1.00 × the pace of one after the other"
    assert all(plan.reason.endswith(told) for plan in office.state.plans.values())


async def test_what_is_alike_shares_the_timing() -> None:
    office = Office(configuration(64, seeds=4))
    raised = [configuration(64, name=name, lr=0.9, seeds=3) for name in ("raised", "again")]
    more = Office(configuration(64, seeds=4), *raised)
    assert await stacks_of(office) == [4]
    assert await more.settle(*more.trials[:4]) is None
    assert await more.settle(*more.trials[4:7]) is None
    assert len(more.worker.paced) == 1
    assert {len(plan.members) for plan in more.state.plans.values()} == {4, 3}
    await more.settle(*more.trials[7:], place=Place(CPU, 1, 1))
    assert len(more.worker.paced) == 2, "with other threads it is another pace"


@pytest.mark.parametrize(
    ("run", "sizes"),
    [
        (Run(stack="never"), [1] * 5),
        (Run(stack=2), [2, 2, 1]),
        (Run(stack=9), [5]),
        (Run(timing="alone"), [1] * 5),
    ],
)
async def test_what_the_preset_says_is_not_timed(run: Run, sizes: list[int]) -> None:
    office = Office(with_run(configuration(64, seeds=5), run))
    assert await stacks_of(office) == sizes
    assert office.worker.paced == []


async def test_a_named_micro_batch_is_timed_as_it_is() -> None:
    office = Office(with_memory(configuration(64, seeds=2), Memory(micro_batch_size=24)))
    assert await stacks_of(office) == [2]
    (order,) = office.worker.paced
    assert order.plan.micro_batch_size == 24
    assert office.worker.asked == []


@pytest.mark.parametrize(("images", "sizes"), [(64 * 5, [5]), (64 * 3, [3, 2]), (64, [1] * 5)])
async def test_no_stack_is_larger_than_fits(images: int, sizes: list[int]) -> None:
    """Each replicate takes what one alone does beside the images."""
    office = Office(configuration(64, seeds=5), limit=fits(images))
    assert await stacks_of(office) == sizes
    assert all(max(order.stacks) == max(sizes) for order in office.worker.paced)
    fixed = Office(with_run(configuration(64, seeds=5), Run(stack=5)), limit=fits(images))
    assert await stacks_of(fixed) == sizes


async def test_a_stack_evaluates_as_many_images_as_fit() -> None:
    office = Office(configuration(64, seeds=4), limit=fits(64 * 4))
    office.worker.instead = lambda order: msgspec.structs.replace(
        office.worker.measured(order), evaluation_peak_bytes=HELD + 180 * EACH
    )
    assert await stacks_of(office) == [4]
    assert office.state.plans["b64-s0"].evaluation_batch_size == 45, "4 × 45 are 180"
    alone = Office(with_run(configuration(64, seeds=4), Run(stack="never")), limit=fits(64 * 4))
    alone.worker.instead = office.worker.instead
    await alone.settle(alone.trials[0])
    assert alone.state.plans["b64-s0"].evaluation_batch_size == 180


async def test_a_timing_that_is_stopped_plans_nothing() -> None:
    office = Office(configuration(64, seeds=3))
    office.worker.step = None
    assert await office.settle(*office.trials) is None
    assert office.state.plans == {}
    statuses = [office.state.trials[trial.id].status for trial in office.trials]
    assert statuses == ["stopped", "queued", "queued"]
    office.worker.step = lambda size: 1.0
    await office.settle(*office.trials[1:])
    assert {plan.members for plan in office.state.plans.values()} == {("b64-s1", "b64-s2")}


# ---- what is asked of the worker


@pytest.mark.parametrize(
    ("option", "preset", "asked"),
    [(None, None, None), (9 * MIB, None, 9), (None, "8MiB", 8), (9 * MIB, 8 * MIB, 8)],
)
async def test_the_smaller_limit_counts(
    option: int | None, preset: str | int | None, asked: int | None
) -> None:
    office = Office(with_memory(configuration(64, seeds=1), Memory(limit=preset)), limit=option)
    await office.settle(office.trials[0], place=Place(GPU, 2, 1))
    (order,) = office.worker.asked
    assert order.asked_bytes == (asked and asked * MIB)
    assert order.limit_bytes == (asked and asked * MIB // 2)
    assert order.plan == make_plan(office.trials[0], TRAIN_SIZE, 1)
    assert (order.device_name, order.data, order.attempt) == ("a GPU", DATA, 1)


async def test_a_cpu_without_limit_has_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([Reading(available=HELD + 3 * MIB), Reading()])
    monkeypatch.setattr("engine.planning.memory_of", lambda device: next(readings))
    office = Office(configuration(64), configuration(512))
    for trial in office.trials:
        await office.settle(trial, place=Place(CPU, 3, 1))
    first, second = office.worker.asked
    assert (first.asked_bytes, first.limit_bytes) == (None, HELD + MIB)
    assert second.asked_bytes is None
    assert (second.limit_bytes or 0) > 1 << 50


@pytest.mark.parametrize(
    ("total", "device", "workers", "share"),
    [
        (HELD + 900, CPU, 1, HELD + 900),
        (HELD + 900, CPU, 3, HELD + 300),
        (HELD, CPU, 3, HELD),
        (1000, CPU, 3, 1000),
        (HELD + 900, GPU, 3, (HELD + 900) // 3),
    ],
)
def test_shares(total: int, device: Device, workers: int, share: int) -> None:
    assert data_bytes(DATA) == HELD
    assert worker_share(total, Place(device, workers, 1), DATA) == share


@pytest.mark.parametrize(("seconds", "time"), [(1.0, LEAST_SECONDS), (200.0, 6.0)])
async def test_measuring_takes_a_small_share_of_the_trial(seconds: float, time: float) -> None:
    office = Office(configuration(64, seconds=seconds))
    await office.settle(office.trials[0])
    assert office.worker.asked[0].seconds == pytest.approx(time)


# ---- what comes of it


async def test_where_not_even_one_image_fits_the_trials_fail() -> None:
    office = Office(configuration(64, seeds=2), limit=fits(1) - 2)
    for trial in office.trials:
        assert await office.settle(trial) is None
    assert len(office.worker.asked) == 1
    assert office.state.plans == {}
    for trial in office.trials:
        ended = office.state.trials[trial.id]
        assert (ended.status, ended.attempt) == ("failed", 1)
        assert ended.reason == (
            f"not even one image at a time fits: it needs {fits(1):,} bytes with the data and a "
            f"headroom of a tenth, and a worker may hold {fits(1) - 2:,} bytes"
        )


async def test_what_does_not_fit_into_free_memory_is_measured_again() -> None:
    office = Office(configuration(64, seeds=2))
    office.worker.free = fits(1) - 2
    await office.settle(office.trials[0])
    assert office.state.trials["b64-s0"].status == "failed"
    office.worker.free = fits(64)
    await office.settle(office.trials[1])
    assert office.micro(office.trials[1]) == [64]


async def test_a_lost_worker_is_reported_and_the_next_measures() -> None:
    office = Office(configuration(64, seeds=1))
    office.worker.instead = lambda order: None
    assert await office.settle(office.trials[0]) == "exit code -9"
    assert office.state.plans == {}
    office.worker.instead = None
    assert await office.settle(office.trials[0]) is None
    assert office.micro(office.trials[0]) == [64]


async def test_an_error_in_measuring_ends_the_trial_alone() -> None:
    office = Office(configuration(64, seeds=2))
    office.worker.instead = lambda order: TrialEnded(
        trial=order.members[0].id, attempt=order.attempt, status="failed", reason="ValueError: x"
    )
    assert await office.settle(office.trials[0]) is None
    assert office.state.trials["b64-s0"].reason == "ValueError: x"
    assert office.state.plans == {}
    office.worker.instead = None
    assert await office.settle(office.trials[1]) is None
    assert office.micro(office.trials[1]) == [64]


# ---- the plan itself


def found(*shapes: Shape, asked: int | None = 1000) -> Measured:
    return Measured(
        trial="b500-s0",
        device="cpu",
        device_name="a CPU",
        batch_size=500,
        asked_bytes=asked,
        limit_bytes=1000,
        held_bytes=0,
        shapes=shapes,
        evaluation_batch_size=77,
        evaluation_peak_bytes=800,
        seconds=0.1,
    )


@pytest.fixture
def whole() -> Plan:
    (trial,) = trials_of(configuration(500))
    return make_plan(trial, TRAIN_SIZE, threads=5)


def test_the_plan_takes_what_was_chosen(whole: Plan) -> None:
    plan = chosen(whole, found(Shape(8, 100), Shape(120, 900), Shape(130, 901)))
    assert plan == Plan(
        group="b500-s0",
        members=("b500-s0",),
        batch_size=500,
        micro_batch_size=120,
        accumulation_steps=5,
        evaluation_batch_size=77,
        draw_micro_batch_size=120,
        threads=5,
        reason="500 = 4 × 120 + 20: 240 would need 912 B of 900 B usable",
    )


@pytest.mark.parametrize(
    ("asked", "most", "draws"), [(1000, 300, 256), (1000, 9, 9), (None, 9, 256)]
)
def test_draws_of_a_probe_keep_below_what_people_ask_for(
    whole: Plan, asked: int | None, most: int, draws: int
) -> None:
    plan = chosen(whole, found(Shape(8, 100), Shape(most, 900), asked=asked))
    assert plan.draw_micro_batch_size == draws


@pytest.mark.parametrize(
    ("shapes", "needs"),
    [
        ([Shape(1, 1800), Shape(2, 1700)], "1.95 KiB with the data and a headroom of a tenth"),
        ([Shape(1, failed="out of memory"), Shape(2, 2000)], "more"),
        ([Shape(1, failed="out of memory")], "more"),
    ],
)
def test_why_nothing_fits(whole: Plan, shapes: list[Shape], needs: str) -> None:
    with pytest.raises(NothingFits) as caught:
        chosen(whole, found(*shapes))
    assert str(caught.value) == (
        f"not even one image at a time fits: it needs {needs}, and a worker may hold 0.98 KiB"
    )
