"""Walks through the tensors of a batch: tuples, lists, dicts, named tuples and dataclasses."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def tensors(batch: Any) -> Iterator[Tensor]:
    """Yield every tensor of a batch, in order."""
    if isinstance(batch, Tensor):
        yield batch
    for inner in _inner(batch):
        yield from tensors(inner)


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch of the same structure with every tensor changed.

    Values that are no tensors, such as strings and numbers, stay as they are.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    if type(batch) is tuple:  # first, because it is the usual batch, and the others take longer
        return tuple([mapped(each, change) for each in batch])
    if isinstance(batch, Mapping):
        return type(batch)({key: mapped(each, change) for key, each in batch.items()})  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(each, change) for each in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(mapped(each, change) for each in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {each.name: getattr(batch, each.name) for each in dataclasses.fields(batch)}
        changed = {name: mapped(value, change) for name, value in fields.items()}
        copy = object.__new__(type(batch))
        for name, value in {**getattr(batch, "__dict__", {}), **changed}.items():
            object.__setattr__(copy, name, value)
        return copy
    return batch


def to_device(batch: Any, device: torch.device) -> Any:
    """Return the batch with its tensors on a device."""
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def in_precision(batch: Any, dtype: torch.dtype) -> Any:
    """Return the batch with its floating-point tensors in another precision."""
    return mapped(batch, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)


def _inner(batch: Any) -> Iterator[Any]:
    if isinstance(batch, Mapping):
        yield from batch.values()
    elif isinstance(batch, list | tuple):
        yield from batch
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        yield from (getattr(batch, each.name) for each in dataclasses.fields(batch))
