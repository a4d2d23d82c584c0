"""Forward and backward pass of a task's model: the gradient of a weighted mean over the batch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from batchscope.engine.task import TaskProblem
from batchscope.engine.training.model.flat_model import FlatModel, windows
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.own_buffers import replaced
from batchscope.engine.training.tasks.task_dataset import TaskSamples
from batchscope.engine.training.tasks.weighted_sum import Weight, cleared, summed, untouched


class TaskPass:
    """Computes the gradient of one model with the loss of its task; see `passes.Pass`.

    Parameters that get no gradient in a batch have no `grad` in its step, as in torch.

    Attributes:
        part_weight: weight of the last micro-batch.
    """

    few = 0

    def __init__(self, flat: FlatModel) -> None:
        assert flat.objective is not None
        self._flat, self._loss = flat, flat.objective
        self._trained = flat.trained()
        parts = zip(self._trained, windows(self._trained), strict=True)
        self._views = [flat.gradient[window].view_as(parameter) for parameter, window in parts]
        self._places = [parameter.data_ptr() for parameter in self._trained]
        self._reached: set[nn.Parameter] = set()
        for parameter in self._trained:
            parameter.register_post_accumulate_grad_hook(self._reached.add)  # type: ignore[no-untyped-call]
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
        the weights, if `mean`.
        """
        flat, weights = self._flat, list[Weight]()
        flat.gradient.zero_()
        self._reached.clear()
        for parameter, view, at in zip(self._trained, self._views, self._places, strict=True):
            parameter.grad = view
            if parameter.data_ptr() != at:
                moved = replaced(flat.model, parameter)
                raise TaskProblem(f"{named('loss', self._loss)}: {moved}")
        for number, part in enumerate(torch.split(batch[0], cut)):
            content = samples.batch(part)
            samples.seed_pass(part, number)
            with flat.cast(flat.gradient.device.type):
                total, self.part_weight = summed("loss", self._loss, flat.model, content)
            if not total.requires_grad:
                raise TaskProblem(
                    f"{named('loss', self._loss)}: the sum does not depend on the weights of the "
                    "model (it has no gradient)"
                )
            total.backward()  # type: ignore[no-untyped-call]
            weights.append(self.part_weight)
            heard(len(part))
        if not self._reached:
            raise TaskProblem(untouched(self._loss))
        self._weight = sum(weights[1:], weights[0])
        if mean:
            self._divide()
        for parameter, view in zip(self._trained, self._views, strict=True):
            if parameter not in self._reached:
                parameter.grad = None
            elif parameter.grad is not view:
                raise TaskProblem(cleared(self._loss))

    def weighs(self) -> bool:
        """Return whether the last batch had a weight above 0; waits if it is on a GPU.

        Raises:
            TaskProblem: the weight is negative or not a number.
        """
        weight = float(self._weight)
        if not weight >= 0.0:
            raise TaskProblem(
                f"{named('loss', self._loss)}: the weight of a batch is {weight:g}; it must not be "
                "negative"
            )
        return weight > 0.0

    def descend(self, samples: TaskSamples, batch: Tensor, mean: bool, lr: float) -> Tensor:
        """Take a step of plain gradient descent with a stored gradient; see `passes.Pass`."""
        self.accumulate(samples, batch, batch.shape[1], mean, lambda size: None)
        self._flat.weights.detach().add_(self._flat.gradient, alpha=-lr)
        return self._flat.norm().unsqueeze(0)

    def logits(self, images: Tensor) -> Tensor:
        """Raise an error: the outputs of a task's model are its own."""
        raise NotImplementedError("a task has no logits")

    def _divide(self) -> None:
        weight = self._weight
        if isinstance(weight, Tensor):
            self._flat.gradient.div_(torch.where(weight == 0.0, torch.ones_like(weight), weight))
        elif weight not in (0.0, 1.0):
            self._flat.gradient.div_(weight)
