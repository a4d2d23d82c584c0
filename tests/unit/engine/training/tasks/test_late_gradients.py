"""Parameters that get their first gradient later than others, as in torch."""

from dataclasses import replace
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

SIZE, BATCH, LR, EPOCHS, DECAY = 40, 4, 0.02, 2, 0.01


class Switching(nn.Module):
    """A linear model with a second layer for batches in which a first feature is large."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes = nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.always(x)
        if bool((x[:, 0] > 1.0).any()):
            output = output + self.sometimes(x)
        return output


def switching_task() -> Task:
    torch.manual_seed(0)
    return replace(regression_task(size=SIZE), model=Switching())


def by_hand(nesterov: bool) -> tuple[list[Tensor], list[bool]]:
    """Return the weights after a plain loop, and which of its steps used the second layer."""
    task, used = switching_task(), list[bool]()
    x, y = task.train
    model = task.model
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, weight_decay=DECAY, nesterov=nesterov, fused=False
    )
    for epoch in range(1, EPOCHS + 1):
        for part in torch.split(epoch_order(SIZE, 0, epoch), BATCH):
            total, weight = squared(model, (x[part], y[part]))
            optimizer.zero_grad()
            (total / weight).backward()  # type: ignore[no-untyped-call]
            used.append(any(each.grad is not None for each in list(model.parameters())[2:]))
            optimizer.step()
    return [each.detach() for each in model.parameters()], used


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_first_gradient_may_come_late(optimizer: Any, grouped: bool) -> None:
    expected, used = by_hand(optimizer == "nesterov")
    assert not used[0]
    assert any(used)
    task = switching_task()
    if grouped:
        task = replace(task, parameters=lambda model: [{"params": list(model.parameters())}])
    train = Train(batch_size=BATCH, lr=LR, epochs=EPOCHS, optimizer=optimizer, weight_decay=DECAY)
    run = Run(task_trial(train), TaskDataset(task, 0, CPU))
    for found, each in zip(run.flat.trained(), expected, strict=True):
        torch.testing.assert_close(found.detach(), each, rtol=1e-5, atol=1e-7)
