"""GPUs as NVML reports them, with any value missing, and with a broken driver."""

import os
import sys
import time
from pathlib import Path

import pynvml
import pytest

from batchscope.engine.devices import nvml
from batchscope.engine.devices.nvml import Card, CardReading, Process, visible
from tests.unit.engine.nvml_fixtures import GIB, SLICE, UUIDS, FakeCard, error, install

ME, NOBODY = os.getpid(), 1 << 30


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, "123"),
        ("", ""),
        ("0", "1"),
        ("2,0", "31"),
        ("1, 2", "23"),
        ("0,9,1", "1"),
        ("-1", ""),
        ("0,-1,1", "1"),
        ("0,0", ""),
        ("1,GPU-22", ""),
        ("GPU-22", "2"),
        ("GPU-33,0", "31"),
        (UUIDS[1], "2"),
        ("GPU-", ""),
        ("GPU-4", ""),
        ("G", ""),
        ("NoDevFiles", ""),
        ("٣", ""),
        ("9" * 50, ""),
        ("0,\x1b[2J", "1"),
    ],
)
def test_visible_gpus_follow_cudas_rules(variable: str | None, expected: str) -> None:
    assert [uuid[4] for uuid in visible(variable, UUIDS)] == list(expected)


def test_a_gpu_is_not_named_by_its_first_letter() -> None:
    assert visible("G", UUIDS[:1]) == []


def test_gpus_are_in_cudas_order(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, *map(FakeCard, UUIDS))
    assert nvml.cards() == [Card(uuid, "NVIDIA H100 80GB HBM3") for uuid in UUIDS]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-11")
    assert [card.uuid for card in nvml.cards()] == [UUIDS[2], UUIDS[0]]


def test_a_mig_slice_is_found_by_its_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeCard(UUIDS[0]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", SLICE)
    (card,) = nvml.cards()
    assert (card.uuid, card.title) == (SLICE, "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    assert nvml.read(SLICE).total == 80 * GIB
    for word in ("MIG-none", "MIG-", f"MIG-GPU-{UUIDS[0][4:]}/1/0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", word)
        assert nvml.cards() == []


def test_all_values_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeCard(UUIDS[0], processes={ME: GIB}))
    assert nvml.read(UUIDS[0]) == CardReading(
        total=80 * GIB,
        used=2 * GIB,
        free=78 * GIB,
        processes=(Process(ME, GIB),),
        utilization=37,
        temperature=41,
        power=86.5,
    )


@pytest.mark.parametrize("code", [3, 4, 15, 16, 999, 4711])
@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("nvmlDeviceGetMemoryInfo", {"total", "used", "free"}),
        ("nvmlDeviceGetUtilizationRates", {"utilization"}),
        ("nvmlDeviceGetPowerUsage", {"power"}),
        ("nvmlDeviceGetComputeRunningProcesses", {"processes"}),
    ],
)
def test_each_value_can_be_missing(
    monkeypatch: pytest.MonkeyPatch, function: str, fields: set[str], code: int
) -> None:
    install(monkeypatch, FakeCard(UUIDS[0], faults={function: code}))
    found = nvml.read(UUIDS[0])
    missing = {name for name in CardReading.__slots__ if getattr(found, name) is None}
    assert missing == fields


def test_the_temperature_is_read_with_the_newer_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = {"nvmlDeviceGetTemperature": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND}
    fake = install(monkeypatch, FakeCard(UUIDS[0], faults=gone))
    assert nvml.read(UUIDS[0]).temperature == 42
    fake.cards[0].faults["nvmlDeviceGetTemperatureV"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert nvml.read(UUIDS[0]).temperature is None


def test_a_lost_gpu_does_not_affect_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, *map(FakeCard, UUIDS))
    nvml.read(UUIDS[1])
    lost = pynvml.NVML_ERROR_GPU_IS_LOST
    fake.cards[1].faults = {name: lost for name in dir(fake) if name.startswith("nvmlDevice")}
    assert nvml.read(UUIDS[1]) == CardReading()
    assert nvml.read(UUIDS[2]).total == 80 * GIB
    assert [card.uuid for card in nvml.cards()] == [UUIDS[0], UUIDS[2]]
    assert nvml.driver().sentence == (
        "NVIDIA driver 550.54.14, CUDA 12.4; 1 of 3 GPUs does not answer: GPU is lost"
    )


def test_a_missing_gpu_has_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeCard(UUIDS[0]))
    assert nvml.read("GPU-none") == CardReading()


# ---- processes


@pytest.mark.parametrize(
    ("processes", "pids", "held"),
    [
        ({ME: GIB, os.getppid(): 7}, [ME], GIB),
        ({ME: GIB, os.getppid(): 7}, [ME, os.getppid()], GIB + 7),
        ({ME: GIB}, [], None),
        ({ME: GIB}, [NOBODY], None),
        ({ME: None}, [ME], None),
        ({ME: GIB, os.getppid(): None}, [ME, os.getppid()], None),
        ({}, [ME], None),
    ],
)
def test_memory_of_given_processes(
    monkeypatch: pytest.MonkeyPatch,
    processes: dict[int, int | None],
    pids: list[int],
    held: int | None,
) -> None:
    install(monkeypatch, FakeCard(UUIDS[0], processes=processes))
    assert nvml.read(UUIDS[0]).held_by(pids) == held


def test_process_ids_of_another_machine_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container the driver may tell the host's, one of which may by chance be one of ours."""
    install(monkeypatch, FakeCard(UUIDS[0], processes={ME: GIB, NOBODY: GIB}))
    found = nvml.read(UUIDS[0])
    assert found.processes is None
    assert found.held_by([ME]) is None


# ---- the driver


def test_the_driver_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, FakeCard(UUIDS[0]))
    assert nvml.driver() == nvml.Driver(True, "NVIDIA driver 550.54.14, CUDA 12.4")
    fake.faults["nvmlSystemGetCudaDriverVersion_v2"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert nvml.driver().sentence == "NVIDIA driver 550.54.14"
    fake.faults["nvmlSystemGetDriverVersion"] = pynvml.NVML_ERROR_UNKNOWN
    assert nvml.driver() == nvml.Driver(True, "NVIDIA driver, version unknown")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (9, "the NVIDIA driver does not answer: Driver Not Loaded"),
        (
            18,
            "the NVIDIA driver does not answer: RM has detected an NVML/RM version mismatch",
        ),
        (999, "the NVIDIA driver does not answer: Unknown Error"),
        (4711, "the NVIDIA driver does not answer: NVML Error with code 4711"),
    ],
)
def test_a_broken_driver_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    fake = install(monkeypatch, FakeCard(UUIDS[0]))
    fake.faults["nvmlInit"] = code
    assert nvml.driver() == nvml.Driver(False, sentence)
    assert nvml.cards() == []
    assert nvml.read(UUIDS[0]) == CardReading()


@pytest.mark.parametrize("module_there", [False, True])
def test_no_driver_or_one_without_its_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module_there: bool
) -> None:
    fake = install(monkeypatch)
    fake.faults["nvmlInit"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    there = tmp_path if module_there else tmp_path / "version"
    monkeypatch.setattr(nvml, "_KERNEL_MODULE", there)
    found = nvml.driver()
    assert not found.answers
    assert (found.sentence == "no NVIDIA driver on this machine") is not module_there
    assert found.sentence.endswith("NVML Shared Library Not Found") is module_there


def test_the_real_library_on_this_machine_never_raises() -> None:
    found = nvml.driver()
    assert found.sentence.isprintable()
    assert found.answers or nvml.cards() == []


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.driver().sentence.endswith("nvidia-ml-py is not installed")
    assert nvml.cards() == []
    assert nvml.read(UUIDS[0]) == CardReading()


# ---- starting anew


def test_a_replaced_driver_is_initialised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its library then refuses every question, and every handle of before is worth nothing."""
    fake = install(monkeypatch, FakeCard(UUIDS[0]))
    now = float(round(time.monotonic()))  # so that adding to it is exact
    monkeypatch.setattr("batchscope.engine.devices.nvml.time.monotonic", lambda: now)
    assert nvml.read(UUIDS[0]).total == 80 * GIB
    fake.running = False
    assert nvml.read(UUIDS[0]) == CardReading()
    assert nvml.read(UUIDS[0]) == CardReading(), "not before it has rested"
    now += nvml.RETRY_SECONDS
    assert nvml.read(UUIDS[0]).total == 80 * GIB
    assert fake.starts == 2
    fake.running, fake.faults["nvmlInit"] = False, pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    now += nvml.RETRY_SECONDS
    nvml.read(UUIDS[0])
    assert nvml.read(UUIDS[0]) == CardReading()
    assert "Driver Not Loaded" in nvml.driver().sentence
    fake.faults.clear()
    assert not nvml.driver().answers, "a driver that is down is not asked at every look"
    now += nvml.RETRY_SECONDS
    assert nvml.driver().answers
    assert fake.starts == 3


def test_a_gpu_without_a_sensor_does_not_restart_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = install(monkeypatch, FakeCard(UUIDS[0], faults={"nvmlDeviceGetPowerUsage": 3}))
    monkeypatch.setattr(nvml, "RETRY_SECONDS", 0.0)
    for _ in range(5):
        nvml.read(UUIDS[0])
    assert fake.starts == 1


def test_a_forked_process_initialises_the_library_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, FakeCard(UUIDS[0]))
    nvml.read(UUIDS[0])
    monkeypatch.setattr("batchscope.engine.devices.nvml.os.getpid", lambda: ME + 1)
    assert nvml.read(UUIDS[0]).total == 80 * GIB
    assert fake.starts == 2


def test_the_fake_raises_what_the_real_one_does() -> None:
    assert type(error(pynvml.NVML_ERROR_GPU_IS_LOST)) is pynvml.NVMLError_GpuIsLost
    for name in nvml._SILENT:
        assert issubclass(getattr(pynvml, f"NVMLError_{name}"), pynvml.NVMLError)
