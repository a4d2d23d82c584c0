"""Memory: the most bytes of live tensors at once while real steps run, and whether it ran out.

On a GPU torch's allocator counts them. On a CPU nobody does, so every tensor that an operator
returns is watched until its storage is freed: exact for tensors, blind to the scratch memory
inside an operator. It costs some microseconds an operator, so it is for a few steps only.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

OUT_OF_MEMORY = (
    *("can't allocate memory", "not enough memory", "out of memory"),
    *("std::bad_alloc", "_STATUS_ALLOC_FAILED"),
    *("could not create a primitive", "could not execute a primitive"),  # oneDNN says no more
)
ONE_NUMBER = 8
"""Bytes of what is not counted: who first needs a constant keeps it for all, so that the figures
of a trial would depend on what the worker did before."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in OUT_OF_MEMORY)


class Peak:
    """The most live tensor bytes so far; read it once the steps are over."""

    bytes = 0


@contextmanager
def measured(device: torch.device, known: Iterable[Tensor]) -> Iterator[Peak]:
    """Measure the peak of what is live on a device; `known` tensors were there before."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    watch = _Watch(known)
    try:
        with watch:
            yield peak
    finally:
        watch.stop()
    peak.bytes = watch.peak


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages of all tensors that operators return, each once, while they live."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To be kept from torch's compiler would import it, and nothing here is compiled."""
        return False

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._live = 0
        self._sizes: dict[int, int] = {}
        self._ends: dict[int, weakref.finalize[..., Any]] = {}
        for tensor in known:
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
        """Watch no longer what outlives the steps, such as the data."""
        for end in self._ends.values():
            end.detach()
        self._ends.clear()

    def _take(self, tensor: Tensor) -> None:
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
        self._live -= self._sizes.pop(key)
        del self._ends[key]
