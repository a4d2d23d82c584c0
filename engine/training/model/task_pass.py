"""Forward and backward pass of a task's model: the gradient of a weighted mean over the batch."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from batchscope.engine.task import TaskProblem
from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.own_buffers import replaced
from batchscope.engine.training.tasks.task_dataset import TaskSamples
from batchscope.engine.training.tasks.weighted_sum import (
    Weight,
    checked,
    cleared,
    constant,
    summed,
    touched,
    untouched,
)


class TaskPass:
    """Computes the gradient of one model with the loss of its task; see `passes.Pass`.

    The first part of a batch leaves its gradients in tensors of their own, which torch does not
    have to add to anything. They are copied into the buffer at once, and later parts are added
    there. On a CPU the copy is left out for a batch of one part if nothing reads the buffer.
    Parameters that get no gradient in a batch have no `grad` in its step, as in torch.

    Attributes:
        part_weight: weight of the last micro-batch.
        gathers: whether the buffer has to hold the gradient of the next batch.
    """

    few = 0

    def __init__(self, flat: FlatModel) -> None:
        assert flat.objective is not None
        self._flat, self._loss = flat, flat.objective
        self._device = flat.gradient.device
        self._trained = flat.trained()
        parts = zip(self._trained, windows(self._trained), strict=True)
        self._views = [flat.gradient[window].view_as(parameter) for parameter, window in parts]
        self._places = [parameter.data_ptr() for parameter in self._trained]
        self.gathers = True
        self._missing: list[tuple[nn.Parameter, Tensor]] = []
        self.part_weight: Weight = 0.0
        self._weight: Weight = 0.0

    def accumulate(
        self,
        samples: TaskSamples,
        batch: Tensor,
        cut: int,
        mean: bool,
        heard: Callable[[int], None],
    ) -> None:
        """Compute the gradient (1, P) of a batch (1, B); see `passes.Pass.accumulate`.

        The parts add up the gradients of their sums. At the end these are divided by the sum of
        the weights, if `mean`. A batch of one part is divided before its backward pass, which
        costs nothing.
        """
        single = batch.shape[1] <= cut
        whole = mean and single
        for parameter, at in zip(self._trained, self._places, strict=True):
            parameter.grad = None
            if parameter.data_ptr() != at:
                moved = replaced(self._flat.model, parameter)
                raise TaskProblem(f"{named('loss', self._loss)}: {moved}")
        for number, (content, size, chosen) in enumerate(samples.parts(batch[0], cut)):
            samples.seed_pass(chosen, number)
            with self._flat.cast(self._device.type):
                total, self.part_weight = summed("loss", self._loss, self._flat.model, content)
            if not number and any(each.grad is not None for each in self._trained):
                raise TaskProblem(touched(self._loss))
            if total.requires_grad:
                total.backward(_inverse(self.part_weight, total) if whole else None)  # type: ignore[no-untyped-call]
            elif float(self.part_weight) != 0.0:
                raise TaskProblem(constant(self._loss))
            self._weight = self._weight + self.part_weight if number else self.part_weight
            if number:
                self._gather_missing()
            elif self.gathers or not single:
                self._gather()
            else:
                self._missing = []
            heard(size)
        self._check_gradients(gathered=self.gathers or not single)
        if mean and not whole:
            self._divide()
        for parameter, _ in self._missing:
            parameter.grad = None

    @np.errstate(over="ignore", invalid="ignore")  # a norm may overflow: it counts as not finite
    def norm(self) -> float:
        """Return the L2 norm of a gradient on a CPU that was not copied into the buffer."""
        squares = 0.0
        for parameter in self._trained:
            if parameter.grad is not None:
                gradient = parameter.grad.numpy()
                squares += float(np.vdot(gradient, gradient))
        return math.sqrt(squares)

    def _check_gradients(self, gathered: bool) -> None:
        """Raise `TaskProblem` if no weight got a gradient, or a later part took one away."""
        if (
            len(self._missing) == len(self._trained)
            or (not gathered and all(each.grad is None for each in self._trained))
        ) and float(self._weight) != 0.0:
            raise TaskProblem(untouched(self._loss))
        if not gathered:
            return
        missing = {parameter for parameter, _ in self._missing}
        for parameter, view in zip(self._trained, self._views, strict=True):
            if parameter.grad is not view and parameter not in missing:
                raise TaskProblem(cleared(self._loss))

    def _gather(self) -> None:
        """Move the gradients of the first part into the buffer."""
        self._missing = []
        views, gradients = list[Tensor](), list[Tensor]()
        for parameter, view in zip(self._trained, self._views, strict=True):
            if parameter.grad is None:
                self._missing.append((parameter, view.zero_()))
                continue
            views.append(view)
            gradients.append(parameter.grad)
            parameter.grad = view
        if views:
            torch._foreach_copy_(views, gradients)

    def _gather_missing(self) -> None:
        """Move the gradients of parameters that no part has reached before."""
        left = list[tuple[nn.Parameter, Tensor]]()
        for parameter, view in self._missing:
            if parameter.grad is None:
                left.append((parameter, view))
            else:
                parameter.grad = view.copy_(parameter.grad)
        self._missing = left

    def weighs(self) -> bool:
        """Return whether the last batch had a weight above 0; waits if it is on a GPU.

        Raises:
            TaskProblem: the weight is negative, infinite or not a number.
        """
        return checked("loss", self._loss, float(self._weight)) > 0.0

    def descend(self, samples: TaskSamples, batch: Tensor, mean: bool, lr: float) -> Tensor:
        """Take a step of plain gradient descent with a stored gradient; see `passes.Pass`."""
        self.gathers = True
        self.accumulate(samples, batch, batch.shape[1], mean, lambda size: None)
        self._flat.weights.detach().add_(self._flat.gradient, alpha=-lr)
        return self._flat.norm().unsqueeze(0)

    def _divide(self) -> None:
        weight = self._weight
        if isinstance(weight, Tensor):
            self._flat.gradient.div_(torch.where(weight == 0.0, torch.ones_like(weight), weight))
        elif weight not in (0.0, 1.0):
            self._flat.gradient.div_(weight)


def _inverse(weight: Weight, total: Tensor) -> Tensor | None:
    """Return 1 ÷ weight as the gradient of a sum; None for a weight of 0 or 1."""
    if isinstance(weight, Tensor):
        return torch.where(weight == 0.0, 1.0, 1.0 / weight).to(total)
    return None if weight in (0.0, 1.0) else _constant(1.0 / weight, total.device, total.dtype)


@lru_cache(maxsize=64)
def _constant(value: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, device=device, dtype=dtype)
