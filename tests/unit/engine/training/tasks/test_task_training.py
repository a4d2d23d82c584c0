"""A task is trained as a careful person would train it in a loop of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from batchscope.engine.journal.events import AnyEvent, TrialStarted
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Train
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.passes import pass_of
from batchscope.engine.training.model.task_pass import TaskPass
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.tasks.task_fixtures import (
    Tokens,
    padded,
    regression_task,
    squared,
    task_trial,
    token_loss,
    token_task,
)
from tests.unit.training_fixtures import CPU, OPTIMIZERS, Run, backward, untimed

CUTS = (53, 27, 8, 1)


def passes_of(data: TaskDataset, dtype: torch.dtype) -> tuple[FlatModel, TaskPass]:
    flat = FlatModel(data.network(), CPU, dtype=dtype, objective=data.task.loss)
    weights, gradient = flat.weights.detach().unsqueeze(0), flat.gradient.unsqueeze(0)
    found = pass_of([flat], weights, gradient, [])
    assert isinstance(found, TaskPass)
    return flat, found


def by_hand(task: Task, numbers: list[int], dtype: torch.dtype) -> list[Tensor]:
    """The gradient of the mean loss of a token over samples that are passed one by one."""
    model = task.model.to(dtype)
    total = torch.zeros((), dtype=dtype)
    count = 0
    for number in numbers:
        loss, weight = token_loss(model, padded([task.train[number]]))
        total, count = total + loss, count + int(weight)
    return list(torch.autograd.grad(total / count, list(model.parameters())))


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_a_gradient_does_not_depend_on_the_cut(cut: int, dtype: torch.dtype, within: float) -> None:
    data = TaskDataset(token_task(), 0, CPU)
    flat, passes = passes_of(data, dtype)
    numbers = epoch_order(data.train_size, 0, 1)
    passes.accumulate(data.samples, numbers.unsqueeze(0), cut, True, lambda size: None)
    expected = by_hand(token_task(), numbers.tolist(), dtype)
    for parameter, gradient in zip(flat.trained(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=within, atol=within)


def trained_by_hand(task: Task, train: Train, make: Callable[..., Any], collate: Any) -> nn.Module:
    """Train in a plain loop in the order of seed 0."""
    optimizer = make(task.model.parameters())
    size = len(task.train[0]) if isinstance(task.train, tuple) else len(task.train)
    for epoch in range(1, (train.epochs or 0) + 1):
        for part in torch.split(epoch_order(size, 0, epoch), train.batch_size):
            optimizer.zero_grad()
            total, weight = task.loss(task.model, collate(part))
            backward(total / weight)
            optimizer.step()
    return task.model


MAKERS: dict[str, Callable[..., Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05),
    "adamw": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.0),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_as_in_a_plain_loop(name: Any) -> None:
    train = Train(batch_size=8, lr=0.05, epochs=3, optimizer=name)
    task = token_task()
    model = trained_by_hand(
        task, train, MAKERS[name], lambda part: padded([task.train[n] for n in part.tolist()])
    )
    run = Run(task_trial(train), TaskDataset(token_task(), 0, CPU))
    assert run.ended.status == "finished"
    for ours, theirs in zip(run.flat.trained(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=2e-4, atol=2e-5)


def test_losses_and_metrics_are_weighted_means() -> None:
    train = Train(batch_size=16, lr=0.01, epochs=2)
    run = Run(task_trial(train), TaskDataset(token_task(), 0, CPU))
    test = Tokens(17)
    run.flat.model.requires_grad_(False)
    total, weight = token_loss(run.flat.model, padded([test[n] for n in range(len(test))]))
    assert run.records[-1].test_loss == pytest.approx(float(total / weight), rel=1e-6)
    assert run.records[-1].test_accuracy is None


class HalfUsed(nn.Module):
    """A model with a layer that its forward pass does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.used(x)
        return output


def test_parameters_without_a_gradient_are_not_updated() -> None:
    model = HalfUsed()
    own = Task(model=model, train=regression_task().train, loss=squared)
    trial = task_trial(Train(batch_size=10, lr=0.1, epochs=2, optimizer="adamw", weight_decay=0.5))
    run = Run(trial, TaskDataset(own, 0, CPU))
    trained = run.flat.model
    assert isinstance(trained, HalfUsed)
    assert run.ended.status == "finished"
    assert torch.equal(trained.unused.weight, model.unused.weight)
    assert not torch.equal(trained.used.weight, model.used.weight)


def test_frozen_parameters_stay_outside_the_buffer() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(4, 1)
    model = nn.Sequential(first.requires_grad_(False), second)
    own = Task(model=model, train=regression_task().train, loss=squared)
    run = Run(task_trial(Train(batch_size=10, lr=0.1, epochs=1)), TaskDataset(own, 0, CPU))
    assert run.started.parameters == 5
    trained = next(each for each in run.flat.model.modules() if isinstance(each, nn.Linear))
    assert torch.equal(trained.weight, first.weight)


def test_a_batch_without_weight_takes_no_step() -> None:
    x, y = regression_task().train

    def masked(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        total, weight = squared(model, batch)
        return (total * 0.0, torch.zeros(())) if model.training else (total, torch.tensor(weight))

    data = TaskDataset(Task(model=nn.Linear(3, 1), train=(x, y), loss=masked), 0, CPU)
    run = Run(task_trial(Train(batch_size=20, lr=0.1, epochs=2, optimizer="adam")), data)
    assert run.training.stepper.empty_batches == 4
    assert torch.equal(run.flat.weights.detach(), run.training.stepper.start_weights[0])


def test_a_negative_weight_fails() -> None:
    def negative(model: nn.Module, batch: Any) -> tuple[Tensor, float]:
        return squared(model, batch)[0], -1.0

    data = TaskDataset(
        Task(model=nn.Linear(3, 1), train=regression_task().train, loss=negative), 0, CPU
    )
    with pytest.raises(TaskProblem, match="must not be negative"):
        Run(task_trial(Train(batch_size=20, lr=0.1, epochs=2)), data)


def interrupted(trial: Any, make: Callable[[], Task], after: int, folder: Path) -> list[AnyEvent]:
    """Train until step `after`, then once more to the end; return the events of the second part."""
    for attempt in (1, 2):
        data, events, steps = TaskDataset(make(), 0, CPU), list[AnyEvent](), 0

        def halted(attempt: int = attempt) -> bool:
            nonlocal steps
            steps += 1
            return attempt == 1 and steps > after

        plan = make_plan(trial, data.train_size, threads=1)
        job = TrainingJob((trial,), (trial.id,), plan, attempt, 0, "cpu", checkpoints=folder)
        Trainer(job, data, events.append, halted).run()
    return events


@pytest.mark.parametrize("after", [1, 4, 7, 10, 13, 20])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_resumed_training_gives_the_same_bits(after: int, optimizer: Any, tmp_path: Path) -> None:
    """Dropout draws, and a data set that draws, depend on the position alone."""

    def make() -> Task:
        return token_task(dropout=0.3)

    trial = task_trial(Train(batch_size=8, lr=0.05, epochs=3, optimizer=optimizer))
    whole = Run(trial, TaskDataset(make(), 0, CPU))
    resumed = interrupted(trial, make, after, tmp_path)
    assert [event.resumed_steps for event in resumed if isinstance(event, TrialStarted)] == [after]
    records = [untimed(record) for event in resumed for record in getattr(event, "records", ())]
    assert records[-1] == untimed(whole.records[-1])
    assert isinstance(resumed[0], TrialStarted)
    assert resumed[0].resumed_steps == after, "it goes on, and does not begin anew"


def test_a_data_set_that_draws_gives_the_same_bits_after_a_resume(tmp_path: Path) -> None:
    class Noisy(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 30

        def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
            return torch.randn(3), torch.tensor(float(number))

    def make() -> Task:
        torch.manual_seed(0)
        return Task(model=nn.Linear(3, 1), train=Noisy(), loss=squared)

    trial = task_trial(Train(batch_size=7, lr=0.001, epochs=3))
    whole = Run(trial, TaskDataset(make(), 0, CPU))
    resumed = interrupted(trial, make, 8, tmp_path)
    records = [untimed(record) for event in resumed for record in getattr(event, "records", ())]
    assert records[-1] == untimed(whole.records[-1])
