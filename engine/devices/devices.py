"""Reads this machine's devices and their memory, without torch.

psutil is imported only when it is needed, so that the screen starts faster.
"""

import contextlib
import os
import platform
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from batchscope.engine.devices import nvml
from batchscope.engine.devices.cgroup import Limit, cpu_quota, memory_limits
from batchscope.engine.errors import MachineProblem, UsageProblem, nearest, printable


@dataclass(frozen=True, slots=True)
class Device:
    """A device to train on: `name` is torch's, `handle` the UUID of a GPU (None for the CPU)."""

    name: str
    title: str
    handle: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The present state of a device; None is unknown, memory is in bytes.

    Attributes:
        total: memory that all programs share, at most a container's `limit`.
        used: memory used by all programs.
        available: memory that can still be allocated.
        ours: memory of the given processes.
        limit: a container's limit.
        processes: processes that compute on the GPU.
        utilization: percentage of the time in which it was busy.
        temperature: degrees Celsius.
        power: watts.
        sources: for each field, where its value comes from.
    """

    total: int | None = None
    used: int | None = None
    available: int | None = None
    ours: int | None = None
    limit: int | None = None
    processes: tuple[nvml.Process, ...] | None = None
    utilization: int | None = None
    temperature: int | None = None
    power: float | None = None
    sources: dict[str, str] = field(default_factory=dict)


def cores(root: Path = Path("/")) -> int:
    """Return how many CPU cores this process may use, by its affinity and its container's quota."""
    able = hasattr(os, "sched_getaffinity")
    own = len(os.sched_getaffinity(0)) if able else os.cpu_count() or 1
    quota = cpu_quota(root)
    return own if quota is None else max(1, min(own, int(quota)))


def choose_devices(wanted: str) -> list[Device]:
    """Return the devices that `--device` names: `auto` is every visible GPU, or else the CPU.

    Raises:
        UsageProblem: it is not the name of a device.
        MachineProblem: this machine has no such GPU.
    """
    gpus = visible_gpus()
    if wanted == "auto":
        return gpus or [_cpu()]
    if wanted == "cpu":
        return [_cpu()]
    by_name = {gpu.name: gpu for gpu in gpus}
    chosen = []
    for word in wanted.split(","):
        name = "cuda:0" if word.strip() == "cuda" else word.strip()
        if not name.startswith("cuda:") or not name[5:].isdigit():
            known = ["auto", "cpu", *by_name]
            raise UsageProblem(
                f"--device {printable(wanted)}: unknown device{nearest(name, known)}"
            )
        if name not in by_name:
            there = (
                f"the GPUs are {', '.join(by_name)}"
                if by_name
                else f"NVML sees no GPU{_why_none()}"
            )
            raise MachineProblem(f"--device {name}: not on this machine; {there}")
        if by_name[name] not in chosen:
            chosen.append(by_name[name])
    return chosen


def visible_gpus() -> list[Device]:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` allows, in torch's order."""
    return [
        Device(f"cuda:{index}", card.title, card.uuid) for index, card in enumerate(nvml.cards())
    ]


def driver() -> str:
    """Return a sentence about NVIDIA's driver: its version, or why it cannot be used."""
    return nvml.driver().sentence


def memory_of(device: Device, pids: Collection[int] = (), root: Path = Path("/")) -> Reading:
    """Read a device's memory and state.

    Args:
        device: the device.
        pids: processes; the sum of their memory is `ours`.
        root: the folder with `proc` and `sys`, for a container's memory limits.
    """
    return _of_card(device.handle, pids) if device.handle else _of_cpu(pids, root)


def lost_among(devices: Collection[Device]) -> list[Device]:
    """Return the GPUs that have fallen off the bus, according to the driver."""
    return [d for d in dict.fromkeys(devices) if d.handle and nvml.is_lost(d.handle)]


def with_children(pids: Collection[int]) -> list[int]:
    """Return processes and their children: a worker starts the other workers of its trial."""
    import psutil

    family = list(pids)
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            family += [child.pid for child in psutil.Process(pid).children()]
    return family


def resident_bytes(pids: Collection[int]) -> int:
    """Return the resident memory of processes; shared pages are divided among them (PSS)."""
    import psutil

    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            memory = psutil.Process(pid).memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total


def machine() -> dict[str, Any]:
    """Return the facts about hardware and driver for the journal and the manifest."""
    import psutil

    reading = memory_of(_cpu())
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": reading.limit,
        "driver": driver(),
        "gpus": [gpu.title for gpu in visible_gpus()],
    }


@cache
def processor() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _why_none() -> str:
    """Return why an installed driver cannot be used; empty if it can, or without a driver."""
    driver = nvml.driver()
    return "" if driver.answers or driver.sentence == nvml.NO_DRIVER else f": {driver.sentence}"


def _cpu() -> Device:
    return Device("cpu", processor())


def _of_cpu(pids: Collection[int], root: Path) -> Reading:
    """Read the machine's memory, or what its smallest container limit allows."""
    import psutil

    memory = psutil.virtual_memory()
    limits = [limit for limit in memory_limits(root) if limit.total < memory.total]
    smallest = limits[0] if limits else None
    total = smallest.total if smallest else memory.total
    left = {"psutil, available": memory.available, **_left(limits)}
    tightest = min(left, key=lambda source: left[source])
    available = min(total, left[tightest])
    sources = {
        "total": smallest.source if smallest else "psutil, total",
        "available": tightest,
        "used": "total less available",
    }
    if smallest:
        sources["limit"] = smallest.source
    if pids:
        sources["ours"] = "psutil, proportional set size"
    return Reading(
        total=total,
        used=total - available,
        available=available,
        ours=resident_bytes(pids) if pids else None,
        limit=smallest.total if smallest else None,
        sources=sources,
    )


def _left(limits: list[Limit]) -> dict[str, int]:
    """Return the bytes that each limit still allows, by source; an outer group may allow less."""
    return {limit.source: left for limit in limits if (left := limit.available) is not None}


def _of_card(uuid: str, pids: Collection[int]) -> Reading:
    card = nvml.read(uuid)
    ours = card.held_by(pids)
    reading = Reading(
        total=card.total,
        used=card.used,
        available=card.free,
        ours=ours,
        processes=card.processes,
        utilization=card.utilization,
        temperature=card.temperature,
        power=card.power,
    )
    for name in ("total", "used", "available", "utilization", "temperature", "power"):
        if getattr(reading, name) is not None:
            reading.sources[name] = "NVML, whole device"
    if ours is not None:
        reading.sources["ours"] = "NVML, by process"
    return reading
