"""Packs a batch into bytes and unpacks it, with the bits and strides of every tensor.

A tensor that fills its memory travels as one block. It is copied once when it is unpacked, since
torch aligns its own memory, and some products depend on that in their last bits. torch's pickling,
several times slower, takes all others.
"""

import io
import pickle
from typing import Any

import torch
from torch import Tensor


def packed(content: Any) -> bytes:
    """Return an object as bytes; one with tensors may be a batch of any structure.

    Raises:
        Exception: something in it cannot be pickled, such as an object of a local class.
    """
    buffer = io.BytesIO()
    _Packer(buffer, protocol=5).dump(content)
    return buffer.getvalue()


def unpacked(content: bytes) -> Any:
    """Return the object that `packed` was given; only for bytes from a process of our own."""
    return pickle.loads(content)


class _Packer(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is not Tensor or obj.layout != torch.strided or obj.device.type != "cpu":
            return NotImplemented
        if obj.requires_grad or obj.is_conj() or obj.is_neg() or not _is_dense(obj):
            return NotImplemented
        if not obj.numel():
            return _empty, (obj.dtype, tuple(obj.shape), obj.stride())
        block = torch.as_strided(obj, (obj.numel(),), (1,)).view(torch.uint8).numpy()
        data = pickle.PickleBuffer(memoryview(block))  # type: ignore[arg-type]
        return _tensor, (data, obj.dtype, tuple(obj.shape), obj.stride())


def _tensor(
    data: bytearray, dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    return torch.frombuffer(data, dtype=dtype).clone().as_strided(shape, stride)


def _empty(dtype: torch.dtype, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return torch.empty_strided(shape, stride, dtype=dtype)


def _is_dense(tensor: Tensor) -> bool:
    """Return whether the elements fill a block of memory, each once, in whatever order."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True
