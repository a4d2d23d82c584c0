"""Memory of the devices over time, stated only where it changed enough to be worth a line."""

from collections.abc import Iterable, Mapping, Sequence

from engine.devices import Device, resident_bytes, usage
from engine.events import MemorySampled

CHANGE = 0.01  # of the device's memory


class MemoryWatch:
    """Samples devices; `changed` is called every few seconds."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._said: dict[str, MemorySampled] = {}

    def changed(self, pids: Iterable[int], reserved: Mapping[str, int]) -> list[MemorySampled]:
        """Samples that differ by more than a hundredth of their device from the last stated.

        A CPU's share of this sweep is the resident memory of the processes `pids`, a GPU's
        what their allocators said they hold (`reserved`, by device).
        """
        fresh = []
        for device in self._devices:
            now = usage(device)
            ours = reserved.get(device.name, 0) if device.handle else resident_bytes(pids)
            sample = MemorySampled(
                device=device.name,
                name=device.title,
                total=now.total,
                ours=ours,
                others=max(0, now.used - ours),
            )
            if _differs(sample, self._said.get(device.name)):
                self._said[device.name] = sample
                fresh.append(sample)
        return fresh


def _differs(sample: MemorySampled, before: MemorySampled | None) -> bool:
    if before is None:
        return True
    change = max(abs(sample.ours - before.ours), abs(sample.others - before.others))
    return change > CHANGE * sample.total
