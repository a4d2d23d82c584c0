"""`batchscope doctor` on this machine, on one with simulated GPUs, and with missing parts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from batchscope import __version__
from batchscope.engine.devices import nvml
from batchscope.engine.devices.torch_probe import SeenGpu, TorchProbe, TorchSeen
from batchscope.tui.cli import doctor
from batchscope.tui.cli.doctor import Check, disagreement, lines_of
from tests.functional.lab import Lab, Outcome, needs_no_gpu, sets, state_of
from tests.messages import says
from tests.terminal.terminals import Terminal

ONE = sets("seeds=1", "train.epochs=1", "grid.batch_size=[512]")
COMPLETE = "everything required is available"
UUIDS = ("GPU-11111111-2222-3333-4444-555555555555", "GPU-66666666-7777-8888-9999-aaaaaaaaaaaa")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
FAKE_TORCH = """
class _Card:
    def __init__(self, uuid): self.name, self.uuid = "a card", uuid
class cuda:
    def init(): pass
    def is_available(): return True
    def device_count(): return 2
    def get_device_properties(i): return _Card({uuids!r}[i])
class version: cuda = "12.8"
class backends:
    class cpu:
        def get_cpu_capability(): return "AVX2"
__version__ = "9.9.9+cu128"
"""


def checks(lab: Lab, code: int, *words: str, **environment: str) -> dict[str, Any]:
    """What `doctor --json` says, by name."""
    outcome = lab.run("doctor", "--json", *words, **environment)
    assert (outcome.code, outcome.err) == (code, "")
    found: dict[str, Any] = json.loads(outcome.out)
    assert found["usable"] is (code == 0)
    named: dict[str, Any] = found["checks"]
    lacking = [name for name, check in named.items() if check["state"] == "lacking"]
    assert found["lacking"] == lacking
    return named


def fits(outcome: Outcome) -> bool:
    return all(cell_len(line) <= 80 for line in outcome.out.splitlines())


@pytest.fixture
def cards(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with two cards, of which one is in use by this process."""
    library = tmp_path / "library"
    library.mkdir()
    source = Path(__file__).with_name("fake_nvml.c")
    target = library / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", target, source], check=True)
    return {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_PID": str(os.getpid())}


def fake_torch(folder: Path, code: str) -> dict[str, str]:
    """The environment in which `import torch` runs this code."""
    (folder / "fakes").mkdir()
    (folder / "fakes/torch.py").write_text(code)
    return {"PYTHONPATH": str(folder / "fakes")}


# ---- this machine


def test_lines_that_fit_a_small_terminal(lab: Lab) -> None:
    outcome = lab.run("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    assert fits(outcome)
    lines = outcome.out.splitlines()
    assert lines[0] == f"✓ batchscope    {__version__}"
    assert lines[-1] == COMPLETE
    for name in ("Python", "Textual", "pooch", "processor", "memory", "home", "torch "):
        assert any(line.startswith(f"✓ {name}") for line in lines), name
    assert any(nvml.driver().sentence in line for line in lines)


@needs_no_gpu
def test_json_output(lab: Lab) -> None:
    found = checks(lab, 0)
    assert found["batchscope"]["version"] == __version__
    assert found["processor"]["cores"] == len(os.sched_getaffinity(0))
    assert 0 < found["memory"]["available"] < found["memory"]["total"]
    assert found["driver"] == {"state": "absent", "text": nvml.driver().sentence}
    assert found["home"]["folder"] == str(lab.home)
    assert found["home"]["free"] > 0
    assert found["data"]["prepared"] == []
    assert found["terminal"]["columns"] is None
    assert found["torch"]["version"]
    assert not any(name.startswith("cuda:") for name in found)


def test_the_instruction_set_and_its_limit_are_named(lab: Lab) -> None:
    named = checks(lab, 0)["torch"]["cpu_capability"]
    assert f"uses {named} " in checks(lab, 0)["torch"]["text"]
    limited = checks(lab, 0, ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="")["torch"]["text"]
    assert "no vector instructions (ATEN_CPU_CAPABILITY=default)" in limited


def test_prepared_data_sets_are_listed(lab: Lab) -> None:
    for name in ("digits-12ab", "raw", ".digits-34.partial"):
        (lab.home / "data" / name).mkdir(parents=True)
        (lab.home / "data" / name / "images").write_bytes(bytes(1000))
    (lab.home / "data" / "digits.lock").write_text("")
    data = checks(lab, 0)["data"]
    assert (data["prepared"], data["bytes"], data["state"]) == (["digits-12ab"], 3000, "usable")


def test_the_terminal_is_described(tmp_path: Path) -> None:
    with Terminal("doctor", "--home", str(tmp_path), columns=80, rows=40) as terminal:
        terminal.wait_for(COMPLETE)
        assert "✓ terminal      xterm-256color, 80×40, 256 colours, UTF-8" in terminal.text
    small = {"TERM": "dumb", "NO_COLOR": "1"}
    with Terminal("doctor", "--home", str(tmp_path), columns=80, rows=23, **small) as terminal:
        terminal.wait_for(COMPLETE)
        assert "– terminal      dumb, 80×23, no colours, UTF-8" in terminal.text
        assert "smaller than 80×24" in terminal.text


def test_an_encoding_without_the_marks(lab: Lab) -> None:
    outcome = lab.run("doctor", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert outcome.code == 0
    assert outcome.out.startswith("+ batchscope")
    assert "\n- terminal" in outcome.out
    assert "curves need UTF-8" in outcome.out
    assert "?" not in outcome.out


# ---- what is lacking


@pytest.mark.parametrize("name", ["file", "file/below", "/proc/nothing"])
def test_a_home_that_cannot_be_written(lab: Lab, name: str) -> None:
    (lab.cwd / "file").write_text("")
    outcome = lab.run("doctor", "--home", name)
    assert (outcome.code, outcome.err) == (3, "")
    assert "✗ home " in outcome.out
    assert outcome.out.count("✗") == 1
    assert outcome.out.endswith("\nproblems: home\n")
    assert fits(outcome)
    assert checks(lab, 3, "--home", name)["home"]["free"] is None


def test_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor, "_write_in", full)
    assert doctor.run(str(tmp_path), as_json=False) == 3
    said = capsys.readouterr().out
    assert "sweeps cannot be stored here: No space left on device" in said
    assert said.endswith("\nproblems: home\n")


def test_an_unknown_user(lab: Lab) -> None:
    outcome = lab.run("doctor", "--home", "~nobody-of-this-name/x")
    assert outcome.code == 2
    assert says(outcome.message, "~nobody-of-this-name/x: | no such user")


@pytest.mark.parametrize("package", ["torch", "textual", "pooch"])
def test_a_package_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    package: str,
) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == package else real(name))
    needed = package != "pooch"
    assert doctor.run(str(tmp_path), as_json=True) == (3 if needed else 0)
    found = json.loads(capsys.readouterr().out)
    named = {name.lower(): check for name, check in found["checks"].items()}
    assert named[package]["state"] == ("lacking" if needed else "absent")
    assert named[package]["text"].startswith("not installed: ")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('libcudart.so: no such file')", "ImportError: libcudart.so: no such"),
        ("import os; os._exit(7)", "(exit code 7)"),
        ("import os; os.kill(os.getpid(), 9)", "(killed by signal 9)"),
        ("print('{}'); raise ValueError('\\x1b[2J')", "ValueError: �[2J"),
    ],
)
def test_a_broken_torch(lab: Lab, code: str, words: str) -> None:
    environment = fake_torch(lab.root, code)
    found = checks(lab, 3, **environment)["torch"]
    assert words in found["text"]
    assert "\x1b" not in lab.run("doctor", **environment).out


def test_a_torch_whose_import_does_not_end() -> None:
    with TorchProbe((sys.executable, "-c", "import time; time.sleep(600)")) as question:
        seen = question.answer(seconds=0.2)
    assert (seen.version, "within 0 s" in seen.error) == ("", True)
    with TorchProbe((sys.executable, "-c", "import time; time.sleep(600)")) as question:
        pass
    assert question._process.returncode == -9, "nobody waited for it"


# ---- cards


@needs_compiler
@needs_no_gpu
def test_gpus_that_nvml_and_torch_see(lab: Lab, cards: dict[str, str]) -> None:
    bare = [uuid.removeprefix("GPU-") for uuid in UUIDS]
    environment = {**cards, **fake_torch(lab.root, FAKE_TORCH.format(uuids=bare))}
    outcome = lab.run("doctor", **environment)
    assert (outcome.code, outcome.err) == (0, "")
    assert fits(outcome)
    assert "✓ driver        NVIDIA driver 550.54.14, CUDA 12.4\n" in outcome.out
    assert "✓ torch's GPUs  torch sees the same 2 GPUs as NVML, in the same order" in outcome.out
    found = checks(lab, 0, **environment)
    first, second = found["cuda:0"], found["cuda:1"]
    assert (first["uuid"], second["uuid"]) == UUIDS
    assert (first["total"], first["used"], first["available"]) == (96 << 30, 6 << 30, 90 << 30)
    assert (first["utilization"], first["temperature"], first["power"]) == (37, 41, 86.5)
    (process,) = first["processes"]
    assert (process["pid"], process["held"]) == (os.getpid(), 5 << 30)
    assert (second["processes"], second["power"]) == ([], None)
    assert "37 % busy, 41 °C, power unknown" in second["text"]


@needs_compiler
@needs_no_gpu
def test_gpus_that_torch_cannot_use(lab: Lab, cards: dict[str, str]) -> None:
    """The real torch, which on this machine has no card, beside a driver that has two."""
    found = checks(lab, 0, CUDA_VISIBLE_DEVICES=UUIDS[1], **cards)
    assert found["cuda:0"]["uuid"] == UUIDS[1]
    assert "cuda:1" not in found
    assert found["torch's GPUs"]["state"] == "absent"
    assert found["torch's GPUs"]["text"].startswith("torch ")


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (("11", "66"), ""),
        (("66", "11"), "set CUDA_DEVICE_ORDER=PCI_BUS_ID"),
        (("11", "77"), "see different GPUs"),
        (("11",), "torch sees 1 GPUs, NVML 2"),
        (("", ""), ""),
    ],
)
def test_differences_between_torch_and_nvml(theirs: Sequence[str], words: str) -> None:
    gpus = tuple(SeenGpu("a card", uuid) for uuid in theirs)
    said = disagreement(TorchSeen("1", "12", True, gpus), ["GPU-11", "GPU-66"])
    assert said.endswith(words)
    assert bool(said) is bool(words)


def test_why_torch_uses_no_gpu() -> None:
    assert "without CUDA" in disagreement(TorchSeen("1"), UUIDS)
    broken = TorchSeen("1", "12.8", error="no \x1b driver")
    assert disagreement(broken, UUIDS).endswith("no � driver")


# ---- a driver that does not answer


@needs_compiler
@needs_no_gpu
@pytest.mark.parametrize(
    ("code", "reason"),
    [("9", "Driver Not Loaded"), ("18", "version mismatch"), ("999", "Unknown Error")],
)
def test_a_broken_driver_is_reported_and_not_required(
    lab: Lab, cards: dict[str, str], code: str, reason: str
) -> None:
    driver = checks(lab, 0, FAKE_NVML_INIT=code, **cards)["driver"]
    assert driver["state"] == "absent"
    assert driver["text"].startswith("the NVIDIA driver does not answer: ")
    assert reason in driver["text"]


@needs_compiler
@needs_no_gpu
def test_a_sweep_runs_with_a_broken_driver(lab: Lab, cards: dict[str, str]) -> None:
    outcome = lab.run(
        "--export", "out", "--memory-limit", "2GiB", *ONE, FAKE_NVML_INIT="18", **cards
    )
    assert outcome.code == 0, outcome.err
    state = state_of(lab.only_folder())
    assert state.conductor is not None
    assert "version mismatch" in state.conductor.machine["driver"]
    manifest = json.loads((lab.cwd / "out/manifest.json").read_text())
    assert manifest["machine"] == state.conductor.machine
    launch = json.loads((lab.only_folder() / "launch.json").read_text())
    assert launch["memory_limit"] == 2 << 30


# ---- words


@pytest.mark.parametrize("text", ["2G", "many", "0", "-1", "", "1.5"])
def test_an_invalid_memory_limit(lab: Lab, text: str) -> None:
    outcome = lab.run("--export", "out", f"--memory-limit={text}", *ONE)
    assert outcome.code == 2
    assert "--memory-limit" in outcome.message
    assert lab.folders() == []


def test_control_characters_are_not_printed() -> None:
    check = Check("cuda:0", "usable", ["\x1b]0;owned\x07[bold]", "x" * 200, "中" * 60])
    lines = lines_of(check).split("\n")
    assert lines[0] == "✓ cuda:0        �]0;owned�[bold]"
    assert all(cell_len(line) <= 80 and line.isprintable() for line in lines)
