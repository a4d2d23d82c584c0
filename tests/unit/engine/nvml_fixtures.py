"""A stand-in for the module pynvml: its names, its types and its own errors, without a card."""

import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from batchscope.engine.devices import nvml

GIB = 1 << 30
UUIDS = tuple(f"GPU-{digit * 8}-0000-0000-0000-000000000000" for digit in "123")
SLICE = "MIG-aaaaaaaa-0000-0000-0000-000000000000"


def error(code: int) -> Exception:
    """What pynvml raises for a return code: an instance of that code's own class."""
    made: Exception = pynvml.NVMLError(code)
    return made


@dataclass(eq=False)
class FakeCard:
    """A card; `faults` are the return codes of the functions that fail on it, by name."""

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    used: int = 2 * GIB
    processes: dict[int, int | None] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)


class FakeNvml:
    """The module, as far as the program uses it. Handles end with the start that gave them."""

    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(self, *cards: FakeCard) -> None:
        self.cards = list(cards)
        self.slices = [FakeCard(SLICE, "NVIDIA H100 80GB HBM3 MIG 1g.10gb")]
        self.faults: dict[str, int] = {}
        self.starts = 0
        self.running = False

    def nvmlInit(self) -> None:
        self._check("nvmlInit")
        self.starts, self.running = self.starts + 1, True

    def nvmlShutdown(self) -> None:
        if not self.running:
            raise error(pynvml.NVML_ERROR_UNINITIALIZED)
        self.running = False

    def nvmlSystemGetDriverVersion(self) -> str:
        self._check("nvmlSystemGetDriverVersion")
        return "550.54.14"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        self._check("nvmlSystemGetCudaDriverVersion_v2")
        return 12040

    def nvmlDeviceGetCount(self) -> int:
        self._check("nvmlDeviceGetCount")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return self._opened("nvmlDeviceGetHandleByIndex", self.cards[index])

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        found = [card for card in self.cards + self.slices if card.uuid == uuid]
        if not found:
            raise error(pynvml.NVML_ERROR_NOT_FOUND)
        return self._opened("nvmlDeviceGetHandleByUUID", found[0])

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return self._card("nvmlDeviceGetUUID", handle).uuid

    def nvmlDeviceGetName(self, handle: Any) -> str:
        return self._card("nvmlDeviceGetName", handle).name

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        used = self._card("nvmlDeviceGetMemoryInfo", handle).used
        memory = pynvml.c_nvmlMemory_t()
        memory.total, memory.used, memory.free = 80 * GIB, used, 80 * GIB - used
        return memory

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        self._card("nvmlDeviceGetUtilizationRates", handle)
        rates = pynvml.c_nvmlUtilization_t()
        rates.gpu, rates.memory = 37, 5
        return rates

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        self._card("nvmlDeviceGetTemperature", handle)
        return 41

    def nvmlDeviceGetTemperatureV(self, handle: Any, sensor: int) -> int:
        self._card("nvmlDeviceGetTemperatureV", handle)
        return 42

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        self._card("nvmlDeviceGetPowerUsage", handle)
        return 86_500

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:
        card = self._card("nvmlDeviceGetComputeRunningProcesses", handle)
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in card.processes.items()
        ]

    def _check(self, name: str) -> None:
        if name != "nvmlInit" and not self.running:
            raise error(pynvml.NVML_ERROR_UNINITIALIZED)
        if name in self.faults:
            raise error(self.faults[name])

    def _opened(self, name: str, card: FakeCard) -> Any:
        self._check(name)
        if name in card.faults:
            raise error(card.faults[name])
        return SimpleNamespace(card=card, start=self.starts)

    def _card(self, name: str, handle: Any) -> FakeCard:
        self._check(name)
        if handle.start != self.starts:
            raise error(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        card: FakeCard = handle.card
        if name in card.faults:
            raise error(card.faults[name])
        return card


def install(monkeypatch: pytest.MonkeyPatch, *cards: FakeCard) -> FakeNvml:
    """Put a fake driver with these cards in the place of the real one, never asked before."""
    fake = FakeNvml(*cards)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(nvml, "_library", nvml._Library())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake
