"""Determines where a worker trains, and how much memory it may use there."""

import math
from dataclasses import dataclass

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import Device, memory_of

FLOAT_BYTES, LABEL_BYTES = 4, 8
UNBOUNDED = 1 << 60


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a worker trains.

    Attributes:
        device: the worker's device.
        workers: how many workers share the device.
        threads: the CPU threads of the worker.
        free_bytes: on a node of a cluster, the memory that the worker may use.
        name: on a cluster, the name of the place; other places may have an equal device.
        on_gpu: on a cluster, whether the device is a GPU.
        team: the devices of the workers that train its trials together, its own first; empty if
            it trains alone.
    """

    device: Device
    workers: int
    threads: int
    free_bytes: int | None = None
    name: str = ""
    on_gpu: bool = False
    team: tuple[Device, ...] = ()

    @property
    def has_gpu(self) -> bool:
        """Whether the worker trains on a GPU."""
        return self.on_gpu or self.device.handle is not None

    @property
    def key(self) -> str:
        """The name under which failures of its device are counted."""
        return self.name or self.device.name


def worker_share(total: int, place: Placement, data: Prepared) -> int:
    """Return the limit in bytes on a worker's live tensors, including the data set.

    On a CPU the workers share one copy of the data; on a GPU each has its own.

    Args:
        total: the bytes available on the device for all its workers.
        place: where the worker trains.
        data: the data set.
    """
    if place.has_gpu:
        return total // place.workers
    held = data_bytes(data)
    return min(total, max(0, total - held) // place.workers + held)


def data_bytes(data: Prepared) -> int:
    """Return the size of a data set's images and labels as tensors, in bytes."""
    images = data.train + data.test
    part = min(data.train, data.test)
    return images * (math.prod(data.shape) * FLOAT_BYTES + LABEL_BYTES) + part * LABEL_BYTES


def free_share(place: Placement, data: Prepared) -> int | None:
    """Return the free bytes of a CPU's memory for one worker.

    Return None for a GPU: its worker asks the driver itself.
    """
    if place.has_gpu:
        return None
    if place.free_bytes is not None:
        return place.free_bytes
    available = memory_of(place.device).available
    return worker_share(UNBOUNDED if available is None else available, place, data)
