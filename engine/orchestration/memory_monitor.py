"""Samples memory, load, temperature and power of the devices, and reports notable changes."""

import time
from collections.abc import Collection, Mapping, Sequence

from batchscope.engine.devices.devices import Device, Reading, memory_of
from batchscope.engine.journal.events import MemorySampled

CHANGE = 0.01  # fraction of the device's memory
RESTLESS_SECONDS = 10.0
NOTABLE = {"utilization": 10.0, "temperature": 2.0, "power": 20.0}
"""Smallest changes, in percent, degrees and watts, that are recorded in the journal."""


class MemoryWatch:
    """Samples devices each time that `changed` is called.

    Args:
        devices: the devices to sample.
        limit: the memory limit of the sweep for each device, in bytes.
    """

    def __init__(self, devices: Sequence[Device], limit: int | None = None) -> None:
        self._devices, self._limit = devices, limit
        self._said: dict[str, MemorySampled] = {}
        self._said_at: dict[str, float] = {}

    def changed(self, pids: Collection[int], reserved: Mapping[str, int]) -> list[MemorySampled]:
        """Return a sample of each device that changed since its last returned sample.

        A change of memory by more than a hundredth of the device counts at once. Utilization,
        temperature and power change all the time, so they count at most once in
        `RESTLESS_SECONDS`.

        Args:
            pids: the processes of this sweep. Their memory is the sweep's share: resident memory
                on a CPU, the driver's figure on a GPU.
            reserved: by device, the bytes that the workers' allocators reported; used where the
                driver gives no figure.
        """
        fresh = []
        for device in self._devices:
            reading = memory_of(device, pids)
            sample = self._sample(device, reading, reserved.get(device.name, 0))
            if self._is_news(sample):
                self._said[device.name] = sample
                self._said_at[device.name] = time.monotonic()
                fresh.append(sample)
        return fresh

    def _sample(self, device: Device, reading: Reading, reserved: int) -> MemorySampled:
        ours = reserved if reading.ours is None else reading.ours
        limits = [limit for limit in (self._limit, reading.limit) if limit is not None]
        return MemorySampled(
            device=device.name,
            name=device.title,
            total=reading.total or 0,
            ours=ours,
            others=max(0, (reading.used or 0) - ours),
            limit=min(limits, default=None),
            utilization=reading.utilization,
            temperature=reading.temperature,
            power=reading.power,
        )

    def _is_news(self, sample: MemorySampled) -> bool:
        before = self._said.get(sample.device)
        if before is None or _memory_moved(sample, before):
            return True
        rested = time.monotonic() - self._said_at[sample.device] >= RESTLESS_SECONDS
        return rested and any(_moved(sample, before, name) for name in NOTABLE)


def _memory_moved(sample: MemorySampled, before: MemorySampled) -> bool:
    if (sample.total, sample.limit) != (before.total, before.limit):
        return True
    change = max(abs(sample.ours - before.ours), abs(sample.others - before.others))
    return change > CHANGE * sample.total


def _moved(sample: MemorySampled, before: MemorySampled, name: str) -> bool:
    now, then = getattr(sample, name), getattr(before, name)
    if now is None or then is None:
        return now is not then
    return bool(abs(now - then) >= NOTABLE[name])
