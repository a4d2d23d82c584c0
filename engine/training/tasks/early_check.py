"""Looks at a task before its first step, as `check` does, with a few samples and no second model.

What would make figures wrong is refused; what restricts what they mean is noted.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.tasks.cut_comparison import TOLERANCE, compared, split_differs
from batchscope.engine.training.tasks.data_check import DataCheck
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.metric_check import MODES, metric_values
from batchscope.engine.training.tasks.own_optimizer import groups_of, refuse_optimizer
from batchscope.engine.training.tasks.split_check import check_split
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.trained_parameters import trained

SAMPLES = 8
Note = Callable[[str], None]


class EarlyCheck:
    """Looks at the first samples of a task whose loss has been run already.

    Args:
        task: the task.
        train: its training data.
        began_in_training: whether the model came in training mode.
        known: whether there is a reason already why a batch in parts differs from the whole.
    """

    def __init__(self, task: Task, train: TaskData, began_in_training: bool, known: bool) -> None:
        self._task, self._train, self._known = task, train, known
        self._began_in_training = began_in_training
        self._data = DataCheck(task)

    def look(self, note: Note) -> None:
        """Refuse what would make figures wrong; `note` takes what else a person should know.

        Raises:
            TaskProblem: the message names the function that is at fault.
        """
        self._mode(note)
        self._optimizer()
        unsteady = self._data.unsteady
        if unsteady is not None:
            note(self._data.unsteady_text(unsteady))
        numbers = torch.arange(min(SAMPLES, self._train.size))
        steady = unsteady is None
        if steady and len(numbers) > 1:
            self._cut(numbers, note)
            self._split(numbers, note)
        metric_values(self._task, self._task.model, self._train, numbers, steady, True)

    def _mode(self, note: Note) -> None:
        if self._began_in_training and not self._task.model.training:
            raise TaskProblem(f"{named('loss', self._task.loss)}: {MODES}")
        if not self._began_in_training:
            note(
                "the model comes in evaluation mode, and is trained so: dropout is off and batch "
                "norm is fixed; call model.train() in the function to change that"
            )

    def _optimizer(self) -> None:
        task, own = self._task, trained(self._task.model)
        groups = groups_of(task, task.model, own)
        if task.optimizer is not None:
            refuse_optimizer(task, task.optimizer(groups, 0.01), own)

    def _cut(self, numbers: Tensor, note: Note) -> None:
        found, name = compared(self._task, self._train, numbers, torch.float32), "loss"
        if found.is_mean:
            raise TaskProblem(f"{named(name, self._task.loss)}: {found.mean_text}")
        if not found.exact and not self._known:
            note(
                f"{named(name, self._task.loss)}: the gradient of a batch in parts differs by "
                f"{found.differs:.2g} from that of the whole: the loss of a sample depends on the "
                "other samples of its batch; memory.micro_batch_size should be the batch size"
            )

    def _split(self, numbers: Tensor, note: Note) -> None:
        task = self._task
        if task.split is None:
            return
        check_split(task, task.model, self._train, numbers)
        found = split_differs(task, self._train, numbers)
        worst = max(found, key=lambda parts: (math.isnan(found[parts]), found[parts]))
        if found[worst] <= TOLERANCE[torch.float32]:
            return
        text = (
            f"{named('split', task.split)}: {worst} parts give a gradient that differs by "
            f"{found[worst]:.2g} from the whole"
        )
        if not self._known:
            raise TaskProblem(
                f"{text}: a part must hold its samples as they are in the whole batch, and each "
                "sample must be in one part"
            )
        note(f"{text}, as batches of this task do that are cut")
