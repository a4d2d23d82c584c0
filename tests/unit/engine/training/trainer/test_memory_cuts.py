"""Memory that runs out in a training: the step is repeated with smaller micro-batches."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import pytest
import torch
from msgspec.structs import asdict, replace
from torch import Tensor, nn

from batchscope.engine.analysis.tables import trial_row
from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import MicroBatchCut
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Model, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.noise_scale import NoiseScale
from batchscope.engine.training.model import stack
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.passes import Automatic, Classifier, Explicit, Heard
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.trainer import evaluation
from batchscope.engine.training.trainer.evaluation import Evaluation, evaluate
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import (
    CPU,
    Run,
    configuration,
    intercept,
    make_trial,
    opened,
    set_gradients,
    synthetic,
)

DIGITS = DATASETS["digits"]
TRIAL = make_trial(
    Train(batch_size=50, lr=0.2, epochs=3, optimizer="momentum"),
    memory=Memory(micro_batch_size=20),
)
TIMES = ("seconds", "warm_up_seconds", "peak_memory_bytes")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Three batches an epoch, of 50, 50 and 29 images."""
    return load_images(synthetic(tmp_path_factory.mktemp("cuts"), train=129, test=40), CPU)


def with_batch_norm(model: Model, dataset: object, seed: int) -> nn.Module:
    """A small network whose buffers change with every micro-batch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 10)
        )


def with_tanh(model: Model, dataset: object, seed: int) -> nn.Module:
    """A small network with gradients by automatic differentiation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Linear(9, 10)
        )


@pytest.fixture(autouse=True)
def _no_noise_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the measurement of networks that no preset has: it would change their buffers."""
    monkeypatch.setattr(NoiseScale, "needs_gradient", lambda *_: False)


class Shortage:
    """Between two steps there is no memory for more than `most` images at once.

    The first `spared` micro-batches of an attempt pass, so that part of the gradient is there.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        most: int,
        from_step: int,
        error: Callable[[], Exception],
        spared: int = 1,
        until_step: float = math.inf,
    ) -> None:
        self.most, self.from_step, self.error, self.spared = most, from_step, error, spared
        self.until_step = until_step
        self.attempts: list[tuple[int, int]] = []
        self.steps = self._parts = 0
        intercept(patch, self._accumulate)
        count_steps(patch, self)

    def _accumulate(
        self,
        real: Callable[..., None],
        images: Tensor,
        labels: Tensor,
        batch: Tensor,
        micro: int,
        mean: bool,
        _: Heard,
    ) -> None:
        self._parts = 0
        self.attempts.append((self.steps, micro))
        real(images, labels, batch, micro, mean, self._took)

    def _took(self, size: int) -> None:
        self._parts += 1
        short = self.from_step <= self.steps < self.until_step and size > self.most
        if short and self._parts > self.spared:
            raise self.error()


def on_the_gpu() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def on_the_cpu() -> Exception:
    return RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)"
    )


class Counted(Protocol):
    """Notes the number of steps before the present one, which may be taken twice."""

    steps: int


def count_steps(patch: pytest.MonkeyPatch, counted: Counted) -> None:
    real = Stepper.step

    def step(stepper: Stepper, batch: Tensor, number: int, *more: Any) -> bool:
        counted.steps = number - 1
        return real(stepper, batch, number, *more)

    patch.setattr(Stepper, "step", step)


class Steps:
    steps = 0


def smaller_from(patch: pytest.MonkeyPatch, step: int, size: int) -> None:
    """Use another micro-batch size from a step on, without any failure."""
    before = Steps()
    count_steps(patch, before)

    def switched(
        real: Callable[..., None],
        images: Tensor,
        labels: Tensor,
        batch: Tensor,
        micro: int,
        mean: bool,
        heard: Heard,
    ) -> None:
        real(images, labels, batch, size if before.steps >= step else micro, mean, heard)

    intercept(patch, switched)


def cuts(run: Run) -> list[tuple[int, int, bool]]:
    return [(e.steps, e.size, e.evaluation) for e in run.events if isinstance(e, MicroBatchCut)]


def figures(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in asdict(r).items() if k not in TIMES} for r in run.records]


def same_bits(one: Run, other: Run) -> bool:
    pairs = zip(one.flat.model.state_dict().items(), state(other), strict=True)
    return figures(one) == figures(other) and all(torch.equal(a, b) for (_, a), b in pairs)


def state(run: Run) -> Iterator[Tensor]:
    yield from run.flat.model.state_dict().values()


LONG = replace(TRIAL.settings.train, epochs=19)


# ---- the step


@pytest.mark.parametrize("build", [build_model, with_batch_norm, with_tanh])
@pytest.mark.parametrize("from_step", [0, 4])
@pytest.mark.parametrize("error", [on_the_gpu, on_the_cpu, MemoryError])
def test_a_cut_training_continues_as_with_a_smaller_micro_batch(
    images: Images,
    build: Callable[..., nn.Module],
    from_step: int,
    error: Callable[[], Exception],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "build_model", build)
        unhurt = Run(TRIAL, images)
        with pytest.MonkeyPatch.context() as trouble:
            shortage = Shortage(trouble, most=9, from_step=from_step, error=error)
            cut = Run(TRIAL, images)
        with pytest.MonkeyPatch.context() as switched:
            smaller_from(switched, from_step, 5)
            expected = Run(TRIAL, images)
    way = Automatic if build is with_tanh else Explicit
    assert isinstance(cut.training.stepper.stack.passes, way)
    assert cut.ended.status == "finished"
    assert cuts(cut) == [(from_step, 5, False)]
    tries = [micro for step, micro in shortage.attempts if step == from_step]
    assert list(dict.fromkeys(tries)) == [20, 10, 5], "the first one may be taken twice"
    assert {micro for step, micro in shortage.attempts if step > from_step} == {5}
    assert same_bits(cut, expected)
    assert not same_bits(cut, unhurt), "the test sees a difference of rounding"


def test_a_cut_is_counted_for_the_trial(images: Images) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Shortage(patch, most=9, from_step=4, error=on_the_gpu)
        run = Run(TRIAL, images)
    sweep = SweepState().fold([*opened([configuration(50, name="trial")]), *run.events])
    (mark,) = sweep.trials["trial-s0"].cuts
    assert (mark.steps, mark.size, mark.evaluation) == (4, 5, False)
    (said,) = [line.text for line in sweep.log if line.level == "warning"]
    assert said.startswith("trial-s0: out of memory at step 4")


def test_a_small_last_batch_is_halved_from_its_own_size(images: Images) -> None:
    trial = replace(TRIAL, settings=replace(TRIAL.settings, memory=Memory(micro_batch_size=50)))
    stepper = Stepper((trial,), make_plan(trial, 129, 1), images, CPU)
    with pytest.MonkeyPatch.context() as patch:
        shortage = Shortage(patch, most=14, from_step=0, error=on_the_gpu, spared=0)
        assert stepper.step(torch.arange(29)[None], 1, 0)
    assert [micro for _, micro in shortage.attempts] == [50, 15, 8]
    assert stepper.micro_batch_size == 8


@pytest.mark.parametrize(
    ("most", "error"), [(0, on_the_gpu), (9, lambda: RuntimeError("shapes do not match"))]
)
def test_other_errors_are_raised_before_the_weights_change(
    images: Images, most: int, error: Callable[[], Exception]
) -> None:
    stepper = Stepper((TRIAL,), make_plan(TRIAL, 129, 1), images, CPU)
    with pytest.MonkeyPatch.context() as patch:
        Shortage(patch, most=most, from_step=0, error=error)
        with pytest.raises(RuntimeError, match=str(error()).split(" ", maxsplit=1)[0]):
            stepper.step(torch.arange(50)[None], 1, 0)
    assert torch.equal(stepper.stack.weights.detach(), stepper.start_weights)


def test_the_gradient_of_a_cut_step_equals_that_of_the_batch(images: Images) -> None:
    stepper = Stepper((TRIAL,), make_plan(TRIAL, 129, 1), images, CPU)
    batch = torch.arange(40, 90)
    with pytest.MonkeyPatch.context() as patch:
        Shortage(patch, most=9, from_step=0, error=on_the_gpu)
        assert stepper.step(batch[None], 1, 0)
    model = build_model(TRIAL.settings.model, DIGITS, TRIAL.seed).double()
    set_gradients(model, images.train[batch].double(), images.train_labels[batch], "mean")
    for found, naive in zip(
        stepper.stack.members[0].model.parameters(), model.parameters(), strict=True
    ):
        assert found.grad is not None
        assert naive.grad is not None
        torch.testing.assert_close(found.grad.double(), naive.grad, rtol=1e-5, atol=1e-7)


# ---- back to the plan


def test_the_planned_size_returns_when_there_is_memory_again(images: Images) -> None:
    """Memory runs out in step 4, in the second epoch; five epochs later it is tried again."""
    trial = replace(TRIAL, settings=replace(TRIAL.settings, train=LONG))
    with pytest.MonkeyPatch.context() as patch:
        shortage = Shortage(patch, most=9, from_step=4, until_step=17, error=on_the_gpu)
        cut = Run(trial, images)
    assert cuts(cut) == [(4, 5, False), (18, 20, False)]
    assert {micro for step, micro in shortage.attempts if step in range(5, 18)} == {5}
    assert {micro for step, micro in shortage.attempts if step >= 18} == {20}
    sweep = SweepState().fold([*opened([configuration(50, name="trial")]), *cut.events])
    assert trial_row(sweep, sweep.trials["trial-s0"])["memory_cuts"] == 1
    assert any("step 18" in line.text and "20" in line.text for line in sweep.log)


def test_a_lasting_shortage_is_tried_less_and_less_often(images: Images) -> None:
    trial = replace(TRIAL, settings=replace(TRIAL.settings, train=LONG))
    with pytest.MonkeyPatch.context() as patch:
        Shortage(patch, most=9, from_step=4, error=on_the_gpu)
        cut = Run(trial, images)
    # in the second epoch, five epochs after it, and ten after that
    assert cuts(cut) == [(4, 5, False), *[(s, n, False) for s in (18, 48) for n in (20, 5)]]
    assert cut.ended.status == "finished"


# ---- the evaluation


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_cut_evaluation_continues_with_smaller_batches(images: Images, batch_norm: bool) -> None:
    plan = make_plan(TRIAL, images.train_size, threads=1)
    calls = 0

    def short(
        passes: Classifier,
        batches: Iterable[tuple[Tensor, Tensor]],
        missed: list[Tensor] | None = None,
    ) -> list[Evaluation]:
        nonlocal calls
        calls += 1  # train part and test set of each epoch
        return evaluate(passes, failing(batches) if calls > 2 else batches, missed)

    def failing(batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for number, (inputs, labels) in enumerate(batches):
            if number and len(labels) > 3:
                raise on_the_gpu()
            yield inputs, labels

    with pytest.MonkeyPatch.context() as patch:
        if batch_norm:
            patch.setattr(stack, "build_model", with_batch_norm)
        large = Run(TRIAL, images, replace(plan, evaluation_batch_size=12))
        small = Run(TRIAL, images, replace(plan, evaluation_batch_size=3))
        patch.setattr(evaluation, "evaluate", short)
        cut = Run(TRIAL, images, replace(plan, evaluation_batch_size=12))
    assert cuts(cut) == [(6, 6, True), (6, 3, True)]
    assert figures(cut) == [figures(large)[0], *figures(small)[1:]]
    assert figures(cut) != figures(large), "the test sees a difference of rounding"
    assert all(map(torch.equal, state(cut), state(large)))
    assert cut.flat.model.training


# ---- which errors say so


@pytest.mark.parametrize(
    ("error", "says_so"),
    [
        (on_the_gpu(), True),
        (MemoryError(), True),
        (on_the_cpu(), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (SystemError("error return without exception set"), True),
        (SystemError("<built-in method f> returned NULL without setting an exception"), True),
        (SystemError("unknown opcode"), False),
    ],
)
def test_errors_that_mean_out_of_memory(error: Exception, says_so: bool) -> None:
    assert ran_out(error) is says_so
