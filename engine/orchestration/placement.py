"""Where a worker trains, and what it may take of the memory there."""

import math
from dataclasses import dataclass

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import Device, memory_of

FLOAT_BYTES, LABEL_BYTES = 4, 8
UNBOUNDED = 1 << 60


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a worker trains: its device, how many workers share that, and its threads.

    On a node of a cluster `free_bytes` is what it may take of the memory there, `name` tells the
    place from others with such a device, and of a card it is only known that it is one (`on_gpu`).
    `team` are the devices of those who train its trials together, this worker's first; empty
    where none does.
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
        """Whether it trains on a GPU."""
        return self.on_gpu or self.device.handle is not None

    @property
    def key(self) -> str:
        """What the failures of its device are counted under."""
        return self.name or self.device.name


def worker_share(total: int, place: Placement, data: Prepared) -> int:
    """Live tensor bytes that a worker may hold of a device's `total`, data included.

    On a CPU the workers share one copy of the data; a GPU's have one each.
    """
    if place.has_gpu:
        return total // place.workers
    held = data_bytes(data)
    return min(total, max(0, total - held) // place.workers + held)


def data_bytes(data: Prepared) -> int:
    """Bytes of the images and labels of a data set as tensors."""
    images = data.train + data.test
    part = min(data.train, data.test)
    return images * (math.prod(data.shape) * FLOAT_BYTES + LABEL_BYTES) + part * LABEL_BYTES


def free_share(place: Placement, data: Prepared) -> int | None:
    """What is free of a CPU's memory for one worker; a GPU is asked by its worker (None)."""
    if place.has_gpu:
        return None
    if place.free_bytes is not None:
        return place.free_bytes
    available = memory_of(place.device).available
    return worker_share(UNBOUNDED if available is None else available, place, data)
