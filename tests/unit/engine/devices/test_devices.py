"""Devices by name, and the machine's memory."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from batchscope.engine.devices.devices import (
    Device,
    Reading,
    choose_devices,
    cores,
    driver,
    machine,
    memory_of,
    resident_bytes,
)
from batchscope.engine.errors import MachineProblem, UsageProblem
from batchscope.engine.journal.events import MemorySampled
from batchscope.engine.orchestration.memory_monitor import RESTLESS_SECONDS, MemoryWatch
from tests.unit.engine.nvml_fixtures import GIB, UUIDS, FakeCard, install

CPU = choose_devices("cpu")[0]


def test_the_cpu_by_name() -> None:
    (cpu,) = choose_devices("cpu")
    assert cpu.name == "cpu"
    assert cpu.handle is None
    assert cpu.title


def test_auto_takes_every_gpu_or_else_the_cpu() -> None:
    names = [device.name for device in choose_devices("auto")]
    assert names == [f"cuda:{index}" for index in range(len(names))] or names == ["cpu"]


@pytest.mark.parametrize("asked", ["cuda:999", "cuda:999,cuda:998", "cuda:00"])
def test_a_missing_gpu(asked: str) -> None:
    with pytest.raises(MachineProblem) as caught:
        choose_devices(asked)
    assert str(caught.value).startswith(f"--device {asked.split(',')[0]}: not on this machine")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("tpu", "did you mean 'cpu'?"),
        ("gpu", "did you mean 'cpu'?"),
        ("atuo", "did you mean 'auto'?"),
        ("", "known: auto, cpu"),
        ("cuda:", "known: auto, cpu"),
        ("cuda:x", "known: auto, cpu"),
        ("cuda:-1", "known: auto, cpu"),
        ("cuda:0x1", "known: auto, cpu"),
        ("mps", "known: auto, cpu"),
        ("\x1b[2J", "known: auto, cpu"),
    ],
)
def test_invalid_device_names(asked: str, hint: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        choose_devices(asked)
    message = str(caught.value)
    assert message.startswith("--device ")
    assert hint in message or "cuda:0" in message
    assert message.isprintable()


def test_only_usable_cores_are_counted() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from batchscope.engine.devices.devices import cores; print(cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert cores() == len(os.sched_getaffinity(0))


def test_the_machine_in_the_manifest() -> None:
    found = machine()
    assert set(found) == {
        *("system", "processor", "cores", "memory_bytes", "memory_limit_bytes", "driver", "gpus")
    }
    total = next(li for li in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in li)
    assert found["memory_bytes"] == int(total.split()[1]) * 1024
    assert found["cores"] == cores()
    assert found["processor"] == CPU.title
    assert found["driver"] == driver()
    assert json.loads(json.dumps(found)) == found


def test_a_broken_driver_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeCard(UUIDS[0])).faults["nvmlInit"] = 18
    sentence = "the NVIDIA driver does not answer: RM has detected an NVML/RM version mismatch"
    assert machine()["driver"] == sentence
    assert machine()["gpus"] == []
    assert choose_devices("auto")[0].name == "cpu"
    with pytest.raises(MachineProblem) as caught:
        choose_devices("cuda:0")
    assert str(caught.value).endswith(f"NVML sees no GPU: {sentence}")


def test_gpus_are_numbered_as_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, *map(FakeCard, UUIDS))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    first, second = choose_devices("auto")
    assert (first.name, first.handle) == ("cuda:0", UUIDS[2])
    assert (second.name, second.handle) == ("cuda:1", UUIDS[0])
    assert choose_devices("cuda:1, cuda:0,cuda:1") == [second, first]
    assert choose_devices("cuda") == [first]
    with pytest.raises(MachineProblem, match=r"cuda:2: not on this machine; .*cuda:0, cuda"):
        choose_devices("cuda:2")


def test_memory_of_the_cpu() -> None:
    found = memory_of(CPU)
    assert found.total == min(machine()["memory_bytes"], found.limit or 1 << 60)
    assert found.total is not None
    assert found.used is not None
    assert found.available is not None
    assert 0 < found.used < found.total
    assert found.used + found.available == found.total
    assert found.ours is None
    assert memory_of(CPU, [os.getpid()]).ours == pytest.approx(resident(), rel=0.2)
    assert set(found.sources) == {"total", "used", "available", *(["limit"] * bool(found.limit))}


def test_memory_of_a_gpu_names_the_source_of_each_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = FakeCard(UUIDS[0], processes={os.getpid(): GIB}, faults={"nvmlDeviceGetPowerUsage": 3})
    install(monkeypatch, card)
    (gpu,) = choose_devices("cuda:0")
    found = memory_of(gpu, [os.getpid()])
    assert (found.total, found.used, found.available) == (80 * GIB, 2 * GIB, 78 * GIB)
    assert (found.ours, found.limit, found.power) == (GIB, None, None)
    assert found.sources.pop("ours") == "NVML, by process"
    assert set(found.sources.values()) == {"NVML, whole device"}
    assert set(found.sources) == {"total", "used", "available", "utilization", "temperature"}


def test_a_gpu_without_an_answering_driver_has_no_values() -> None:
    assert memory_of(Device("cuda:0", "gone", handle="GPU-gone")) == Reading()


def resident() -> int:
    """This process's share of what is resident: other tests of the suite map the same files."""
    lines = Path(f"/proc/{os.getpid()}/smaps_rollup").read_text().splitlines()
    (kibibytes,) = [line.split()[1] for line in lines if line.startswith("Pss:")]
    return int(kibibytes) << 10


def test_resident_memory_ignores_ended_processes() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert resident_bytes([]) == 0
    assert resident_bytes([gone.pid]) == 0
    assert resident_bytes([os.getpid(), gone.pid]) == pytest.approx(resident(), rel=0.2)


# ---- over time


def test_memory_of_this_process_is_reported_first() -> None:
    (first,) = MemoryWatch([CPU]).changed([os.getpid()], {})
    assert isinstance(first, MemorySampled)
    assert (first.device, first.name, first.total) == ("cpu", CPU.title, memory_of(CPU).total)
    assert first.ours == pytest.approx(resident_bytes([os.getpid()]), rel=0.2)
    assert first.others >= 0
    assert (first.utilization, first.temperature, first.power) == (None, None, None)


def test_a_limit_is_reported_with_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = MemoryWatch([CPU], GIB).changed([], {})
    assert sample.limit == min(GIB, memory_of(CPU).limit or GIB)
    small = Reading(total=GIB, used=9, available=GIB - 9, limit=GIB // 2)
    monkeypatch.setattr(
        "batchscope.engine.orchestration.memory_monitor.memory_of", lambda device, pids: small
    )
    assert MemoryWatch([CPU], GIB).changed([], {})[0].limit == GIB // 2
    assert MemoryWatch([CPU], 5).changed([], {})[0].limit == 5
    assert MemoryWatch([CPU]).changed([], {})[0].limit == GIB // 2


def test_memory_of_a_gpu_is_that_of_its_worker_and_reported_on_change() -> None:
    gone = [Device(f"cuda:{index}", "gone", handle="GPU-gone") for index in range(2)]
    watch = MemoryWatch(gone)
    assert [sample.ours for sample in watch.changed([os.getpid()], {})] == [0, 0]
    (sample,) = watch.changed([os.getpid()], {"cuda:1": 7})
    assert (sample.device, sample.ours, sample.others) == ("cuda:1", 7, 0)
    assert watch.changed([os.getpid()], {"cuda:1": 7}) == []


def test_the_drivers_values_take_precedence_over_allocators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counts what CUDA itself takes for them, which would look like another's memory."""
    card = FakeCard(UUIDS[0], used=3 * GIB, processes={os.getpid(): 2 * GIB})
    install(monkeypatch, card)
    watch = MemoryWatch(choose_devices("auto"))
    (sample,) = watch.changed([os.getpid()], {"cuda:0": GIB})
    assert (sample.total, sample.ours, sample.others) == (80 * GIB, 2 * GIB, GIB)
    assert (sample.utilization, sample.temperature, sample.power) == (37, 41, 86.5)
    card.processes = {1 << 30: 2 * GIB}
    (sample,) = watch.changed([os.getpid()], {"cuda:0": GIB})
    assert (sample.ours, sample.others) == (GIB, 2 * GIB)


def test_changing_values_are_reported_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(
        "batchscope.engine.orchestration.memory_monitor.time.monotonic", lambda: now
    )
    readings = [Reading(total=GIB, used=9, utilization=50, temperature=60, power=200.0)]
    monkeypatch.setattr(
        "batchscope.engine.orchestration.memory_monitor.memory_of",
        lambda device, pids: readings[-1],
    )
    watch = MemoryWatch([CPU])

    def stated(**figures: float | None) -> int:
        readings.append(replace(readings[-1], **figures))  # type: ignore[arg-type]
        return len(watch.changed([], {}))

    assert stated() == 1
    assert stated(utilization=99) == 0, "too soon"
    now += RESTLESS_SECONDS
    assert stated(utilization=59, temperature=61, power=219.0) == 0, "too little"
    assert stated(utilization=60) == 1
    assert stated(used=GIB) == 1, "memory is stated at once"
    now += RESTLESS_SECONDS
    assert stated(power=None) == 1
    now += RESTLESS_SECONDS
    assert stated(temperature=63) == 1
    now += RESTLESS_SECONDS
    assert stated() == 0
