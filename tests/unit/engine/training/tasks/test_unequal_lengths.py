"""Tokens of unequal lengths: losses and norms are those of a plain loop, however a batch is cut."""

from collections.abc import Iterator
from itertools import pairwise

import msgspec
import pytest
import torch
from torch import Tensor

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Train
from batchscope.engine.task import Task
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.evaluation import evaluate_task
from tests.unit.engine.training.tasks.task_fixtures import (
    Tokens,
    padded,
    task_trial,
    token_loss,
    token_task,
)
from tests.unit.training_fixtures import CPU, Run, naive_norm

WITHIN = {torch.float32: 1e-6, torch.float64: 1e-12}
BATCH, EPOCHS, LR = 28, 2, 0.05
CUTS = {"whole": 28, "halves": 14, "sevenths": 4, "single samples": 1}


@pytest.fixture(params=WITHIN, ids=str)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Train in this precision: buffers are made in torch's default one."""
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def figures_by_hand(task: Task) -> tuple[list[float], list[float]]:
    """Train in a plain loop of single samples; return test losses and the norm of every step."""
    parameters, losses, norms = list(task.model.parameters()), [], []
    for parameter in parameters:  # a training begins with weights in float32
        parameter.data.copy_(parameter.detach().float())
    test = Tokens(17)
    for epoch in range(1, EPOCHS + 1):
        for part in torch.split(epoch_order(len(task.train), 0, epoch), BATCH):
            total, count = mean_terms(task, task.train, part.tolist())
            gradients = torch.autograd.grad(total / count, parameters)
            norms.append(naive_norm(gradients))
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.sub_(LR * gradient)
        with torch.no_grad():
            total, count = mean_terms(task, test, list(range(len(test))))
        losses.append(float(total / count))
    return losses, norms


def mean_terms(
    task: Task, data: "torch.utils.data.Dataset[Tensor]", numbers: list[int]
) -> tuple[Tensor, int]:
    """Add up losses and tokens, one sequence after the other."""
    total, count = torch.zeros(()), 0
    for number in numbers:
        loss, weight = token_loss(task.model, padded([data[number]]))
        total, count = total + loss, count + int(weight)
    return total, count


def trained(cut: int) -> Run:
    trial = task_trial(Train(batch_size=BATCH, lr=LR, epochs=EPOCHS))
    data = TaskDataset(token_task(), 0, CPU)
    plan = make_plan(trial, data.train_size, threads=1)
    plan = msgspec.structs.replace(plan, micro_batch_size=cut, evaluation_batch_size=cut)
    return Run(trial, data, plan)


@pytest.mark.parametrize("cut", CUTS)
def test_losses_and_norms_are_those_of_a_plain_loop(cut: str, dtype: torch.dtype) -> None:
    losses, norms = figures_by_hand(token_task())
    run, within = trained(CUTS[cut]), WITHIN[dtype]
    steps = [0, *(each.steps for each in run.records)]
    assert steps[-1] == len(norms)
    for record, loss, (first, last) in zip(run.records, losses, pairwise(steps), strict=True):
        assert record.test_loss == pytest.approx(loss, rel=within)
        count = sum(each.count for each in record.norms)
        total = sum(each.count * each.mean for each in record.norms)
        assert count == last - first
        assert total == pytest.approx(sum(norms[first:last]), rel=within)


@pytest.mark.parametrize("size", CUTS.values())
def test_an_evaluation_does_not_depend_on_its_batch_size(size: int, dtype: torch.dtype) -> None:
    data = TaskDataset(token_task(), 0, CPU)
    flat = FlatModel(data.network(), CPU, dtype=dtype, objective=data.task.loss)
    with torch.no_grad():
        expected, count = mean_terms(data.task, Tokens(17), list(range(17)))
    found = evaluate_task(data.task, flat, data.batches("test", size))
    assert found.loss == pytest.approx(float(expected) / count, rel=WITHIN[dtype])
