"""The noise of a task's gradient in samples, where samples have unequal weights such as tokens."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Train
from batchscope.engine.task import Task
from batchscope.engine.training.instruments.instrument import BatchParts, WeightedParts
from batchscope.engine.training.instruments.noise_scale import estimates
from batchscope.engine.training.instruments.weighted_parts import (
    WeightedAccumulator,
    two_weighted_parts,
)
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.engine.training.tasks.task_fixtures import (
    padded,
    task_trial,
    token_loss,
    token_task,
)
from tests.unit.training_fixtures import CPU, Run

P = 7


def samples(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Summed gradients (N, P) of samples, and their weights (N,), which are related to them."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(1, 9, (count,), generator=generator).double()
    draws = torch.randn(count, P, generator=generator, dtype=torch.float64)
    means = 0.3 + 0.1 * weights.unsqueeze(1) * torch.linspace(-1, 1, P, dtype=torch.float64)
    return weights.unsqueeze(1) * means + weights.sqrt().unsqueeze(1) * draws, weights


def naive(gradients: Tensor, weights: Tensor, sizes: list[int]) -> float:
    """tr(C) of a batch in parts, as the definition says it, in a loop."""
    whole = gradients.sum(0) / weights.sum()
    total, start = 0.0, 0
    for size in sizes:
        part = slice(start, start + size)
        residual = gradients[part].sum(0) - whole * weights[part].sum()
        total += float(residual @ residual) / size
        start += size
    return total / (len(sizes) - 1) / float(weights.mean()) ** 2


def accumulated(gradients: Tensor, weights: Tensor, cut: int, mean: bool = True) -> Any:
    buffer = torch.zeros(1, P, dtype=torch.float64)
    parts = WeightedAccumulator(buffer)
    for part, weight in zip(torch.split(gradients, cut), torch.split(weights, cut), strict=True):
        buffer += part.sum(0)
        parts.add(len(part), float(weight.sum()))
    if mean:
        buffer /= float(weights.sum())
    return parts.parts(mean), buffer


@pytest.mark.parametrize("cut", [1, 3, 7, 32])
@pytest.mark.parametrize("mean", [True, False])
def test_the_estimate_is_that_of_the_definition(cut: int, mean: bool) -> None:
    gradients, weights = samples(60)
    parts, buffer = accumulated(gradients, weights, cut, mean)
    trace, signal, _ = estimates(parts, buffer, 1.0 / 60 if mean else 1.0, 60)[0].tolist()
    sizes = [len(part) for part in torch.split(gradients, cut)]
    expected = naive(gradients, weights, sizes)
    assert trace == pytest.approx(expected, rel=1e-12)
    whole = gradients.sum(0) / weights.sum()
    assert signal == pytest.approx(float(whole @ whole) - expected / 60, rel=1e-12, abs=1e-14)


def test_two_parts_are_those_of_the_definition() -> None:
    gradients, weights = samples(40)
    first, rest = torch.split(gradients, [13, 27])
    one, other = (float(each.sum()) for each in torch.split(weights, [13, 27]))
    sums = first.sum(0, keepdim=True), rest.sum(0, keepdim=True)
    parts = two_weighted_parts(sums, (one, other), (13, 27), True)
    assert float(parts.spread) == pytest.approx(naive(gradients, weights, [13, 27]), rel=1e-12)


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_with_equal_weights_it_is_the_estimate_of_means(weight: float) -> None:
    gradients, _ = samples(24)
    parts, buffer = accumulated(gradients, torch.full((24,), weight).double(), 5)
    each = [part.mean(0) / weight for part in torch.split(gradients, 5)]
    squares = sum(
        len(part) * float(g @ g) for part, g in zip(torch.split(gradients, 5), each, strict=True)
    )
    known = BatchParts(torch.tensor([squares], dtype=torch.float64), 5)
    torch.testing.assert_close(
        estimates(parts, buffer, 1 / 24, 24), estimates(known, buffer, 1 / 24, 24), rtol=1e-10,
        atol=1e-12,
    )  # fmt: skip


@pytest.mark.parametrize("cut", [16, 64])
def test_it_is_the_scatter_of_batches_times_their_size(cut: int) -> None:
    """B · Var(g) over many batches of independent samples is tr(C), also where weights matter."""
    size, batches = 128, 1500
    gradients, weights = samples(20_000, seed=1)
    drawn = torch.randint(20_000, (batches, size), generator=torch.Generator().manual_seed(2))
    means = torch.stack([gradients[each].sum(0) / weights[each].sum() for each in drawn])
    scatter = size * float(means.var(0).sum())
    estimated = [
        float(estimates(parts, buffer, 1 / size, size)[0, 0])
        for each in drawn
        for parts, buffer in [accumulated(gradients[each], weights[each], cut)]
    ]
    assert sum(estimated) / batches == pytest.approx(scatter, rel=0.05)


def stepper(task: Task, batch_size: int, cut: int, reduction: Any = "mean") -> Stepper:
    trial = task_trial(
        Train(batch_size=batch_size, lr=0.1, epochs=1, loss_reduction=reduction),
        memory=Memory(micro_batch_size=cut),
    )
    data = TaskDataset(task, 0, CPU)
    return Stepper((trial,), make_plan(trial, data.train_size, threads=1), data, CPU)


@pytest.mark.parametrize("cut", [1, 4, 9, 24])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_step_measures_what_a_loop_over_samples_finds(cut: int, reduction: Any) -> None:
    numbers = torch.arange(24)
    found = stepper(token_task(), 24, cut, reduction)
    parts = found.gradient(numbers.unsqueeze(0), parts=True)
    assert isinstance(parts, WeightedParts)
    kept = found.stack.gradient.clone()
    assert found.gradient(numbers.unsqueeze(0)) is None
    assert torch.equal(kept, found.stack.gradient)  # measuring changes no bit
    task, rows, weights = token_task(), [], []
    for number in numbers.tolist():
        loss, weight = token_loss(task.model, padded([task.train[number]]))
        grads = torch.autograd.grad(loss, list(task.model.parameters()))
        rows.append(torch.cat([each.flatten() for each in grads]).double())
        weights.append(float(weight))
    sizes = [len(part) for part in torch.split(numbers, cut)] if cut < 24 else [12, 12]
    expected = naive(torch.stack(rows), torch.tensor(weights).double(), sizes)
    scale = 1 / 24 if reduction == "mean" else 1.0
    trace, signal, _ = estimates(parts, kept, scale, 24)[0].tolist()
    assert trace == pytest.approx(expected, rel=1e-4)
    whole = torch.stack(rows).sum(0) / sum(weights)
    assert signal == pytest.approx(float(whole @ whole) - expected / 24, rel=1e-3)


def test_a_part_without_weight_adds_no_noise_of_its_own() -> None:
    def some(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        x, y, counts = batch
        return (((model(x).squeeze(1) - y) ** 2) * counts).sum(), counts.sum()

    x, counts = torch.randn(12, 3), torch.tensor([0.0] * 6 + [1.0] * 6)
    own = Task(model=nn.Linear(3, 1), train=(x, x.sum(1), counts), loss=some)
    parts = stepper(own, 12, 3).gradient(torch.arange(12).unsqueeze(0), parts=True)
    assert isinstance(parts, WeightedParts)
    assert bool(torch.isfinite(parts.spread).all())


@pytest.mark.parametrize("make", [token_task, lambda: token_task(dropout=0.4)])
def test_a_training_reports_a_noise_scale(make: Callable[[], Task]) -> None:
    trial = task_trial(Train(batch_size=8, lr=0.05, epochs=2))
    records = Run(trial, TaskDataset(make(), 0, CPU)).records
    assert all(record.noise_draws for record in records[:1])
    assert all((record.noise_trace or 0.0) > 0.0 for record in records if record.noise_draws)
