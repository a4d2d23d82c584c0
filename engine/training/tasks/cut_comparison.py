"""Compares the gradient of a batch with that of the same batch in parts.

They agree for a sum and a weight. For a mean that is passed off as a sum, k parts give k times the
gradient of the whole batch.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from batchscope.engine.task import Batch, Task
from batchscope.engine.training.tasks.accepted_model import cast
from batchscope.engine.training.tasks.batch_split import Split, divided
from batchscope.engine.training.tasks.batch_structure import in_precision
from batchscope.engine.training.tasks.function_loader import seed_everything
from batchscope.engine.training.tasks.random_streams import seed_from
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.tasks.weighted_sum import accumulate, evaluated

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Largest relative difference between the gradients of a whole and a cut batch."""
DROPOUTS = nn.modules.dropout._DropoutNd
NORMS = nn.modules.batchnorm._BatchNorm
HALVES, SINGLE = "halves", "single samples"
SPLITS = (2, 3)
"""Numbers of parts that a `split` is tried with."""
MEAN_FACTOR = 1.5
"""A mean gives at least so many times the gradient for halves; parts are of unequal weight."""


@dataclass(frozen=True)
class CutComparison:
    """How the gradient of a batch in parts differs from that of the whole.

    Attributes:
        size: samples of the batch.
        dtype: the precision that was computed in.
        problem: why it was not float64; empty if it was.
        found: for each way to cut, the relative difference and the ratio of the norms.
    """

    size: int
    dtype: torch.dtype
    problem: str
    found: dict[str, tuple[float, float]]

    @property
    def worst(self) -> str:
        """The cut that differs most."""
        differs = {name: difference for name, (difference, _) in self.found.items()}
        return max(differs, key=lambda name: (math.isnan(differs[name]), differs[name]))

    @property
    def differs(self) -> float:
        """The relative difference of that cut."""
        return self.found[self.worst][0]

    @property
    def exact(self) -> bool:
        """Whether no cut differs."""
        return self.differs <= TOLERANCE[self.dtype]

    @property
    def is_mean(self) -> bool:
        """Whether the gradient grows with the number of parts, as that of a mean does."""
        halves, single = self.found[HALVES][1], self.found.get(SINGLE, (0.0, math.inf))[1]
        return halves >= MEAN_FACTOR and single >= MEAN_FACTOR * self.size / 4

    @property
    def mean_text(self) -> str:
        """What to say of a mean."""
        factor = self.found[HALVES][1]
        return (
            f"halves of a batch give {factor:.3g} times the gradient of the whole: the loss is "
            "probably a mean; return the sum of the losses and its weight"
        )


def compared(
    task: Task, train: TaskData, numbers: Tensor, dtype: torch.dtype = torch.float64
) -> CutComparison:
    """Compare a batch (B,), two samples or more, whole, in halves, ragged and sample by sample.

    It is computed on a copy of the model in `dtype` (float32 if that fails), with dropout off.

    Raises:
        TaskProblem: the loss returns no sum and weight.
    """
    problem = ""
    try:
        found = _differences(task, train, numbers, dtype)
    except (RuntimeError, TypeError) as error:
        if dtype == torch.float32:
            raise
        problem = " ".join(str(error).split())[:120]
        dtype = torch.float32
        found = _differences(task, train, numbers, dtype)
    return CutComparison(len(numbers), dtype, problem, found)


def without_dropout(model: nn.Module) -> None:
    """Switch the dropout of a model's layers off, and leave their other behaviour as it is.

    Attention and recurrent layers have a dropout of their own, which is no module.
    """
    for layer in model.modules():
        if isinstance(layer, DROPOUTS):
            layer.eval()
        elif isinstance(layer, nn.MultiheadAttention | nn.RNNBase):
            layer.dropout = 0.0


def split_differs(task: Task, train: TaskData, numbers: Tensor) -> dict[int, float]:
    """Compare a batch (B,), whole and as the task's own `split` divides it.

    It is computed on a copy of the model in float64 (float32 if that fails), with dropout off.

    Returns:
        For each number of parts, the relative difference of the gradient from that of the whole.

    Raises:
        TaskProblem: `split` loses samples, or the loss returns no sum and weight.
    """
    assert task.split is not None
    try:
        return _split_differences(task, task.split, train, numbers, torch.float64)
    except (RuntimeError, TypeError):
        return _split_differences(task, task.split, train, numbers, torch.float32)


def _split_differences(
    task: Task, own: Split, train: TaskData, numbers: Tensor, dtype: torch.dtype
) -> dict[int, float]:
    model = cast(copy.deepcopy(task.model), dtype)
    start = copy.deepcopy(model.state_dict())
    without_dropout(model)
    whole = _gradient(task, train, model, dtype, (numbers,))
    found, size = dict[int, float](), len(numbers)
    for parts in (count for count in SPLITS if count <= size):
        model.load_state_dict(start)
        batch = train.batch(numbers, lambda number: seed_from(0, number))
        contents = [content for content, _ in divided(own, batch, parts, size)]
        cut = _gradient_of(task, model, dtype, contents)
        found[parts] = float((cut - whole).norm()) / (float(whole.norm()) or 1.0)
    return found


def is_random(task: Task, batch: Batch) -> bool:
    """Return whether the loss of a batch differs with the state of the generators.

    Both passes begin with the same buffers, so a model that counts its passes is not random.
    """
    found, buffers = [], [(each, each.clone()) for each in task.model.buffers()]
    for seed in (1, 2):
        seed_everything(seed)
        found.append(float(evaluated("loss", task.loss, task.model, [batch]).total))
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
    return found[0] != found[1] and not any(map(math.isnan, found))


def _differences(
    task: Task, train: TaskData, numbers: Tensor, dtype: torch.dtype
) -> dict[str, tuple[float, float]]:
    """Return, for each cut, the relative difference of its gradient, and the ratio of norms."""
    model = cast(copy.deepcopy(task.model), dtype)
    start = copy.deepcopy(model.state_dict())
    size = len(numbers)
    third = max(1, size // 3)
    cuts = {
        HALVES: torch.split(numbers, -(-size // 2)),
        "a short and a long part": torch.split(numbers, [third, size - third]),
        SINGLE: torch.split(numbers, 1),
    }
    without_dropout(model)
    whole, found = _gradient(task, train, model, dtype, (numbers,)), {}
    for name, parts in cuts.items():
        model.load_state_dict(start)
        try:
            cut = _gradient(task, train, model, dtype, parts)
        except ValueError:
            if not any(isinstance(each, NORMS) for each in model.modules()):
                raise
            continue  # batch norm refuses to train on one sample
        norm = float(whole.norm()) or 1.0
        found[name] = float((cut - whole).norm()) / norm, float(cut.norm()) / norm
    return found


def _gradient(
    task: Task, train: TaskData, model: nn.Module, dtype: torch.dtype, parts: tuple[Tensor, ...]
) -> Tensor:
    """Return the gradient of the weighted mean over all parts, as one vector."""
    # a sample is the same in every batch, as in a training, also if it draws random numbers
    batches = (train.batch(part, lambda number: seed_from(0, number)) for part in parts)
    return _gradient_of(task, model, dtype, batches)


def _gradient_of(
    task: Task, model: nn.Module, dtype: torch.dtype, contents: Iterable[Batch]
) -> Tensor:
    """Return the gradient of the weighted mean over the parts of a batch, as one vector."""
    model.zero_grad(set_to_none=True)
    seed_everything(0)
    batches = (in_precision(content, dtype) for content in contents)
    of = accumulate(task.loss, model, batches)
    trained = [each for each in model.parameters() if each.requires_grad]
    grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in trained]
    flat = torch.cat([each.to_dense().reshape(-1) for each in grads])
    weight = of.weight.to(dtype)
    return flat / torch.where(weight == 0.0, torch.ones_like(weight), weight)
