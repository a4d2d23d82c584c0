"""Schedules, phases and growing batches train a task as a plain loop that changes at that epoch."""

from typing import Any

import pytest
import torch
from torch import nn

from batchscope.engine.spec import Memory, Phase, Scaling, Schedule, Train
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import (
    padded,
    task_trial,
    token_loss,
    token_task,
)
from tests.unit.training_fixtures import CPU, Run, backward

EPOCHS, BATCH, LR = 4, 8, 0.05
LATER: dict[str, tuple[dict[str, Any], float, int]] = {
    "step": ({"schedule": Schedule(kind="step", at=(0.5,), factor=5.0)}, LR / 5, BATCH),
    "grow": (
        {"schedule": Schedule(kind="step", at=(0.5,), factor=2.0, by="batch")},
        LR,
        2 * BATCH,
    ),
    "grow to a limit": (
        {"schedule": Schedule(kind="step", at=(0.5,), factor=4.0, by="batch", max_batch_size=16)},
        LR / 2,
        16,
    ),
    "warm start": ({"phases": (Phase(at=0.5, batch_size=5, lr=0.01),)}, 0.01, 5),
    "phase by epoch": ({"phases": (Phase(at_epoch=2, lr=0.02),)}, 0.02, BATCH),
}
"""Settings, and learning rate and batch size of the second half."""
MAKERS: dict[str, Any] = {
    "momentum": lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=LR),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=LR),
}


def by_hand(optimizer: str, lr: float, batch_size: int) -> tuple[nn.Module, int]:
    task, steps = token_task(), 0
    made = MAKERS[optimizer](task.model.parameters())
    for epoch in range(1, EPOCHS + 1):
        late = epoch > EPOCHS // 2
        for group in made.param_groups:
            group["lr"] = lr if late else LR
        for part in torch.split(epoch_order(53, 0, epoch), batch_size if late else BATCH):
            made.zero_grad()
            total, weight = token_loss(task.model, padded([task.train[n] for n in part.tolist()]))
            backward(total / weight)
            made.step()
            steps += 1
    return task.model, steps


@pytest.mark.parametrize("name", LATER)
@pytest.mark.parametrize("optimizer", MAKERS)
def test_a_change_halfway_is_that_of_a_plain_loop(name: str, optimizer: Any) -> None:
    tables, lr, batch_size = LATER[name]
    train = Train(batch_size=BATCH, lr=LR, epochs=EPOCHS, optimizer=optimizer)
    run = Run(task_trial(train, **tables), TaskDataset(token_task(), 0, CPU))
    model, steps = by_hand(optimizer, lr, batch_size)
    last = run.records[-1]
    assert (last.steps, last.samples) == (steps, 53 * EPOCHS)
    assert last.lr == pytest.approx(lr)
    for ours, theirs in zip(run.flat.trained(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=2e-4, atol=2e-5)


def test_a_warmup_and_a_rule_reach_the_rate_of_the_rule() -> None:
    scaling = Scaling(rule="linear", base_batch_size=4, warmup_epochs=1.0)
    train = Train(batch_size=BATCH, lr=0.02, epochs=3)
    run = Run(task_trial(train, scaling=scaling), TaskDataset(token_task(), 0, CPU))
    assert [record.lr for record in run.records][1:] == pytest.approx([0.04, 0.04])
    assert run.records[-1].highest_lr == pytest.approx(0.04)


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_course_does_not_depend_on_the_cut(cut: int) -> None:
    train = Train(batch_size=BATCH, lr=LR, epochs=EPOCHS)
    tables, _, _ = LATER["grow"]
    whole, parts = (
        Run(task_trial(train, memory=memory, **tables), TaskDataset(token_task(), 0, CPU))
        for memory in (Memory(), Memory(micro_batch_size=cut))
    )
    torch.testing.assert_close(whole.flat.weights, parts.flat.weights, rtol=1e-4, atol=1e-5)
