"""How the conductor handles failing devices; no GPU is needed."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml
import pytest
import torch

from batchscope.engine.devices import nvml
from batchscope.engine.devices.devices import Device, lost_among
from batchscope.engine.errors import MachineProblem
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import Crew
from batchscope.engine.orchestration.dispatcher import Dispatcher
from batchscope.engine.orchestration.placement import Placement
from batchscope.engine.orchestration.retry_policy import Service
from batchscope.engine.training.torch_device import device_failed, device_problem
from tests.unit.engine.conductor_fixtures import DATA, FIXED, Fails, House, ScriptedMember
from tests.unit.engine.nvml_fixtures import UUIDS, FakeCard, error, install


@pytest.mark.parametrize(
    ("problem", "fatal"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `x`"), True),
        (torch.AcceleratorError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_an_error_is_the_devices_or_the_trials(problem: Exception, fatal: bool) -> None:
    assert device_failed(problem) == fatal


@dataclass
class FakeCuda:
    """The parts of torch.cuda that `device_problem` uses."""

    uuids: list[str]
    version: str | None = "12.4"
    asked: list[int] = field(default_factory=list)
    current: torch.device | None = None

    def is_available(self) -> bool:
        return bool(self.uuids)

    def device_count(self) -> int:
        return len(self.uuids)

    def get_device_properties(self, index: int) -> Any:
        self.asked.append(index)
        return type("Properties", (), {"uuid": self.uuids[index]})

    def set_device(self, device: torch.device) -> None:
        self.current = device


def test_the_next_card_is_not_mistaken_for_a_lost_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If cuda:0 is lost, the next process calls cuda:1 cuda:0."""
    left = FakeCuda([UUIDS[1].removeprefix("GPU-")])
    monkeypatch.setattr(torch, "cuda", left)
    monkeypatch.setattr(torch, "ones", lambda size, device: torch.zeros(size) + 1)
    assert device_problem("cuda:0", UUIDS[1]) is None
    gone = "cuda:0: the card of this name is gone, and another has taken the name"
    assert device_problem("cuda:0", UUIDS[0]) == gone
    assert device_problem("cuda:1", UUIDS[1]) == "cuda:1: there are 1 GPUs"
    assert device_problem("cpu", "") is None


def test_a_card_is_made_current_before_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects without a device, such as a stream, then belong to this card."""
    cuda = FakeCuda([uuid.removeprefix("GPU-") for uuid in UUIDS])

    def placed(size: int, device: str) -> torch.Tensor:
        assert cuda.current == torch.device(device)
        return torch.zeros(size) + 1

    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(torch, "ones", placed)
    assert device_problem("cuda:1", UUIDS[1]) is None
    assert cuda.current == torch.device("cuda:1")


def test_a_card_that_does_not_compute_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(size: int, device: str) -> torch.Tensor:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")

    monkeypatch.setattr(torch, "cuda", FakeCuda([UUIDS[0]]))
    monkeypatch.setattr(torch, "ones", broken)
    said = "cuda:0: CUDA error: unspecified launch failure Compile with ..."
    assert device_problem("cuda:0", UUIDS[0]) == said


def test_a_card_is_lost_only_if_its_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "nvmlDeviceGetMemoryInfo"
    lost = FakeCard(UUIDS[0], faults={name: pynvml.NVML_ERROR_GPU_IS_LOST})
    mute = FakeCard(UUIDS[1], faults={name: pynvml.NVML_ERROR_UNKNOWN})
    install(monkeypatch, lost, mute, FakeCard(UUIDS[2]))
    devices = [Device(f"cuda:{n}", "", uuid) for n, uuid in enumerate(UUIDS)] + [Device("cpu", "")]
    assert [device.name for device in lost_among(devices)] == ["cuda:0"]
    assert not nvml.is_lost("GPU-unknown")
    assert "lost" in str(error(pynvml.NVML_ERROR_GPU_IS_LOST)).lower()


def test_a_trial_returns_to_a_device_only_if_no_other_is_left() -> None:
    service = Service()
    for device in ("cuda:0", "cuda:0", "cuda:1"):
        service.join(device)
    assert service.may("cuda:0", "a")
    service.failed("cuda:0", "a")
    assert not service.may("cuda:0", "a")
    assert service.may("cuda:1", "a")
    assert service.may("cuda:0", "b")
    assert service.elsewhere("a")
    service.leave("cuda:1")
    assert service.may("cuda:0", "a")
    assert not service.elsewhere("a")


def test_a_device_is_useless_after_three_trials_in_a_row() -> None:
    service = Service()
    for trial in ("a", "a", "b", "b"):
        service.failed("cuda:0", trial)
    assert not service.useless("cuda:0")
    service.went_well("cuda:0", "c")
    for trial in ("a", "b"):
        service.failed("cuda:0", trial)
    assert not service.useless("cuda:0")
    service.failed("cuda:0", "d")
    assert service.useless("cuda:0")
    assert not service.useless("cuda:1")


# ---- a whole conductor's day, with workers that only say how it went


class ScriptedCrew:
    """Starts scripted workers; a device in `gone` cannot have one."""

    def __init__(self, fails: Fails, gone: set[str]) -> None:
        self.fails, self.gone, self.done = fails, gone, list[tuple[str, str]]()

    async def hire(self, number: int, device: str, threads: int, card: str = "") -> ScriptedMember:
        if device in self.gone:
            raise MachineProblem(f"{device}: gone")
        return ScriptedMember(number, device, self.fails, self.done)


async def serve(
    folder: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, gone: set[str] | None = None
) -> tuple[House, ScriptedCrew, list[MachineProblem]]:
    """Run a sweep of four trials on two devices."""
    monkeypatch.setattr("batchscope.engine.orchestration.retry_policy.FIRST_WAIT_SECONDS", 0.001)
    house = House(folder, FIXED)
    crew, control = ScriptedCrew(fails, set() if gone is None else gone), Control()
    server = Dispatcher(house.ledger, house.queue, DATA, control, lambda: None, None)
    real: Any = crew
    places = [Placement(Device(f"cuda:{n}", "", UUIDS[n]), 1, 1) for n in range(2)]
    async with asyncio.timeout(30):
        first = [crew.hire(n, f"cuda:{n}", 1) for n in range(2)]
        serving = [
            server.serve(real, n, asyncio.ensure_future(first[n]), place)  # type: ignore[arg-type]
            for n, place in enumerate(places)
        ]
        problems = [each for each in await asyncio.gather(*serving) if each]
    house.ledger.close()
    return house, crew, problems


def statuses(house: House) -> dict[str, str]:
    return {name: trial.status for name, trial in house.ledger.state.trials.items()}


async def test_the_trials_of_a_lost_card_go_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: set[str] = set()

    def fails(device: str, trial: str) -> bool:
        if device == "cuda:0":
            gone.add(device)
        return device == "cuda:0"

    house, crew, problems = await serve(tmp_path, fails, monkeypatch, gone)
    assert [str(problem) for problem in problems] == ["cuda:0: gone"]
    assert set(statuses(house).values()) == {"finished"}
    assert {device for device, _ in crew.done} == {"cuda:1"}
    said = [line.text for line in house.ledger.state.log if line.level == "error"]
    assert said == ["worker 0: cuda:0: CUDA error", "worker 0: cuda:0: gone"]


async def test_a_card_on_which_nothing_works_is_taken_out_of_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers start on it, but every training fails; no trial is tried on it twice."""
    tried: list[str] = []

    def fails(device: str, trial: str) -> bool:
        if device == "cuda:0":
            tried.append(trial)
        return device == "cuda:0"

    house, _, problems = await serve(tmp_path, fails, monkeypatch)
    assert set(statuses(house).values()) == {"finished"}
    assert len(tried) == len(set(tried))
    assert all("out of service" in str(problem) for problem in problems)


async def test_only_the_trial_that_breaks_every_card_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, _, problems = await serve(tmp_path, lambda device, trial: trial == "b64-s0", monkeypatch)
    assert problems == []
    found = statuses(house)
    assert found.pop("b64-s0") == "failed"
    assert set(found.values()) == {"finished"}
    reason = house.ledger.state.trials["b64-s0"].reason
    assert reason.endswith("CUDA error (after 3 retries)")


async def test_no_trial_fails_if_all_cards_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: set[str] = set()

    def fails(device: str, trial: str) -> bool:
        gone.add(device)
        return True

    house, _, problems = await serve(tmp_path, fails, monkeypatch, gone)
    assert len(problems) == 2
    assert set(statuses(house).values()) == {"queued"}


async def test_the_workers_of_a_lost_card_are_killed(tmp_path: Path) -> None:
    """A call into the driver of such a card may never return."""
    with open(tmp_path / "lock", "w") as lock:
        crew = Crew(tmp_path, lock.fileno(), lambda event: None, silence=60.0)
        member = await crew.hire(0, "cpu", 1)
        crew.give_up("cuda:7", "not this one")
        assert member.link.exit_code is None
        crew.give_up("cpu", "the driver says that the card is lost")
        async with asyncio.timeout(30):
            assert await member.last_words() == "cpu: the driver says that the card is lost"
        assert member.fault
        await crew.dismiss()
