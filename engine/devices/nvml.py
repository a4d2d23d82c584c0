"""Reads the state of NVIDIA's GPUs from their driver; what the driver does not report is None.

The public functions do not raise: a missing or broken driver, or a lost GPU, is reported, not an
error. GPUs are identified by UUID, because the library's handles become invalid after a fork or
after the library is initialised again.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from batchscope.engine.errors import printable

RETRY_SECONDS = 30.0
NO_DRIVER = "no NVIDIA driver on this machine"
_SILENT = ("Uninitialized", "DriverNotLoaded", "LibRmVersionMismatch")
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU, or a MIG slice of one, that CUDA may use."""

    uuid: str
    title: str


@dataclass(frozen=True, slots=True)
class Process:
    """A process that computes on a GPU; `held` is its memory in bytes, or None if unknown."""

    pid: int
    held: int | None


@dataclass(frozen=True, slots=True)
class CardReading:
    """The present state of a GPU; None is unknown.

    Attributes:
        total: bytes of memory.
        used: bytes used by all programs and the driver.
        free: bytes free.
        processes: processes that compute on it; also None where the driver reports process ids of
            another machine, as in a container.
        utilization: percentage of the time in which it was busy.
        temperature: degrees Celsius.
        power: watts.
    """

    total: int | None = None
    used: int | None = None
    free: int | None = None
    processes: tuple[Process, ...] | None = None
    utilization: int | None = None
    temperature: int | None = None
    power: float | None = None

    def held_by(self, pids: Collection[int]) -> int | None:
        """Return the bytes that these processes use, including CUDA's own.

        None if the driver lists none of them: in a container they may use memory nevertheless.
        """
        ours = [process.held for process in self.processes or () if process.pid in pids]
        known = [held for held in ours if held is not None]
        return sum(known) if known and len(known) == len(ours) else None


@dataclass(frozen=True, slots=True)
class Driver:
    """Whether a driver answers, and one sentence about it."""

    answers: bool
    sentence: str


class _Library:
    """pynvml, initialised in this process, and again after it stopped answering."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process: int | None = None
        self._tried = 0.0
        self._stale = False
        self._failure: Exception | None = None
        self._handles: dict[str, Any] = {}

    def begin(self) -> Any:
        """Return the module pynvml, initialised.

        Raises:
            Exception: the library cannot be initialised.
        """
        import pynvml

        with self._lock:
            inherited = self._process not in (None, os.getpid())
            rested = time.monotonic() - self._tried >= RETRY_SECONDS
            if self._process is None or inherited or (rested and (self._stale or self._failure)):
                self._restart(pynvml)
            if self._failure:
                raise self._failure.with_traceback(None)
            return pynvml

    def _restart(self, pynvml: Any) -> None:
        if self._process is not None:  # another init alone would only increase a counter
            with contextlib.suppress(Exception):
                pynvml.nvmlShutdown()
        self._process, self._tried = os.getpid(), time.monotonic()
        self._stale, self._failure = False, None
        self._handles.clear()
        try:
            pynvml.nvmlInit()
        except Exception as error:
            self._failure = error

    def handle(self, uuid: str) -> Any:
        """Return the library's handle of a GPU.

        Raises:
            Exception: the GPU is lost, or the library does not answer.
        """
        pynvml = self.begin()
        with self._lock:
            if uuid not in self._handles:
                self._handles[uuid] = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            return self._handles[uuid]

    def failed(self, error: Exception) -> None:
        """Record an error after which the library has to be initialised again."""
        if type(error).__name__.removeprefix("NVMLError_") in _SILENT:
            self._stale = True


_library = _Library()


def driver() -> Driver:
    """Return whether the driver answers, with its version or the reason."""
    try:
        pynvml = _library.begin()
    except ImportError:
        return Driver(False, "GPUs cannot be detected: nvidia-ml-py is not installed")
    except Exception as error:
        missing = type(error).__name__ == "NVMLError_LibraryNotFound"
        if missing and not _KERNEL_MODULE.exists():
            return Driver(False, NO_DRIVER)
        return Driver(False, f"the NVIDIA driver does not answer: {_reason(error)}")
    version = _asked(pynvml.nvmlSystemGetDriverVersion)
    cuda = _asked(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    sentence = f"NVIDIA driver {_text(version)}" if version else "NVIDIA driver, version unknown"
    if isinstance(cuda, int) and cuda > 0:
        sentence += f", CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    count, lost = _all_cards(pynvml)[1:]
    if lost:
        sentence += f"; {len(lost)} of {count} GPUs {_do(len(lost))} not answer: {lost[0]}"
    return Driver(True, sentence)


def cards() -> list[Card]:
    """Return the GPUs that `CUDA_VISIBLE_DEVICES` allows, in CUDA's order; none without a driver.

    The order is that of the bus, which is CUDA's under `CUDA_DEVICE_ORDER=PCI_BUS_ID`. A GPU
    without a UUID is left out, as CUDA leaves out one that fell off the bus.
    """
    try:
        pynvml = _library.begin()
    except Exception:
        return []
    cards = _all_cards(pynvml)[0]
    words = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = visible(words, [card.uuid for card in cards])
    by_uuid = {card.uuid: card for card in cards}
    answering: list[Card] = []
    for uuid in chosen:
        card = by_uuid.get(uuid) or _slice(pynvml, uuid)
        if card is None:  # CUDA's list ends at the first name that is not a GPU
            break
        answering.append(card)
    return answering


def read(uuid: str) -> CardReading:
    """Read the state of a GPU; each field that cannot be read is None."""
    try:
        pynvml, handle = _library.begin(), _library.handle(uuid)
    except Exception as error:
        _library.failed(error)
        return CardReading()
    memory = _asked(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    rates = _asked(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    milliwatts = _asked(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    processes = _asked(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    return CardReading(
        total=None if memory is None else int(memory.total),
        used=None if memory is None else int(memory.used),
        free=None if memory is None else int(memory.free),
        processes=None if processes is None else _of_this_machine(processes),
        utilization=None if rates is None else int(rates.gpu),
        temperature=_temperature(pynvml, handle),
        power=None if milliwatts is None else milliwatts / 1000,
    )


def is_lost(uuid: str) -> bool:
    """Return whether the driver reports that a GPU has fallen off the bus."""
    try:
        _library.begin().nvmlDeviceGetMemoryInfo(_library.handle(uuid))
    except Exception as error:
        _library.failed(error)
        return type(error).__name__ == "NVMLError_GpuIsLost"
    return False


def visible(variable: str | None, uuids: Sequence[str]) -> list[str]:
    """Return the UUIDs that `CUDA_VISIBLE_DEVICES` allows, by CUDA's rules.

    The variable lists indices or beginnings of UUIDs. The list ends at the first entry that is not
    a GPU; if a GPU occurs twice, there is none at all. Names of MIG slices are returned unchanged.

    Args:
        variable: value of the variable; None allows all.
        uuids: UUIDs of all GPUs, in the driver's order.
    """
    if variable is None:
        return list(uuids)
    chosen: list[str] = []
    for word in (part.strip() for part in variable.split(",")):
        matches = [uuid for uuid in uuids if word.startswith("GPU-") and uuid.startswith(word)]
        if word.isascii() and word.isdigit() and len(word) < 10 and int(word) < len(uuids):
            matches = [uuids[int(word)]]
        elif word.startswith("MIG-"):
            matches = [word]
        if len(matches) != 1:
            break
        if matches[0] in chosen:
            return []
        chosen += matches
    return chosen


def _all_cards(pynvml: Any) -> tuple[list[Card], int, list[str]]:
    """Return the GPUs that answer, the number of all, and the errors of the others."""
    cards: list[Card] = []
    lost: list[str] = []
    count = _asked(pynvml.nvmlDeviceGetCount) or 0
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
        except Exception as error:
            _library.failed(error)
            lost.append(_reason(error))
            continue
        cards.append(Card(uuid, _title(pynvml, handle)))
    return cards, count, lost


def _slice(pynvml: Any, uuid: str) -> Card | None:
    """Return the MIG slice with that UUID, or None."""
    try:
        return Card(uuid, _title(pynvml, _library.handle(uuid)))
    except Exception:
        return None


def _title(pynvml: Any, handle: Any) -> str:
    return _text(_asked(lambda: pynvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU")


def _temperature(pynvml: Any, handle: Any) -> int | None:
    sensor = pynvml.NVML_TEMPERATURE_GPU
    degrees = _asked(lambda: pynvml.nvmlDeviceGetTemperature(handle, sensor))
    if degrees is None:  # the older call will be removed with CUDA 14
        degrees = _asked(lambda: pynvml.nvmlDeviceGetTemperatureV(handle, sensor))
    return degrees


def _of_this_machine(processes: Sequence[Any]) -> tuple[Process, ...] | None:
    """Return the processes, or None if their ids belong to another PID namespace.

    In a container the driver may report process ids of the host. If one id does not exist here,
    none of them can be trusted.
    """
    import psutil

    if not all(psutil.pid_exists(process.pid) for process in processes):
        return None
    return tuple(Process(process.pid, process.usedGpuMemory) for process in processes)


def _asked(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except Exception as error:
        _library.failed(error)
        return None


def _text(said: object) -> str:
    return printable(said.decode("utf-8", "replace") if isinstance(said, bytes) else said)


def _reason(error: Exception) -> str:
    """Return the library's text for an error, or its class name without one."""
    try:
        words = _text(error).strip().rstrip(".")
    except Exception:
        words = ""
    return words or type(error).__name__


def _do(count: int) -> str:
    return "does" if count == 1 else "do"
