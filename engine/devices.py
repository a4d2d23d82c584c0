"""The machine as NVML and psutil see it, without torch."""

import contextlib
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from engine.problems import MachineProblem, UsageProblem, nearest, printable


@dataclass(frozen=True, slots=True)
class Device:
    """A place to train: `name` as torch calls it, `handle` as NVML does (None on a CPU)."""

    name: str
    title: str
    handle: Any = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a device's memory: all of it, and what is in use by anyone."""

    total: int
    used: int


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_devices(asked: str) -> list[Device]:
    """The devices of `--device`: `auto` takes every visible GPU, or the CPU where there is none.

    Raises:
        UsageProblem: the words name no kind of device.
        MachineProblem: a GPU that was named is not there.
    """
    gpus = _gpus()
    if asked == "auto":
        return gpus or [_cpu()]
    if asked == "cpu":
        return [_cpu()]
    found = {gpu.name: gpu for gpu in gpus}
    chosen = []
    for word in asked.split(","):
        name = "cuda:0" if word.strip() == "cuda" else word.strip()
        if not name.startswith("cuda:") or not name[5:].isdigit():
            known = ["auto", "cpu", *found]
            raise UsageProblem(f"--device {printable(asked)}: unknown{nearest(name, known)}")
        if name not in found:
            there = ", ".join(found) if found else "no GPU that NVML can see"
            raise MachineProblem(f"--device {name}: not on this machine; there is {there}")
        if found[name] not in chosen:
            chosen.append(found[name])
    return chosen


def usage(device: Device) -> Usage:
    """Memory of a device right now; zeros where the driver does not answer."""
    if device.handle is None:
        memory = psutil.virtual_memory()
        return Usage(memory.total, memory.total - memory.available)
    try:
        import pynvml

        info = pynvml.nvmlDeviceGetMemoryInfo(device.handle)
        return Usage(int(info.total), int(info.used))
    except Exception:  # a GPU that fell off the bus is a fact to show, not to die of
        return Usage(0, 0)


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory of processes; a page that several share is split between them (PSS)."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            memory = psutil.Process(pid).memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total


def machine() -> dict[str, Any]:
    """What the manifest says of the hardware."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [gpu.title for gpu in _gpus()],
    }


def _cpu() -> Device:
    return Device("cpu", _processor())


@cache
def _gpus() -> list[Device]:
    """GPUs in torch's order, as `CUDA_VISIBLE_DEVICES` leaves them; empty without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        by_id = {str(pynvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}
        visible = _visible(os.environ.get("CUDA_VISIBLE_DEVICES"), handles, by_id)
        return [
            Device(f"cuda:{index}", str(pynvml.nvmlDeviceGetName(handle)), handle)
            for index, handle in enumerate(visible)
        ]
    except Exception:  # no driver, or a broken one: then there is no GPU to train on
        return []


def _visible(variable: str | None, handles: list[Any], by_id: dict[str, Any]) -> list[Any]:
    """CUDA's rule: indices or UUID prefixes, up to the first that names no GPU."""
    if variable is None:
        return handles
    chosen: list[Any] = []
    for word in (part.strip() for part in variable.split(",")):
        matches = [handle for uuid, handle in by_id.items() if word and uuid.startswith(word)]
        if word.isdigit() and int(word) < len(handles):
            chosen.append(handles[int(word)])
        elif len(matches) == 1:
            chosen.append(matches[0])
        else:
            break
    return chosen


@cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
