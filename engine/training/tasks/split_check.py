"""Tells whether a task's own `split` keeps every sample."""

import math

from torch import Tensor, nn

from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.tasks.batch_split import divided
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.function_loader import seed_everything
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.tasks.weighted_sum import evaluated

PARTS = 3
TOLERANCE = 1e-4
"""Largest relative difference of a float32 sum over parts from that over the whole."""


def check_split(task: Task, model: nn.Module, train: TaskData, numbers: Tensor) -> int:
    """Divide a batch (B,) by the task's `split`; return the number of parts.

    The loss over the parts must have the sum and the weight of the whole: in a packed batch samples
    cannot be counted, but a lost or repeated one changes them.

    Raises:
        TaskProblem: the parts are not the batch.
    """
    assert task.split is not None
    count = min(PARTS, len(numbers))
    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        whole = evaluated("loss", task.loss, model, [train.batch(numbers, seed_everything)])
        again = train.batch(numbers, seed_everything)
        parts = [part for part, _ in divided(task.split, again, count, len(numbers))]
        cut = evaluated("loss", task.loss, model, parts)
    finally:
        for module in trained:
            module.training = True
    for name, one, other in (
        ("weight", whole.weight, cut.weight),
        ("sum", whole.total, cut.total),
    ):
        if not math.isclose(float(one), float(other), rel_tol=TOLERANCE, abs_tol=1e-12):
            raise TaskProblem(
                f"{named('split', task.split)}: the loss of a batch has a {name} of "
                f"{float(one):.5g}, that of its {count} parts together {float(other):.5g}; every "
                "sample must be in exactly one part"
            )
    return count
