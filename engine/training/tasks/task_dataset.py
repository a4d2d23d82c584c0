"""The data of a task on one device, in the form in which a training uses them.

Random numbers do not depend on what was computed before: each sample is read with generators seeded
by (seed, epoch, its number), and each part of a batch passes through the model with generators
seeded by the step. So a training that resumes, or cuts a batch otherwise, draws as one that was
never interrupted.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from batchscope.engine.task import Batch, Task
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.batches import Part, split
from batchscope.engine.training.tasks.batch_split import Split, divided
from batchscope.engine.training.tasks.batch_structure import to_device
from batchscope.engine.training.tasks.error_place import place_in_text
from batchscope.engine.training.tasks.function_loader import guarded
from batchscope.engine.training.tasks.loader_processes import LoaderProcesses, Slow
from batchscope.engine.training.tasks.random_streams import seed_from
from batchscope.engine.training.tasks.read_ahead import ReadingAhead, Request
from batchscope.engine.training.tasks.task_data import TaskData

READING, PASSING, EVALUATING = 1, 2, 3
"""What generators are seeded for: reading a sample, a pass of a step, an evaluation."""
PART_SEED = 0
NAMED = 4
"""How many samples a message names."""
PART = 1_000
"""Training samples that are evaluated where the task brings neither test nor validation data."""


class TaskSamples:
    """The training samples of a task, as batches on its device.

    Attributes:
        epoch: number of the epoch whose random numbers samples are read with.
        stream: numbers of the step that is computed; empty outside of steps.
        ahead: reads the coming batches in loader processes; None without any.
    """

    def __init__(
        self, data: TaskData, seed: int, device: torch.device, split: Split | None = None
    ) -> None:
        self._data, self._seed, self._device, self._split = data, seed, device, split
        self.epoch, self.stream = 0, tuple[int, ...]()
        self.ahead: ReadingAhead | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The numbers that the samples of this epoch are seeded with, beside their own."""
        return self._seed, self.epoch, READING

    def batch(self, numbers: Tensor) -> Batch:
        """Return the samples of these numbers, shape (B,), as one batch on the device."""
        if self._data.in_memory:
            return self._data.batch(numbers)
        request = Request("train", tuple(numbers.tolist()), self.seeds)
        content = self.ahead.take(request) if self.ahead else read(self._data, request)
        return to_device(content, self._device)

    def parts(self, numbers: Tensor, cut: int) -> Iterator[tuple[Batch, int, Tensor]]:
        """Yield a batch in parts of at most `cut` samples.

        A task that divides batches by itself gets the whole one and the number of parts.

        Yields:
            A part, its number of samples, and the numbers of the samples that its pass is seeded
            with outside of steps.
        """
        size = len(numbers)
        if self._split is None or size <= cut:
            for chosen in torch.split(numbers, cut) if size > cut else (numbers,):
                yield self.batch(chosen), len(chosen), chosen
            return
        for part, count in divided(self._split, self.batch(numbers), -(-size // cut), size):
            yield part, count, numbers

    def seed_pass(self, numbers: Tensor, part: int) -> None:
        """Seed the generators for the pass of a part of a batch.

        Outside of steps, as in probes, the numbers of the samples decide.
        """
        stream = self.stream or (len(numbers), *numbers[:4].tolist())
        seed_from(self._seed, PASSING, part, *stream, device=self._device)

    def seed_evaluation(self, number: int) -> None:
        """Seed the generators for the batch of this number in an evaluation."""
        seed_from(self._seed, EVALUATING, number, device=self._device)


def read(data: TaskData, request: Request) -> Batch:
    """Return the samples of a request as one batch; each is read with generators of its own."""
    seeds = request.seeds
    return data.batch(torch.tensor(request.numbers), lambda number: seed_from(*seeds, number))


class TaskDataset:
    """Training, validation and test data of one task; a `TrainingData`.

    Args:
        task: the task, made with the seed of a trial.
        seed: that seed.
        device: where the batches go; tensors that are in memory are moved there once.
        held: number of training samples to hold out where the task brings no validation data.
        loaders: processes that read the samples of a data set ahead; 0 to read them as needed.
        code: the code of the task, to name the line of theirs at which a loader failed.
        said: takes where a loader process stands that has read one batch for long.
        seconds: how long.

    Raises:
        TaskProblem: its data cannot be used.
    """

    def __init__(
        self,
        task: Task,
        seed: int,
        device: torch.device,
        held: int = 0,
        loaders: int = 0,
        code: CodeDigests | None = None,
        said: Callable[[str], None] | None = None,
        seconds: float = 60.0,
    ) -> None:
        self.task, self._device, self._seed = task, device, seed
        self._loaders, self._code = loaders, code
        self._said, self._seconds = said, seconds

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
        self.samples = TaskSamples(self._train, seed, device, task.split)
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
        parts = torch.split(numbers, size)
        contents: Iterator[Batch]
        if data.in_memory:
            contents = (data.batch(chosen) for chosen in parts)
        else:
            seeds = self._seed, EVALUATING
            contents = self._read(
                data, [Request(data.name, tuple(each.tolist()), seeds) for each in parts]
            )
        for number, content in enumerate(contents):
            self.samples.seed_evaluation(number)
            yield content

    def expect(self, batches: Sequence[Tensor], cut: Callable[[], int]) -> None:
        """Announce the coming batches of training, so that loader processes can read them ahead.

        Args:
            batches: numbers of the samples of each batch, (1, B).
            cut: returns the micro-batch size.
        """
        ahead = None if self._train.in_memory else self._reading_ahead()
        if ahead:
            whole = max((each.shape[1] for each in batches), default=1)
            ahead.expect(batches, (lambda: whole) if self.task.split else cut, self.samples.seeds)

    def close(self) -> None:
        """End the loader processes; they start again when they are needed."""
        if self.samples.ahead:
            self.samples.ahead.close()
            self.samples.ahead = None

    def _read(self, data: TaskData, requests: Sequence[Request]) -> Iterator[Batch]:
        """Yield batches on the device, in order."""
        ahead = self._reading_ahead()
        contents = ahead.all(requests) if ahead else (read(data, each) for each in requests)
        for content in contents:
            yield to_device(content, self._device)

    def _reading_ahead(self) -> ReadingAhead | None:
        """Return what reads batches in loader processes, which are started; None without any."""
        if self._loaders and self.samples.ahead is None:
            given = (self._train, self._validation, self._test)
            parts = {each.name: each for each in given if each}

            def answered(request: Request) -> Batch:
                data = parts[request.part]
                if self._code is None:
                    return read(data, request)
                return guarded(lambda: read(data, request), self._code, "reading the samples")

            def described(request: Request) -> str:
                numbers = ", ".join(map(str, request.numbers[:NAMED]))
                more = ", …" if len(request.numbers) > NAMED else ""
                return f"samples {numbers}{more} of {request.part} ({parts[request.part].place()})"

            slow = Slow(self._seconds, self._said or str, self._line_in)
            loaders = LoaderProcesses(self._loaders, answered, described, slow)
            self.samples.ahead = ReadingAhead(loaders)
        return self.samples.ahead

    def _line_in(self, trace: str) -> str:
        """Return the innermost line of theirs in the words of `faulthandler`; or nothing."""
        return place_in_text(trace, self._code) if self._code else ""

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
