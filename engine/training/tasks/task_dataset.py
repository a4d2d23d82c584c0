"""The data of a task on one device, in the form in which a training uses them.

Random numbers do not depend on what was computed before: each sample is read with generators seeded
by (seed, epoch, its number), and each part of a batch passes through the model with generators
seeded by the step. So a training that resumes, or cuts a batch otherwise, draws as one that was
never interrupted.
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.engine.task import Batch, Task
from batchscope.engine.training.batches import Part, split
from batchscope.engine.training.tasks.batch_structure import to_device
from batchscope.engine.training.tasks.random_streams import seed_from
from batchscope.engine.training.tasks.task_data import TaskData

READING, PASSING, EVALUATING = 1, 2, 3
"""What generators are seeded for: reading a sample, a pass of a step, an evaluation."""
PART_SEED = 0
PART = 1_000
"""Training samples that are evaluated where the task brings neither test nor validation data."""


class TaskSamples:
    """The training samples of a task, as batches on its device.

    Attributes:
        epoch: number of the epoch whose random numbers samples are read with.
        stream: numbers of the step that is computed; empty outside of steps.
    """

    def __init__(self, data: TaskData, seed: int, device: torch.device) -> None:
        self._data, self._seed, self._device = data, seed, device
        self.epoch, self.stream = 0, tuple[int, ...]()

    def batch(self, numbers: Tensor) -> Batch:
        """Return the samples of these numbers, shape (B,), as one batch on the device."""
        if self._data.in_memory:
            return self._data.batch(numbers)
        seeds = (self._seed, self.epoch, READING)
        content = self._data.batch(numbers.cpu(), lambda number: seed_from(*seeds, number))
        return to_device(content, self._device)

    def seed_pass(self, numbers: Tensor, part: int) -> None:
        """Seed the generators for the pass of a part of a batch.

        Outside of steps, as in probes, the numbers of the samples decide.
        """
        stream = self.stream or (len(numbers), *numbers[:4].tolist())
        seed_from(self._seed, PASSING, part, *stream, device=self._device)

    def seed_evaluation(self) -> None:
        """Seed the generators for an evaluation."""
        seed_from(self._seed, EVALUATING, device=self._device)


class TaskDataset:
    """Training, validation and test data of one task; a `TrainingData`.

    Args:
        task: the task, made with the seed of a trial.
        seed: that seed.
        device: where the batches go; tensors that are in memory are moved there once.
        held: number of training samples to hold out where the task brings no validation data.

    Raises:
        TaskProblem: its data cannot be used.
    """

    def __init__(self, task: Task, seed: int, device: torch.device, held: int = 0) -> None:
        self.task, self._device = task, device

        def part(name: str, data: Any) -> TaskData | None:
            if data is None:
                return None
            found = TaskData(name, data, task.collate)
            return found.moved(device) if found.in_memory else found

        self._train = TaskData("train", task.train, task.collate)
        if self._train.in_memory:
            self._train = self._train.moved(device)
        self._validation = part("validation", task.validation)
        self._test = part("test", task.test)
        self.samples = TaskSamples(self._train, seed, device)
        self._trained: Tensor | None = None
        self._held: Tensor | None = None
        if held and self._validation is None:
            self._held, self._trained = (each.to(device) for each in split(self._train.size, held))
        self._start = copy.deepcopy(task.model)
        self.train_part = self.part(max(self.test_size, self._validation_size) or PART)

    @property
    def stream(self) -> tuple[int, ...]:
        """The numbers of the step that is computed."""
        return self.samples.stream

    @stream.setter
    def stream(self, numbers: tuple[int, ...]) -> None:
        self.samples.stream = numbers

    @property
    def train_size(self) -> int:
        """Number of samples to train on."""
        return self._train.size if self._trained is None else len(self._trained)

    @property
    def test_size(self) -> int:
        """Number of test samples."""
        return self._test.size if self._test else 0

    @property
    def validates(self) -> bool:
        """Whether there are validation samples."""
        return self._validation_size > 0

    @property
    def _validation_size(self) -> int:
        if self._validation is not None:
            return self._validation.size
        return 0 if self._held is None else len(self._held)

    def network(self) -> nn.Module:
        """Return the model with the weights that the task's function gave it."""
        return copy.deepcopy(self._start)

    def batches(self, part: Part, size: int) -> Iterator[Batch]:
        """Yield the batches of a part, of at most `size` samples; none if the part is empty."""
        data, numbers = self._train, self.train_part
        if part == "test" or (part == "validation" and self._validation is not None):
            found = self._test if part == "test" else self._validation
            if found is None:
                return
            data, numbers = found, torch.arange(found.size, device=self._device)
        elif part == "validation":
            if self._held is None:
                return
            numbers = self._held
        self.samples.seed_evaluation()
        for chosen in torch.split(numbers, size):
            if data.in_memory:
                yield data.batch(chosen)
            else:
                yield to_device(data.batch(chosen.cpu(), _keep), self._device)

    def held(self) -> list[Tensor]:
        """Return every tensor that is kept in memory."""
        parts = [each for each in (self._train, self._validation, self._test) if each]
        kept = [tensor for each in parts for tensor in each.held()]
        numbers = [each for each in (self._trained, self._held) if each is not None]
        return [*kept, *numbers, self.train_part]

    def part(self, count: int) -> Tensor:
        """Return the numbers of a fixed random part of the samples to train on."""
        generator = torch.Generator().manual_seed(PART_SEED)
        drawn = torch.randperm(self.train_size, generator=generator)[:count].sort().values
        return self.of_training(drawn.to(self._device))

    def of_training(self, numbers: Tensor) -> Tensor:
        """Convert numbers of samples to train on (0, 1, …) to numbers in `samples`."""
        return numbers if self._trained is None else self._trained[numbers]


def _keep(number: int) -> None:
    """Seed nothing for a sample: an evaluation is seeded as a whole."""
