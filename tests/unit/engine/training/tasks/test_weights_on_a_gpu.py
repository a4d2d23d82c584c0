"""Weights that are on a GPU: no part waits for them, and a negative one is refused at the end."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.tasks.weighted_sum import accumulate, checked, evaluated
from batchscope.engine.training.trainer.evaluation import evaluate_task
from tests.unit.engine.training.tasks.task_fixtures import regression_task, squared
from tests.unit.training_fixtures import CPU


class OnGpu(Tensor):
    """A tensor that says it is not on the CPU, and must not be read before the end."""

    looks = 0

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def __float__(self) -> float:
        OnGpu.looks += 1
        return super().__float__()


def on_gpu(value: float) -> Tensor:
    return torch.tensor(value).as_subclass(OnGpu)


SIZE = 8


def task(*weights: float) -> Task:
    """A task whose batches of `SIZE` have these weights in turn, as tensors on a GPU."""
    own, calls = regression_task(), list(weights)

    def loss(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        return squared(model, batch)[0], on_gpu(calls.pop(0))

    x, y = own.train
    data = x[: SIZE * len(weights)], y[: SIZE * len(weights)]
    return Task(model=own.model, train=data, test=data, loss=loss)


@pytest.mark.parametrize("weights", [(-1.0, 4.0), (-4.0, 1.0), (2.0, float("nan"))])
def test_a_negative_weight_among_others_is_refused(weights: tuple[float, ...]) -> None:
    data = TaskDataset(task(*weights), 0, CPU)
    flat = FlatModel(data.network(), CPU, objective=data.task.loss)
    with pytest.raises(TaskProblem, match="is nan, infinite or negative") as problem:
        evaluate_task(data.task, flat, data.batches("test", SIZE))
    assert re.search(r"test_weights_on_a_gpu\.py, line \d+", str(problem.value))


def test_an_evaluation_looks_at_the_weights_once() -> None:
    data = TaskDataset(task(2.0, 0.0, 3.0), 0, CPU)
    flat = FlatModel(data.network(), CPU, objective=data.task.loss)
    OnGpu.looks = 0
    found = evaluate_task(data.task, flat, data.batches("test", SIZE))
    assert OnGpu.looks <= 1
    own = regression_task()
    x, y = (each[: 3 * SIZE] for each in own.train)
    with torch.no_grad():
        whole, _ = squared(data.network(), (x, y))
    assert found.loss == pytest.approx(float(whole) / 5.0, rel=1e-6)


@pytest.mark.parametrize("sums", [accumulate, evaluated])
def test_parts_with_a_negative_weight_add_up_to_none(sums: Any) -> None:
    own = task(-1.0, 4.0)
    x, y = own.train
    parts = [(x[:SIZE], y[:SIZE]), (x[SIZE:], y[SIZE:])]
    name = ("loss",) if sums is evaluated else ()
    found = sums(*name, own.loss, own.model, parts)
    with pytest.raises(TaskProblem, match="nan, infinite or negative"):
        checked("loss", own.loss, float(found.weight))
