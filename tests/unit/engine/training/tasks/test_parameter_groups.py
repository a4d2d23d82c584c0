"""Groups of parameters with rates of their own, and buffers that count passes."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.spec import Train
from batchscope.engine.task import Task
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import regression_task, squared, task_trial
from tests.unit.training_fixtures import CPU, Run

SIZE, BATCH, LR, BIAS_LR, EPOCHS = 40, 8, 0.02, 0.1, 3
TRAIN = Train(batch_size=BATCH, lr=LR, epochs=EPOCHS)


def groups(model: nn.Module) -> list[dict[str, Any]]:
    return [{"params": [model.weight]}, {"params": [model.bias], "lr": BIAS_LR}]


def own_optimizer(made: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups_with(made, lr), lr=lr)


def groups_with(made: list[dict[str, Any]], lr: float) -> list[dict[str, Any]]:
    weight, bias = made[0]["params"]
    return [{"params": [weight]}, {"params": [bias], "lr": lr * BIAS_LR / LR}]


def path_by_hand() -> list[Tensor]:
    """Return the weights before each step of a plain loop, and at its end."""
    task = regression_task(size=SIZE)
    x, y = task.train
    model = task.model
    optimizer = torch.optim.SGD(groups(model), lr=LR)

    def weights() -> Tensor:
        return torch.cat([each.detach().flatten() for each in model.parameters()]).clone()

    path = [weights()]
    for epoch in range(1, EPOCHS + 1):
        for part in torch.split(epoch_order(SIZE, 0, epoch), BATCH):
            total, weight = squared(model, (x[part], y[part]))
            optimizer.zero_grad()
            (total / weight).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            path.append(weights())
    return path


@pytest.mark.parametrize("tables", [{"parameters": groups}, {"optimizer": own_optimizer}])
def test_a_group_keeps_its_own_rate(tables: dict[str, Any]) -> None:
    path = path_by_hand()
    task = replace(regression_task(size=SIZE), **tables)
    run = Run(task_trial(TRAIN), TaskDataset(task, 0, CPU))
    found = torch.cat([each.detach().flatten() for each in run.flat.trained()])
    assert found.tolist() == pytest.approx(path[-1].tolist(), rel=1e-5)
    length = sum(float((after - before).norm()) for before, after in pairwise(path))
    assert run.records[-1].path_length == pytest.approx(length, rel=1e-4)


class Counting(nn.Module):
    """A linear model that counts its passes in training."""

    passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        output: Tensor = self.linear(x)
        return output


def test_measuring_the_noise_scale_does_not_change_the_buffers() -> None:
    """The parts of a measured batch pass once more than its step."""
    plain = regression_task(size=SIZE)
    task = Task(model=Counting(), train=plain.train, loss=squared)
    run = Run(task_trial(TRAIN), TaskDataset(task, 0, CPU))
    assert run.records[0].noise_draws
    model = run.flat.model
    assert isinstance(model, Counting)
    assert float(model.passes) == run.records[-1].steps == EPOCHS * SIZE / BATCH
