"""Memory and state of the devices over time, stated only where they changed enough."""

import time
from collections.abc import Collection, Mapping, Sequence

from batchscope.engine.devices.devices import Device, Reading, memory_of
from batchscope.engine.journal.events import MemorySampled

CHANGE = 0.01  # of the device's memory
RESTLESS_SECONDS = 10.0
NOTABLE = {"utilization": 10.0, "temperature": 2.0, "power": 20.0}
"""Percent, degrees and watts by which these must move to be worth a line of the journal."""


class MemoryWatch:
    """Samples devices; `changed` is called every few seconds.

    `limit` is the most bytes of a device that the sweep was told to take.
    """

    def __init__(self, devices: Sequence[Device], limit: int | None = None) -> None:
        self._devices, self._limit = devices, limit
        self._said: dict[str, MemorySampled] = {}
        self._said_at: dict[str, float] = {}

    def changed(self, pids: Collection[int], reserved: Mapping[str, int]) -> list[MemorySampled]:
        """Samples whose memory moved by over a hundredth of the device since the last stated.

        Utilization, temperature and power never rest: they alone bring a sample at most every
        `RESTLESS_SECONDS`. This sweep's share is what the processes `pids` hold: resident
        memory on a CPU, the driver's word on a GPU and, where it has none, what their
        allocators said they hold (`reserved`, by device).
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
