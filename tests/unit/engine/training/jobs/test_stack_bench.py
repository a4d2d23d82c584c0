"""Real timing of stacks of replicates, on a few images."""

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import orders
from batchscope.engine.spec import Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.cancellation import Halted
from batchscope.engine.training.jobs.stack_bench import pace
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import make_trial, synthetic

CPU = torch.device("cpu")
TRIALS = tuple(make_trial(Train(batch_size=32, lr=0.1, epochs=2), seed=seed) for seed in range(4))
GENEROUS = 60.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return synthetic(tmp_path_factory.mktemp("data"), train=100, test=20)


@pytest.fixture(scope="module")
def images(data: Prepared) -> Images:
    return load_images(data, CPU)


def order_of(data: Prepared, *stacks: int, trials: tuple[Trial, ...] = TRIALS) -> orders.Pace:
    return orders.Pace(
        members=trials,
        stacks=stacks,
        plan=make_plan(trials[0], data.train, 1),
        attempt=1,
        data=data,
        device_name="some CPU",
        limit_bytes=1 << 40,
        seconds=GENEROUS,
    )


def test_every_size_is_timed_and_its_memory_counted(data: Prepared, images: Images) -> None:
    """Each additional replicate takes the same memory; the images are shared."""
    found = pace(order_of(data, 1, 2, 4), images, CPU, 7)
    assert [stack.size for stack in found.stacks] == [1, 2, 4]
    assert all(stack.seconds > 0 for stack in found.stacks)
    one, two, four = (stack.peak_bytes for stack in found.stacks)
    held = sum(tensor.nbytes for tensor in images.held())
    assert held < one < two < four
    assert four - two == pytest.approx(2 * (two - one), rel=0.05)
    assert four - held <= 4 * (one - held)
    assert (found.trial, found.worker, found.asked, found.workers) == ("trial-s0", 7, 4, 0)
    assert (found.batch_size, found.micro_batch_size, found.threads) == (32, 32, 1)


def test_stacks_that_should_not_fit_are_not_tried(data: Prepared, images: Images) -> None:
    one = pace(order_of(data, 1), images, CPU, 0).stacks[0].peak_bytes
    held = sum(tensor.nbytes for tensor in images.held())
    limit = int((held + 3 * (one - held)) / 0.9) + 1
    order = replace(order_of(data, 1, 2, 4), limit_bytes=limit)
    assert [stack.size for stack in pace(order, images, CPU, 0).stacks] == [1, 2]


def test_one_stack_is_timed_even_without_time(data: Prepared, images: Images) -> None:
    found = pace(replace(order_of(data, 1, 2, 4), seconds=0.0), images, CPU, 0)
    assert found.stacks[0].size == 1
    assert found.stacks[0].seconds > 0


def test_a_stack_that_runs_out_of_memory_is_left_out(
    data: Prepared, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Stepper.step

    def step(self: Stepper, batch: torch.Tensor, *rest: int) -> bool:
        if len(batch) > 2:
            raise MemoryError("DefaultCPUAllocator: can't allocate memory")
        return real(self, batch, *rest)

    monkeypatch.setattr(Stepper, "step", step)
    assert [one.size for one in pace(order_of(data, 1, 2, 4), images, CPU, 0).stacks] == [1, 2]


def test_it_stops_when_halted(data: Prepared, images: Images) -> None:
    with pytest.raises(Halted):
        pace(order_of(data, 1, 2), images, CPU, 0, lambda: True)


def test_workers_that_measure_at_the_same_time_use_all_seconds(
    data: Prepared, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock advances by a tenth of a second at every reading."""
    now = iter(range(10**9))
    monkeypatch.setattr(
        "batchscope.engine.training.jobs.stack_bench.time.perf_counter", lambda: next(now) / 10
    )
    steps: list[int] = []
    real = Stepper.step

    def step(self: Stepper, batch: torch.Tensor, *rest: int) -> bool:
        steps.append(len(batch))
        return real(self, batch, *rest)

    monkeypatch.setattr(Stepper, "step", step)
    pace(replace(order_of(data, 1), seconds=9.0), images, CPU, 0)
    few = len(steps)
    pace(replace(order_of(data, 1), seconds=9.0, workers=2), images, CPU, 0)
    assert len(steps) - few > few


def test_a_batch_as_large_as_the_epoch(data: Prepared, images: Images, tmp_path: Path) -> None:
    whole = tuple(
        replace(t, settings=replace(t.settings, train=replace(t.settings.train, batch_size=500)))
        for t in TRIALS
    )
    found = pace(order_of(data, 1, 2, trials=whole), images, CPU, 0)
    assert found.batch_size == 100
    assert [stack.size for stack in found.stacks] == [1, 2]
