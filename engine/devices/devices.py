"""The machine as its driver, its system and its container see it, without torch.

psutil is loaded when it is asked something: a screen that asks nothing starts without it.
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
    """A place to train: `name` as torch calls it, `handle` the UUID of a GPU (None on a CPU)."""

    name: str
    title: str
    handle: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A device right now; None is not known. Memory in bytes.

    `total` is what its programs may share, at most a container's `limit`; `used` is by anyone,
    and `available` what is left to take. `ours` is what the processes hold that were asked
    about. `utilization` is the percentage of the time that it was busy, `temperature` in
    degrees Celsius, `power` in watts. `sources` says by field where a figure comes from.
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
    """Whole CPU cores that this process may use: its own, and its container's share of time."""
    able = hasattr(os, "sched_getaffinity")
    own = len(os.sched_getaffinity(0)) if able else os.cpu_count() or 1
    quota = cpu_quota(root)
    return own if quota is None else max(1, min(own, int(quota)))


def choose_devices(asked: str) -> list[Device]:
    """The devices of `--device`: `auto` takes every visible GPU, or the CPU where there is none.

    Raises:
        UsageProblem: the words name no kind of device.
        MachineProblem: a GPU that was named is not there.
    """
    gpus = visible_gpus()
    if asked == "auto":
        return gpus or [_cpu()]
    if asked == "cpu":
        return [_cpu()]
    by_name = {gpu.name: gpu for gpu in gpus}
    chosen = []
    for word in asked.split(","):
        name = "cuda:0" if word.strip() == "cuda" else word.strip()
        if not name.startswith("cuda:") or not name[5:].isdigit():
            known = ["auto", "cpu", *by_name]
            raise UsageProblem(f"--device {printable(asked)}: unknown{nearest(name, known)}")
        if name not in by_name:
            there = ", ".join(by_name) or f"no GPU that NVML can see{_why_none()}"
            raise MachineProblem(f"--device {name}: not on this machine; there is {there}")
        if by_name[name] not in chosen:
            chosen.append(by_name[name])
    return chosen


def visible_gpus() -> list[Device]:
    """GPUs in torch's order, as `CUDA_VISIBLE_DEVICES` leaves them; empty without a driver."""
    return [
        Device(f"cuda:{index}", card.title, card.uuid) for index, card in enumerate(nvml.cards())
    ]


def driver() -> str:
    """One sentence about NVIDIA's driver: its version, that there is none, or why it is silent."""
    return nvml.driver().sentence


def memory_of(device: Device, pids: Collection[int] = (), root: Path = Path("/")) -> Reading:
    """A device's memory and state, and what the processes `pids` hold of it.

    `root` is where `proc` and `sys` lie, for a container's limits on the CPU's memory.
    """
    return _of_card(device.handle, pids) if device.handle else _of_cpu(pids, root)


def lost_among(devices: Collection[Device]) -> list[Device]:
    """The GPUs that have fallen off the bus, by their driver's word."""
    return [d for d in dict.fromkeys(devices) if d.handle and nvml.is_lost(d.handle)]


def with_children(pids: Collection[int]) -> list[int]:
    """The processes and those that they started: the other workers of a trial are a worker's."""
    import psutil

    family = list(pids)
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            family += [child.pid for child in psutil.Process(pid).children()]
    return family


def resident_bytes(pids: Collection[int]) -> int:
    """Resident memory of processes; a page that several share is split between them (PSS)."""
    import psutil

    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            memory = psutil.Process(pid).memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total


def machine() -> dict[str, Any]:
    """What the journal and the manifest say of the hardware and its driver."""
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
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _why_none() -> str:
    """What is wrong with a driver that is there."""
    driver = nvml.driver()
    return "" if driver.answers or driver.sentence == nvml.NO_DRIVER else f": {driver.sentence}"


def _cpu() -> Device:
    return Device("cpu", processor())


def _of_cpu(pids: Collection[int], root: Path) -> Reading:
    """What the machine has, or what its tightest container leaves of it."""
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
    """What each limit leaves, by its source; a wider group may be fuller than a narrow one."""
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
