"""Devices by name, and the machine's memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.devices import (
    Device,
    _visible,
    choose_devices,
    cores,
    machine,
    resident_bytes,
    usage,
)
from engine.events import MemorySampled
from engine.problems import MachineProblem, UsageProblem
from engine.watching import MemoryWatch

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
def test_a_gpu_that_is_not_there(asked: str) -> None:
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
def test_words_that_name_no_device(asked: str, hint: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        choose_devices(asked)
    message = str(caught.value)
    assert message.startswith("--device ")
    assert hint in message or "cuda:0" in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, ["a", "b", "c"]),
        ("", []),
        ("0", ["a"]),
        ("2,0", ["c", "a"]),
        ("1, 2", ["b", "c"]),
        ("0,9,1", ["a"]),
        ("-1", []),
        ("0,-1,1", ["a"]),
        ("GPU-22", ["b"]),
        ("GPU-3333,0", ["c", "a"]),
        ("GPU-", []),
        ("GPU-4", []),
        ("NoDevFiles", []),
    ],
)
def test_visible_gpus_are_those_of_cuda(variable: str | None, expected: list[str]) -> None:
    by_id = {"GPU-1111": "a", "GPU-2222": "b", "GPU-3333": "c"}
    assert _visible(variable, ["a", "b", "c"], by_id) == expected


def test_cores_are_those_that_this_process_may_use() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from engine.devices import cores; print(cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"
    assert cores() == len(os.sched_getaffinity(0))


def test_the_machine_as_the_manifest_says_it() -> None:
    found = machine()
    assert set(found) == {"system", "processor", "cores", "memory_bytes", "gpus"}
    total = next(li for li in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in li)
    assert found["memory_bytes"] == int(total.split()[1]) * 1024
    assert found["cores"] == cores()
    assert found["processor"] == CPU.title


def test_memory_of_the_cpu() -> None:
    found = usage(CPU)
    assert found.total == machine()["memory_bytes"]
    assert 0 < found.used < found.total


def test_a_gpu_whose_driver_does_not_answer_has_no_figures() -> None:
    found = usage(Device("cuda:0", "gone", handle=object()))
    assert (found.total, found.used) == (0, 0)


def test_resident_memory_counts_the_living() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    resident = Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]
    pages = int(resident) * os.sysconf("SC_PAGE_SIZE")
    assert resident_bytes([]) == 0
    assert resident_bytes([gone.pid]) == 0
    assert resident_bytes([os.getpid(), gone.pid]) == pytest.approx(pages, rel=0.2)


def test_memory_of_this_process_is_stated_at_first() -> None:
    (first,) = MemoryWatch([CPU]).changed([os.getpid()], {})
    assert isinstance(first, MemorySampled)
    assert (first.device, first.name, first.total) == ("cpu", CPU.title, usage(CPU).total)
    assert first.ours == pytest.approx(resident_bytes([os.getpid()]), rel=0.2)
    assert first.others >= 0


def test_memory_of_a_gpu_is_what_its_worker_holds_and_is_stated_where_it_changed() -> None:
    gone = [Device(f"cuda:{index}", "gone", handle=object()) for index in range(2)]
    watch = MemoryWatch(gone)
    assert [sample.ours for sample in watch.changed([os.getpid()], {})] == [0, 0]
    (sample,) = watch.changed([os.getpid()], {"cuda:1": 7})
    assert (sample.device, sample.ours, sample.others) == ("cuda:1", 7, 0)
    assert watch.changed([os.getpid()], {"cuda:1": 7}) == []
