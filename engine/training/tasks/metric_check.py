"""Tells whether the metrics of a task are ratios of sums, and leave the model as it is."""

import torch
from torch import Tensor, nn

from batchscope.engine.task import Summed, Task, TaskProblem
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.function_loader import seed_everything
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.tasks.weighted_sum import evaluated

MODES = "it changes the mode of the model; leave model.train() and model.eval() to batchscope"
MEAN_TOLERANCE = 0.01
"""How near to 2 the value of two halves is to that of the whole if a metric is a mean."""


def metric_values(
    task: Task,
    model: nn.Module,
    train: TaskData,
    numbers: Tensor,
    compare: bool,
    may_be_empty: bool = False,
) -> dict[str, float]:
    """Return the loss and every metric of a batch (B,), in evaluation mode.

    Args:
        task: the task.
        model: its model; each module keeps its mode.
        train: its training data.
        numbers: the samples of the batch.
        compare: whether reading a sample again gives the same, so that halves can be compared.
        may_be_empty: whether a metric may have no weight here, as that of a rare class; its value
            is then 0.

    Raises:
        TaskProblem: a metric has no positive weight, changes the model's mode, or is a mean.
    """
    values, trained = {}, [module for module in model.modules() if module.training]
    try:
        for name, of in {"loss": task.loss, **task.metrics}.items():
            model.eval()
            value = values[name] = _value(name, of, model, train, may_be_empty, numbers)
            if model.training:
                raise TaskProblem(f"{named(name, of)}: {MODES}")
            if name == "loss" or len(numbers) % 2 or not compare or not value:
                continue  # the loss is compared by its gradient
            parts = torch.split(numbers, len(numbers) // 2)
            halves = _value(name, of, model, train, may_be_empty, *parts)
            if abs(halves / value - 2.0) < MEAN_TOLERANCE:
                raise TaskProblem(
                    f"{named(name, of)}: two halves of a batch give twice the value of the whole: "
                    "it is probably a mean; return the sum and its weight"
                )
    finally:
        for module in trained:
            module.training = True
    return values


def _value(
    name: str, of: Summed, model: nn.Module, train: TaskData, may_be_empty: bool, *parts: Tensor
) -> float:
    """Return the value of a metric over parts of a batch."""
    found = evaluated(name, of, model, (train.batch(part, seed_everything) for part in parts))
    weight = float(found.weight)
    if may_be_empty and weight == 0.0:
        return 0.0
    if not weight > 0.0:
        raise TaskProblem(f"{name}: the weight must be positive, but is {weight:g}")
    return found.mean
