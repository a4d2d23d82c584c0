"""Measures the peak of live tensor memory during real steps, and recognizes out-of-memory errors.

On a GPU torch's allocator counts the bytes. On a CPU torch does not, so every tensor that an
operator returns is watched until its storage is freed. That is exact for tensors, but does not see
scratch memory inside an operator. It costs some microseconds an operator, so only a few steps are
measured.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from batchscope.engine.errors import words_of

OUT_OF_MEMORY = (
    *("can't allocate memory", "not enough memory", "out of memory"),
    *("std::bad_alloc", "_STATUS_ALLOC_FAILED"),
    *("could not create a primitive", "could not execute a primitive"),  # all that oneDNN says
)
NO_EXCEPTION = ("without exception set", "without setting an exception")
"""What Python says if C code failed and did not tell why, as torch's bindings do when an allocation
fails under a limit of the process."""
ONE_NUMBER = 8
"""Storages of at most so many bytes are not counted. They are often cached constants, which the
first trial of a worker creates, so figures would depend on what the worker did before."""


def ran_out(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, SystemError):
        return any(word in words_of(error) for word in NO_EXCEPTION)
    return isinstance(error, RuntimeError) and any(
        word in words_of(error) for word in OUT_OF_MEMORY
    )


class Peak:
    """The peak of live tensor bytes; valid after the measured steps."""

    bytes = 0


@contextmanager
def measured(device: torch.device, existing: Iterable[Tensor]) -> Iterator[Peak]:
    """Measure the peak of live tensor bytes on a device while the body runs.

    Args:
        device: the device.
        existing: tensors that exist before; their bytes count too.
    """
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    watch = _Watch(existing)
    try:
        with watch:
            yield peak
    finally:
        watch.stop()
    peak.bytes = watch.peak


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that operators return, each once, until they are freed."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: True would make torch import its compiler, which is not needed here."""
        return False

    def __init__(self, existing: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._live = 0
        self._sizes: dict[int, int] = {}
        self._ends: dict[int, weakref.finalize[..., Any]] = {}
        for tensor in existing:
            self._take(tensor)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._take(value)
        return result

    def stop(self) -> None:
        """Stop watching storages that outlive the measured steps, such as the data."""
        for end in self._ends.values():
            end.detach()
        self._ends.clear()

    def _take(self, tensor: Tensor) -> None:
        """Count the storage of a tensor, and watch it."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if size <= ONE_NUMBER:
            return
        if key not in self._sizes:
            self._ends[key] = weakref.finalize(storage, self._drop, key)
            self._ends[key].atexit = False
        self._live += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self._live)

    def _drop(self, key: int) -> None:
        """Subtract the bytes of a storage that was freed."""
        self._live -= self._sizes.pop(key)
        del self._ends[key]
