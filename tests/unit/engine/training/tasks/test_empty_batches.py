"""Batches without weight take no step, and leave every figure of the others as it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.journal.events import Note, TrialStarted
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Train
from batchscope.engine.task import Task
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import regression_task, task_trial
from tests.unit.engine.training.tasks.test_task_training import interrupted
from tests.unit.training_fixtures import CPU, Run, backward, untimed

SIZE, BATCH = 40, 4


def counted(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    x, y, counts = batch
    return (((model(x).squeeze(1) - y) ** 2) * counts).sum(), counts.sum()


def task() -> Task:
    """A task in which every third batch of every epoch of seed 0 has no weight."""
    x, y = regression_task().train
    counts = torch.ones(SIZE)
    for batch in torch.split(epoch_order(SIZE, 0, 1), BATCH)[::3]:
        counts[batch] = 0.0
    torch.manual_seed(0)
    return Task(model=nn.Linear(3, 1), train=(x, y, counts), loss=counted)


def by_hand(own: Task, momentum: float, epochs: int) -> tuple[nn.Module, list[float], int]:
    """Train in a plain loop that leaves out batches without weight."""
    optimizer = torch.optim.SGD(own.model.parameters(), lr=0.05, momentum=momentum)
    norms, empty = list[float](), 0
    for epoch in range(1, epochs + 1):
        for part in torch.split(epoch_order(SIZE, 0, epoch), BATCH):
            optimizer.zero_grad()
            total, weight = counted(own.model, tuple(each[part] for each in own.train))
            if not float(weight):
                empty += 1
                continue
            backward(total / weight)
            grads = [each.grad for each in own.model.parameters()]
            norms.append(float(torch.cat([g.flatten() for g in grads if g is not None]).norm()))
            optimizer.step()
    return own.model, norms, empty


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_the_others_train_as_in_a_loop_that_leaves_them_out(optimizer: Any) -> None:
    trial = task_trial(Train(batch_size=BATCH, lr=0.05, epochs=3, optimizer=optimizer))
    run = Run(trial, TaskDataset(task(), 0, CPU))
    model, norms, empty = by_hand(task(), 0.9 if optimizer == "momentum" else 0.0, 3)
    for ours, theirs in zip(run.flat.trained(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)
    last = run.records[-1]
    assert empty >= 4
    assert last.empty_batches == empty
    assert last.steps == 3 * SIZE // BATCH
    slices = [piece for record in run.records for piece in record.norms]
    assert sum(piece.count for piece in slices) == len(norms)
    mean = sum(piece.mean * piece.count for piece in slices) / len(norms)
    assert mean == pytest.approx(sum(norms) / len(norms), rel=1e-5)
    notes = [event.text for event in run.events if isinstance(event, Note)]
    assert sum("no weight" in text for text in notes) == 1


@pytest.mark.parametrize("cut", [BATCH, 3, 1])
def test_a_part_without_weight_may_have_a_constant_sum(cut: int) -> None:
    """Where nothing is to be learned many return 0 at once, without asking the model."""

    def early(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | float]:
        return counted(model, batch) if batch[2].any() else (torch.zeros(()), 0)

    trial = task_trial(Train(batch_size=BATCH, lr=0.05, epochs=2))
    plan = msgspec.structs.replace(make_plan(trial, SIZE, threads=1), micro_batch_size=cut)
    run = Run(trial, TaskDataset(replace(task(), loss=early), 0, CPU), plan)
    model, norms, empty = by_hand(task(), 0.0, 2)
    for ours, theirs in zip(run.flat.trained(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)
    assert run.records[-1].empty_batches == empty
    slices = [piece for record in run.records for piece in record.norms]
    assert sum(piece.count for piece in slices) == len(norms)


@pytest.mark.parametrize("after", [2, 5, 13])
def test_they_are_counted_through_a_resume(after: int, tmp_path: Path) -> None:
    trial = task_trial(Train(batch_size=BATCH, lr=0.05, epochs=3, optimizer="adam"))
    whole = Run(trial, TaskDataset(task(), 0, CPU)).records
    resumed = interrupted(trial, task, after, tmp_path)
    assert [event.resumed_steps for event in resumed if isinstance(event, TrialStarted)] == [after]
    records = [untimed(record) for event in resumed for record in getattr(event, "records", ())]
    assert records[-1] == untimed(whole[-1])


def test_a_training_with_nothing_but_empty_batches_ends() -> None:
    def nothing(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        total, weight = counted(model, batch)
        return (total * 0.0, weight * 0.0) if model.training else (total, weight)

    own = task()
    data = TaskDataset(Task(model=own.model, train=own.train, loss=nothing), 0, CPU)
    run = Run(task_trial(Train(batch_size=BATCH, lr=0.05, steps=17)), data)
    assert run.records[-1].empty_batches == run.records[-1].steps == 17
    assert torch.equal(run.flat.weights.detach(), run.training.stepper.start_weights[0])
