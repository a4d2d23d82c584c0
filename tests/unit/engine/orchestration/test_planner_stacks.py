"""Which replicates the planner stacks, with a worker that answers from a table."""

import msgspec
import pytest

from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.planner import Rest
from batchscope.engine.spec import Configuration, Memory, Run
from tests.unit.engine.planner_fixtures import (
    ALL,
    ALONE,
    CPU,
    EACH,
    HELD,
    Office,
    fits,
    with_memory,
)
from tests.unit.training_fixtures import configuration


def with_run(of: Configuration, run: Run) -> Configuration:
    return msgspec.structs.replace(of, settings=msgspec.structs.replace(of.settings, run=run))


async def stacks_of(office: Office, rest: Rest = ALL, place: Placement = ALONE) -> list[int]:
    """Plan the trials together and return the sizes of their groups."""
    assert await office.settle(*office.trials, place=place, rest=rest) is None
    plans = dict.fromkeys(office.state.plans[trial.id] for trial in office.trials)
    return [len(plan.members) for plan in plans]


async def test_replicates_are_stacked_so_that_the_sweep_ends_first() -> None:
    office = Office(configuration(64, seeds=5), limit=1 << 30)
    assert await stacks_of(office, Rest(2)) == [3, 2]
    (order,) = office.worker.paced
    assert (order.stacks, order.workers, order.plan.micro_batch_size) == ((1, 2, 3, 4, 5), 0, 64)
    assert [trial.id for trial in order.members] == [trial.id for trial in office.trials]
    first, last = (office.state.plans[office.trials[at].id] for at in (0, 4))
    assert (first.group, first.members) == ("b64-s0+2", ("b64-s0", "b64-s1", "b64-s2"))
    assert "3 replicates as one stack: 1.7 × " in first.reason
    assert last.members == ("b64-s3", "b64-s4")
    busy = Office(configuration(64, seeds=5), limit=1 << 30)
    assert await stacks_of(busy, Rest(2, waiting=[99.0] * 4)) == [5]


async def test_replicates_are_not_stacked_without_a_gain() -> None:
    office = Office(configuration(64, seeds=3))
    office.worker.step = lambda size: float(size)
    assert await stacks_of(office) == [1, 1, 1]
    found = "alone: a stack of 3 is only 1.00 × "
    assert all(found in plan.reason for plan in office.state.plans.values())


async def test_similar_trials_share_the_timing() -> None:
    office = Office(configuration(64, seeds=4))
    raised = [configuration(64, name=name, lr=0.9, seeds=3) for name in ("raised", "again")]
    more = Office(configuration(64, seeds=4), *raised)
    assert await stacks_of(office) == [4]
    assert await more.settle(*more.trials[:4]) is None
    assert await more.settle(*more.trials[4:7]) is None
    assert len(more.worker.paced) == 1
    assert {len(plan.members) for plan in more.state.plans.values()} == {4, 3}
    await more.settle(*more.trials[7:], place=Placement(CPU, 1, 1))
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
async def test_a_stack_size_of_the_preset_is_not_timed(run: Run, sizes: list[int]) -> None:
    office = Office(with_run(configuration(64, seeds=5), run))
    assert await stacks_of(office) == sizes
    assert office.worker.paced == []


async def test_a_micro_batch_size_of_the_preset_is_used_for_timing() -> None:
    office = Office(with_memory(configuration(64, seeds=2), Memory(micro_batch_size=24)))
    assert await stacks_of(office) == [2]
    (order,) = office.worker.paced
    assert order.plan.micro_batch_size == 24
    assert office.worker.asked == []


@pytest.mark.parametrize(("images", "sizes"), [(64 * 5, [5]), (64 * 3, [3, 2]), (64, [1] * 5)])
async def test_no_stack_exceeds_the_memory(images: int, sizes: list[int]) -> None:
    """Apart from the images, each replicate needs as much memory as one alone."""
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
