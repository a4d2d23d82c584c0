"""Recorded steps, with stand-ins for what CUDA gives: a recording that runs the same again."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from engine.training.replay import AFTER, MOST_SAMPLES, WARM_UPS, Replay


class Graph:
    """Runs again what was taken while it recorded."""

    def __init__(self) -> None:
        self.again: Callable[[], None] = lambda: None
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        self.again()


class Stream:
    def wait_stream(self, other: object) -> None:
        """Nothing runs beside anything here."""


class Step:
    """A gradient that is the sum of a batch, and a count of batches that it moves beside."""

    def __init__(self) -> None:
        self.gradient, self.count = torch.zeros(2, 1), torch.zeros(())
        self.taken, self.recording = 0, list[Graph]()

    def take(self, batch: Tensor) -> None:
        if self.recording:
            self.recording[-1].again = lambda: self._work(batch)
            return
        self.taken += 1
        self._work(batch)

    def _work(self, batch: Tensor) -> None:
        self.gradient.copy_(batch.double().sum(1, keepdim=True))
        self.count.add_(1)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    made = Step()

    @contextlib.contextmanager
    def graph(recorded: Graph) -> Iterator[None]:
        made.recording.append(recorded)
        yield
        made.recording.pop()

    for name, instead in {
        "synchronize": lambda: None,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, instead)
    return made


def batches(count: int, size: int = 3) -> list[Tensor]:
    return [torch.full((2, size), index) for index in range(count)]


def taken(replay: Replay, step: Step, some: list[Tensor]) -> list[float]:
    found = []
    for batch in some:
        replay.take(batch)
        found.append(float(step.gradient[0]))
    return found


def test_a_shape_that_repeats_is_recorded_and_gives_the_same(step: Step) -> None:
    replay = Replay(step.take, step.gradient, [step.count])
    expected = [3.0 * index for index in range(AFTER + 5)]
    assert taken(replay, step, batches(AFTER + 5)) == expected
    assert step.taken == AFTER + WARM_UPS  # the last five were replays
    assert float(step.count) == AFTER + 5, "recording moves nothing"
    assert replay.taken_seconds() > 0.0 == replay.taken_seconds()


def test_each_shape_has_a_recording_of_its_own(step: Step) -> None:
    replay = Replay(step.take, step.gradient, [step.count])
    taken(replay, step, batches(AFTER))
    assert taken(replay, step, batches(4, size=2)) == [0.0, 2.0, 4.0, 6.0]
    assert step.taken == AFTER + WARM_UPS + 4


def test_large_batches_are_not_recorded(step: Step) -> None:
    replay = Replay(step.take, step.gradient, [])
    taken(replay, step, batches(AFTER + 3, size=MOST_SAMPLES // 2 + 1))
    assert step.taken == AFTER + 3
    assert replay.taken_seconds() == 0.0


@pytest.mark.parametrize("fault", ["refused", "wrong"])
def test_without_a_recording_that_holds_it_goes_on_as_before(
    step: Step, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Graph) -> None:
        if fault == "refused":
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        step.gradient.fill_(-1.0)

    monkeypatch.setattr(Graph, "replay", broken)
    replay = Replay(step.take, step.gradient, [step.count])
    expected = [3.0 * index for index in range(AFTER + 5)]
    assert taken(replay, step, batches(AFTER + 5)) == expected
    assert step.taken == AFTER + 5 + WARM_UPS
    assert float(step.count) == AFTER + 5
