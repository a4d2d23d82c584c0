"""The planner, with a worker that answers from a table."""

import asyncio

import pytest
from msgspec.structs import replace

from batchscope.engine.devices.devices import Device, Reading
from batchscope.engine.journal.events import MicroBatchesMeasured, Planned, TrialEnded
from batchscope.engine.orchestration.placement import Placement, data_bytes, worker_share
from batchscope.engine.orchestration.planner import NothingFits, chosen
from batchscope.engine.planning.micro_batch import Shape
from batchscope.engine.planning.plan import LEAST_SECONDS, Plan, make_plan
from batchscope.engine.spec import Configuration, Memory, Scaling, trials_of
from tests.unit.engine.planner_fixtures import CPU, DATA, GPU, HELD, Office, fits, with_memory
from tests.unit.training_fixtures import TRAIN_SIZE, configuration

MIB = 1 << 20


# ---- who is measured


async def test_replicates_and_similar_trials_share_one_measurement() -> None:
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


async def test_simultaneous_requests_wait_for_one_measurement() -> None:
    office = Office(configuration(64, seeds=4))
    assert await asyncio.gather(*map(office.settle, office.trials)) == [None] * 4
    assert len(office.worker.asked) == 1
    assert office.micro(*office.trials) == [64] * 4


async def test_replicates_have_the_threads_of_planned_ones() -> None:
    """A sweep resumed with one trial left has all cores for it."""
    office = Office(configuration(64, seeds=2), configuration(8))
    await office.settle(office.trials[0], place=Placement(CPU, 2, 1))
    for trial in office.trials[1:]:
        await office.settle(trial, place=Placement(CPU, 1, 2))
    assert [office.state.plans[trial.id].threads for trial in office.trials] == [1, 1, 2]


async def test_the_micro_batch_size_of_the_preset_is_used() -> None:
    office = Office(with_memory(configuration(64, seeds=1), Memory(micro_batch_size=24)))
    (trial,) = office.trials
    await office.settle(trial)
    assert office.state.plans[trial.id] == make_plan(trial, TRAIN_SIZE, 3)
    assert office.micro(trial) == [24]
    assert office.worker.asked == []


async def test_another_limit_or_device_is_measured_again() -> None:
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
    await again.settle(again.trials[1], place=Placement(GPU, 1, 1))
    assert [order.device_name for order in again.worker.asked] == ["a CPU", "a GPU"]


@pytest.mark.parametrize(("first", "then", "asked"), [(2, 1, 1), (1, 2, 2), (2, 2, 1)])
async def test_a_measurement_holds_for_an_equal_or_larger_share(
    first: int, then: int, asked: int
) -> None:
    """A resumed sweep may have fewer workers, each with more memory."""
    office = Office(configuration(512, seeds=2), limit=2 * fits(64) + HELD)
    for trial, workers in zip(office.trials, (first, then), strict=True):
        await office.settle(trial, place=Placement(CPU, workers, 1))
    assert len(office.worker.asked) == asked


# ---- what is asked of the worker


@pytest.mark.parametrize(
    ("option", "preset", "asked"),
    [(None, None, None), (9 * MIB, None, 9), (None, "8MiB", 8), (9 * MIB, 8 * MIB, 8)],
)
async def test_the_smaller_limit_counts(
    option: int | None, preset: str | int | None, asked: int | None
) -> None:
    office = Office(with_memory(configuration(64, seeds=1), Memory(limit=preset)), limit=option)
    await office.settle(office.trials[0], place=Placement(GPU, 2, 1))
    (order,) = office.worker.asked
    assert order.asked_bytes == (asked and asked * MIB)
    assert order.limit_bytes == (asked and asked * MIB // 2)
    assert order.plan == make_plan(office.trials[0], TRAIN_SIZE, 1)
    assert (order.device_name, order.data, order.attempt) == ("a GPU", DATA, 1)


async def test_a_cpu_without_a_limit_uses_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([Reading(available=HELD + 3 * MIB), Reading()])
    monkeypatch.setattr(
        "batchscope.engine.orchestration.placement.memory_of", lambda device: next(readings)
    )
    office = Office(configuration(64), configuration(512))
    for trial in office.trials:
        await office.settle(trial, place=Placement(CPU, 3, 1))
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
    assert worker_share(total, Placement(device, workers, 1), DATA) == share


@pytest.mark.parametrize(("seconds", "time"), [(1.0, LEAST_SECONDS), (200.0, 6.0)])
async def test_measuring_takes_a_small_share_of_the_trial(seconds: float, time: float) -> None:
    office = Office(configuration(64, seconds=seconds))
    await office.settle(office.trials[0])
    assert office.worker.asked[0].seconds == pytest.approx(time)


# ---- what comes of it


async def test_trials_fail_if_not_even_one_image_fits() -> None:
    office = Office(configuration(64, seeds=2), limit=fits(1) - 2)
    for trial in office.trials:
        assert await office.settle(trial) is None
    assert len(office.worker.asked) == 1
    assert office.state.plans == {}
    for trial in office.trials:
        ended = office.state.trials[trial.id]
        assert (ended.status, ended.attempt) == ("failed", 1)
        assert f"needs {fits(1):,} bytes" in ended.reason
        assert f"{fits(1) - 2:,} bytes" in ended.reason


async def test_too_little_free_memory_is_measured_again() -> None:
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


async def test_an_error_in_measuring_ends_only_that_trial() -> None:
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


def found(*shapes: Shape, asked: int | None = 1000) -> MicroBatchesMeasured:
    return MicroBatchesMeasured(
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


def test_the_plan_uses_the_chosen_size(whole: Plan) -> None:
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
        reason="500 = 4 × 120 + 20: 240 would need 912 B, but only 900 B are usable",
    )


@pytest.mark.parametrize(
    ("asked", "most", "draws"), [(1000, 300, 256), (1000, 9, 9), (None, 9, 256)]
)
def test_draws_of_a_probe_stay_below_the_limit(
    whole: Plan, asked: int | None, most: int, draws: int
) -> None:
    plan = chosen(whole, found(Shape(8, 100), Shape(most, 900), asked=asked))
    assert plan.draw_micro_batch_size == draws


@pytest.mark.parametrize(
    ("shapes", "needs"),
    [
        ([Shape(1, 1800), Shape(2, 1700)], "1.95 KiB"),
        ([Shape(1, failed="out of memory"), Shape(2, 2000)], "more"),
        ([Shape(1, failed="out of memory")], "more"),
    ],
)
def test_why_nothing_fits(whole: Plan, shapes: list[Shape], needs: str) -> None:
    with pytest.raises(NothingFits) as caught:
        chosen(whole, found(*shapes))
    assert f"needs {needs}" in str(caught.value)
    assert "0.98 KiB" in str(caught.value)


def warming(epochs: float, seeds: int = 2) -> Configuration:
    """Return replicates whose 23 steps are the first epoch."""
    of = configuration(64, seeds=seeds)
    train = replace(of.settings.train, epochs=None, steps=23)
    settings = replace(of.settings, train=train, scaling=Scaling(warmup_epochs=epochs))
    return replace(of, settings=settings)


async def test_a_warmup_that_never_ends_is_refused_once_the_sizes_are_known() -> None:
    office = Office(warming(2))
    await office.settle(office.trials[0])
    trial = office.state.trials[office.trials[0].id]
    assert trial.status == "failed"
    assert trial.reason.startswith("scaling.warmup_epochs: a warmup of 2 epochs")
    assert office.worker.asked == []
    fine = Office(warming(1))
    await fine.settle(fine.trials[0])
    assert fine.micro(fine.trials[0]) == [64]


async def test_the_rest_of_a_configuration_that_an_earlier_version_began_is_trained() -> None:
    office = Office(warming(2))
    first, second = office.trials
    office.state.apply(Planned(plan=make_plan(first, TRAIN_SIZE, 1)))
    await office.settle(second)
    assert second.id in office.state.plans
