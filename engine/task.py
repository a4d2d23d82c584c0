"""What a person brings to be trained: a model, its data and its loss, as one object.

A function of the person's module returns a `Task`; `[task] use = "module:function"` names it. This
module imports no torch, so that `import batchscope` stays cheap.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from batchscope.engine.errors import UsageProblem, nearest, shown

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

Batch = Any
"""Tensors in tuples, lists, dicts, named tuples or dataclasses; what `loss` takes."""
Data = Any
"""Tensors of equal length (one, or a tuple or dict of them), or a map-style data set."""
Direction = Literal["higher", "lower"]
Summed = Callable[["nn.Module", Batch], tuple["Tensor", "Tensor | float"]]
"""Returns a sum over the samples of a batch, and the weight that the sum is divided by."""
Scored = Callable[["nn.Module", Batch], tuple["Tensor", "Tensor"]]
"""Returns scores of the classes for the samples of a batch, (n, K), and the right classes, (n,)."""

RESERVED = ("loss", "learning_rate", "lr")
"""Names that a metric cannot have, because columns of these names exist."""


class TaskProblem(UsageProblem):
    """A task that cannot be trained; the message says what to do instead."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A model, its data and its loss, as `[task]` trains them.

    Every quantity is a *sum* and a *weight*, never a mean: the gradient of a step is that of
    Σ sums ÷ Σ weights over the whole batch, so it does not depend on how the batch is cut.

    Attributes:
        model: a module; its weights are drawn from the seed that is set before the call.
        train: the training data.
        loss: takes the model and a batch, and returns the sum of the losses (a 0-d tensor) and its
            weight (a 0-d tensor or a number): the number of samples, or of tokens.
        validation: data to choose by; without it, `task.validation` holds out training data.
        test: data to report; without it, there are no `test_` columns.
        metrics: by name, what else is evaluated; each returns a sum and a weight as `loss` does.
        better: by metric, whether `higher` or `lower` is better; `higher` unless given.
        collate: makes a batch of a list of samples; torch's default otherwise.
        split: takes a batch and a number of parts, and returns as many batches with the same
            samples. Without it each part is collated by itself.
        parameters: takes the model and returns groups of parameters for the optimizer.
        optimizer: takes those groups and a learning rate, and returns the optimizer.
        scores: takes the model and a batch, and returns the scores of K classes, (n, K), of which
            the highest is predicted, and the right classes, (n,), from 0. With it the test error is
            divided into bias and variance over the seeds, so test data must not depend on the seed.

    Raises:
        TaskProblem: an argument cannot be right.
    """

    model: "nn.Module"
    train: Data
    loss: Summed
    validation: Data | None = None
    test: Data | None = None
    metrics: Mapping[str, Summed] = field(default_factory=dict)
    better: Mapping[str, Direction] = field(default_factory=dict)
    collate: Callable[[Sequence[Any]], Batch] | None = None
    split: Callable[[Batch, int], Sequence[Batch]] | None = None
    parameters: Callable[["nn.Module"], Iterable[Mapping[str, Any]]] | None = None
    optimizer: Callable[[Sequence[Mapping[str, Any]], float], "Optimizer"] | None = None
    scores: Scored | None = None

    if not TYPE_CHECKING:  # a type checker knows the arguments; Python's own error names none

        def __new__(cls, *unnamed: Any, **named: Any) -> "Task":
            """Refuse arguments without a name, and unknown ones with the nearest name."""
            names = [each.name for each in fields(cls)]
            if unnamed:
                raise TaskProblem(
                    "Task(…): arguments are given by name, such as Task(model=…, train=…, loss=…)"
                )
            for name in named:
                if name not in names:
                    raise TaskProblem(
                        f"Task({name}=…): there is no such argument{nearest(name, names)}"
                    )
            return super().__new__(cls)

    def __post_init__(self) -> None:
        for name in ("loss", "collate", "split", "parameters", "optimizer", "scores"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TaskProblem(f"Task({name}=…): expected a function, got {shown(value)}")
        if not callable(self.loss):
            raise TaskProblem("Task(loss=…): expected a function, got None")
        for name, example in (("metrics", "{'mae': mae}"), ("better", "{'mae': 'lower'}")):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise TaskProblem(
                    f"Task({name}=…): expected a dict such as {example}, got {shown(value)}"
                )
        for name, metric in self.metrics.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise TaskProblem(
                    f"Task(metrics=…): {shown(name)} is not a name such as 'accuracy'"
                )
            if name in RESERVED:
                raise TaskProblem(f"Task(metrics=…): the name {name!r} is taken; choose another")
            if not callable(metric):
                raise TaskProblem(
                    f"Task(metrics=…): {name}: expected a function, got {shown(metric)}"
                )
        for name, direction in self.better.items():
            if name not in self.metrics:
                raise TaskProblem(
                    f"Task(better=…): there is no metric {shown(name)}"
                    f"{nearest(str(name), self.metrics)}"
                )
            if direction not in ("higher", "lower"):
                raise TaskProblem(
                    f"Task(better=…): {name}: expected 'higher' or 'lower', got {shown(direction)}"
                )
