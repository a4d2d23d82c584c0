"""Reads the samples of a task's data by number, as batches."""

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchscope.engine.errors import shown
from batchscope.engine.task import Batch, Data, TaskProblem
from batchscope.engine.training.peak_memory import ran_out
from batchscope.engine.training.tasks.batch_structure import mapped, tensors, to_device
from batchscope.engine.training.tasks.watchdog import began

MOST = 200
"""Characters that describe a sample."""
Collate = Callable[[Sequence[Any]], Batch]


def _ignore(number: int) -> None:
    """Do nothing before a sample is read."""


class TaskData:
    """One part of a task's data: training, validation or test.

    Args:
        name: its name in `Task`, for messages.
        data: tensors of equal length, or a map-style data set.
        collate: makes a batch of a list of samples.

    Attributes:
        size: the number of samples.
        in_memory: whether the data are tensors.

    Raises:
        TaskProblem: the data have no length, are empty, or their tensors differ in length.
    """

    def __init__(self, name: str, data: Data, collate: Collate | None = None) -> None:
        self.name, self._data = name, data
        self._collate = collate or default_collate
        _refuse_arrays(name, data)
        held = list(tensors(data)) if _is_structure(data) else []
        self.in_memory = bool(held)
        self.size = _length_of_tensors(name, held) if held else _length(name, data)
        if not self.size:
            raise TaskProblem(f"Task({name}=…): there are no samples in it")

    def batch(self, numbers: Tensor, before: Callable[[int], None] = _ignore) -> Batch:
        """Return the samples of these numbers, shape (B,), as one batch.

        Args:
            numbers: numbers of samples, on the device of the data.
            before: called with the number of each sample that a data set is asked for.

        Raises:
            TaskProblem: samples differ in shape or kind, and the task brings no `collate`.
        """
        if self.in_memory:
            return mapped(self._data, lambda tensor: _rows(tensor, numbers))
        samples = []
        for number in numbers.tolist():
            before(number)
            began()
            samples.append(self._data[number])
        if self._collate is not default_collate:
            return self._collate(samples)
        try:
            return default_collate(samples)
        except Exception as error:
            if ran_out(error):
                raise
            raise TaskProblem(self._no_batch(numbers.tolist(), samples, error)) from error

    def _no_batch(self, numbers: list[int], samples: Sequence[Any], error: Exception) -> str:
        """Return why samples cannot be put into one batch, and what to do."""
        forms = [_form(each) for each in samples]
        at = next((at for at, form in enumerate(forms) if form != forms[0]), None)
        what = f"sample {numbers[0]:,} is {forms[0]}"
        if at is not None:
            what += f", and sample {numbers[at]:,} is {forms[at]}"
        else:
            what += f" ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        return (
            f"Task({self.name}=…): samples cannot be put into one batch ({self.place()}): {what}; "
            "return tensors of one shape, or give Task a collate=… that makes a batch of them"
        )

    def place(self) -> str:
        """Return where a sample is read, for messages: file, line and name of `__getitem__`."""
        kind = type(self._data)
        reads = getattr(kind, "__getitem__", None)
        code = getattr(inspect.unwrap(reads), "__code__", None) if reads else None
        if code is None:
            return kind.__qualname__
        return (
            f"{kind.__qualname__}, {os.path.relpath(code.co_filename)}, line {code.co_firstlineno}"
        )

    def moved(self, device: torch.device) -> "TaskData":
        """Return the same data with its tensors on a device."""
        return TaskData(self.name, to_device(self._data, device), self._collate)

    def held(self) -> list[Tensor]:
        """Return the tensors that are in memory."""
        return list(tensors(self._data)) if self.in_memory else []


def _rows(tensor: Tensor, numbers: Tensor) -> Tensor:
    """Return rows of a tensor; those of one that requires a gradient are a leaf that does."""
    if not tensor.requires_grad:
        return tensor.index_select(0, numbers)
    return tensor.detach().index_select(0, numbers).requires_grad_()


def default_collate(samples: Sequence[Any]) -> Batch:
    """Stack samples as torch's default does; dataclasses field by field."""
    first = samples[0]
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        fields = [each.name for each in dataclasses.fields(first)]
        columns = {name: [getattr(each, name) for each in samples] for name in fields}
        return dataclasses.replace(
            first, **{name: default_collate(column) for name, column in columns.items()}
        )
    return torch.utils.data.default_collate(list(samples))


def _form(sample: Any, depth: int = 3) -> str:
    """Return what a sample is, without its values: `(tensor (3,), int)`."""
    if isinstance(sample, Tensor):
        return f"tensor {tuple(sample.shape)}"
    if depth and isinstance(sample, Mapping):
        parts = ", ".join(f"{key!r}: {_form(each, depth - 1)}" for key, each in sample.items())
        return f"{{{parts[:MOST]}}}"
    if depth and isinstance(sample, tuple | list):
        return f"({', '.join(_form(each, depth - 1) for each in sample[:MOST])[:MOST]})"
    return "None" if sample is None else f"a value of type {type(sample).__qualname__}"


def _is_structure(data: Data) -> bool:
    return isinstance(data, Tensor | Mapping | tuple | list)


def _refuse_arrays(name: str, data: Data) -> None:
    """Refuse numpy arrays in the place of tensors: they would be the samples, one each."""
    if not isinstance(data, Mapping | tuple):
        return
    inner = data.values() if isinstance(data, Mapping) else data
    if any(isinstance(each, np.ndarray) and each.ndim for each in inner):
        raise TaskProblem(
            f"Task({name}=…): its numpy arrays are no tensors; write torch.as_tensor(array) for "
            "each (and .float() for numbers in float64)"
        )


def _length_of_tensors(name: str, held: list[Tensor]) -> int:
    if any(tensor.ndim == 0 for tensor in held):
        raise TaskProblem(f"Task({name}=…): a tensor has no dimension of samples (it is 0-d)")
    lengths = sorted({len(tensor) for tensor in held})
    if len(lengths) > 1:
        text = ", ".join(map(str, lengths))
        raise TaskProblem(f"Task({name}=…): its tensors differ in their number of samples: {text}")
    return lengths[0]


def _length(name: str, data: Data) -> int:
    if isinstance(data, torch.utils.data.IterableDataset):
        raise TaskProblem(
            f"Task({name}=…): an IterableDataset has no order that a seed can decide; read it into "
            "a list, or write a Dataset with __len__ and __getitem__"
        )
    if isinstance(data, torch.utils.data.DataLoader):
        raise TaskProblem(
            f"Task({name}=…): a DataLoader has chosen its batch size; give its data set, and its "
            "collate_fn as collate=…"
        )
    values = data.values() if isinstance(data, Mapping) else data if isinstance(data, tuple) else ()
    if values and all(isinstance(each, np.ndarray) for each in values):
        raise TaskProblem(
            f"Task({name}=…): these are arrays of numpy; give tensors, for example with "
            "torch.from_numpy, or samples in a list"
        )
    if not hasattr(data, "__getitem__"):
        raise TaskProblem(
            f"Task({name}=…): expected tensors or a data set with __len__ and __getitem__, got "
            f"{shown(data)}"
        )
    try:
        return len(data)
    except (TypeError, NotImplementedError):
        raise TaskProblem(f"Task({name}=…): {shown(data)} has no length") from None
