"""Trains several replicates of one network together, as the rows of one buffer.

Elementwise operations, such as the update of every optimizer here, are then one call for all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel, flat_length
from batchscope.engine.training.model.passes import pass_of
from batchscope.engine.training.tasks.own_buffers import OwnBuffers
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trained_parameters import trained


class Stack:
    """The networks of R replicates on a device, each with the initial weights of its own seed.

    Attributes:
        weights: shape (R, P), a leaf parameter; its `grad` is `gradient`.
        gradient: shape (R, P).
        members: each replicate as a model of its own; its weights are a row of `weights`.
        passes: computes the gradients of all replicates.

    Raises:
        MachineProblem: the device does not support the precision.
    """

    def __init__(
        self,
        members: Sequence[Trial],
        plan: Plan,
        device: torch.device,
        task: TaskDataset | None = None,
    ) -> None:
        settings = members[0].settings
        if task is not None:
            models, objective = [task.network()], task.task.loss
        else:
            dataset, objective = DATASETS[settings.data.name], None
            models = [build_model(settings.model, dataset, trial.seed) for trial in members]
        shape = len(models), flat_length(trained(models[0]))
        self.weights = nn.Parameter(torch.zeros(shape, device=device))
        self.weights.grad = self.gradient = torch.zeros(shape, device=device)
        rows = zip(self.weights.detach(), self.gradient, strict=True)
        self.members = [
            FlatModel(model, device, precision=plan.precision, rows=row, objective=objective)
            for model, row in zip(models, rows, strict=True)
        ]
        self._own = OwnBuffers(models[0]) if task is not None else None
        self._shared = [] if self._own else _shared_buffers(models)
        self.passes = pass_of(
            self.members,
            self.weights.detach(),
            self.gradient,
            self.buffers,
            channels_last=plan.layout == "channels-last",
        )

    @property
    def buffers(self) -> list[Tensor]:
        """The buffers of all replicates (those of batch norm), each of shape (R, ...)."""
        return self._own.rows() if self._own else self._shared

    def copy_weights(self) -> Tensor:
        """Return a copy of the weights, shape (R, P)."""
        return self.weights.detach().clone()


def _shared_buffers(models: Sequence[nn.Module]) -> list[Tensor]:
    """Move the buffers into tensors with a row for each model, in the order of `buffers()`."""
    shared = []
    modules = zip(*(model.modules() for model in models), strict=True)
    for alike in modules:
        for name, _ in alike[0].named_buffers(recurse=False):
            together = torch.stack([getattr(module, name) for module in alike])
            for module, row in zip(alike, together, strict=True):
                setattr(module, name, row)
            shared.append(together)
    return shared
