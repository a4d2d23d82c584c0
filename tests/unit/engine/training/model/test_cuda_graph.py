"""Recorded steps, with stand-ins for CUDA: two devices, and recordings of one stream."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from batchscope.engine.training.model.cuda_graph import AFTER, EMPTY, MOST_SAMPLES, WARM_UPS, Replay

OURS = 1  # the card of the tensors; the process has made none current, so that card 0 is
EAGER = AFTER + WARM_UPS + 1  # batches taken until all is recorded: one more for the check


@dataclass(frozen=True)
class Stream:
    card: int
    number: int

    def wait_stream(self, other: object) -> None:
        """Nothing runs beside anything here."""


class Graph:
    """Runs again what was launched on the stream that it recorded."""

    def __init__(self) -> None:
        self.works: list[Callable[[], None]] = []

    def replay(self) -> None:
        for work in self.works:
            work()


@dataclass
class Cuda:
    """As torch.cuda: new streams are of the current card, and a recording is of one stream."""

    current: int = 0
    streams: dict[int, Stream] = field(default_factory=lambda: {c: Stream(c, 0) for c in (0, OURS)})
    made: int = 0
    recording: tuple[Stream, Graph] | None = None
    deaf: bool = False

    def card(self, device: object) -> int:
        return self.current if device is None else OURS

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, self.current = self.current, self.card(device)
        try:
            yield
        finally:
            self.current = before

    def stream_on(self, device: torch.device | None = None) -> Stream:
        self.made += 1
        return Stream(self.card(device), self.made)

    def current_stream(self, device: torch.device | None = None) -> Stream:
        return self.streams[self.card(device)]

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, card = self.streams[stream.card], self.current
        self.streams[stream.card], self.current = stream, stream.card
        try:
            yield
        finally:
            self.streams[stream.card], self.current = before, card

    @contextlib.contextmanager
    def graph(self, graph: Graph, stream: Stream | None = None) -> Iterator[None]:
        chosen = stream or self.stream_on()
        with self.stream(chosen):
            self.recording = chosen, graph
            yield
            self.recording = None
        if not graph.works:
            warnings.warn(EMPTY + ". This usually means ...", stacklevel=1)

    def launch(self, work: Callable[[], None]) -> None:
        """On the current stream of the card that the tensors are on."""
        if self.recording is None:
            work()
        elif not self.deaf and self.recording[0] == self.streams[OURS]:
            self.recording[1].works.append(work)


class Step:
    """A gradient that is the sum of a batch, and a buffer that counts the batches."""

    def __init__(self, cuda: Cuda) -> None:
        self.gradient, self.count = torch.zeros(2, 1), torch.zeros(())
        self.taken, self.cuda = 0, cuda
        self.scale = 1.0

    def take(self, batch: Tensor) -> None:
        self.taken += self.cuda.recording is None
        self.cuda.launch(lambda: self._work(batch))

    def _work(self, batch: Tensor) -> None:
        self.gradient.copy_(batch.double().sum(1, keepdim=True) * self.scale)
        self.count.add_(1)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    cuda = Cuda()
    for name, instead in {
        "synchronize": lambda device: None,
        "device": cuda.device,
        "Stream": cuda.stream_on,
        "current_stream": cuda.current_stream,
        "stream": cuda.stream,
        "CUDAGraph": Graph,
        "graph": cuda.graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, instead)
    return Step(cuda)


def batches(count: int, size: int = 3) -> list[Tensor]:
    return [torch.full((2, size), index) for index in range(count)]


def taken(replay: Replay, step: Step, some: list[Tensor]) -> list[float]:
    gradients = []
    for batch in some:
        replay.take(batch)
        gradients.append(float(step.gradient[0]))
    return gradients


EXPECTED = [3.0 * index for index in range(AFTER + 5)]


def test_a_shape_that_repeats_is_recorded_and_gives_the_same(step: Step) -> None:
    """On a card that is not the current one, where torch's default stream is another card's."""
    replay = Replay(step.take, step.gradient, [step.count])
    assert taken(replay, step, batches(AFTER + 5)) == EXPECTED
    assert step.taken == EAGER  # the last five were replays
    assert float(step.count) == AFTER + 5, "recording moves nothing"
    assert replay.taken_seconds() > 0.0 == replay.taken_seconds()
    assert (step.cuda.current, step.cuda.streams[OURS]) == (0, Stream(OURS, 0))


def test_each_shape_has_a_recording_of_its_own(step: Step) -> None:
    replay = Replay(step.take, step.gradient, [step.count])
    taken(replay, step, batches(AFTER))
    assert taken(replay, step, batches(4, size=2)) == [0.0, 2.0, 4.0, 6.0]
    assert step.taken == EAGER + 4


def test_shapes_that_take_turns_are_checked_on_batches_of_their_own(step: Step) -> None:
    replay = Replay(step.take, step.gradient, [step.count])
    turns = [torch.full((2, size), index) for index in range(AFTER + 2) for size in (3, 1)]
    assert taken(replay, step, turns) == [float(batch[0].sum()) for batch in turns]
    assert step.taken == 2 * EAGER


def test_large_batches_are_not_recorded(step: Step) -> None:
    replay = Replay(step.take, step.gradient, [])
    taken(replay, step, batches(AFTER + 3, size=MOST_SAMPLES // 2 + 1))
    assert step.taken == AFTER + 3
    assert replay.taken_seconds() == 0.0


def nothing(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """It recorded another stream; what is in the gradient is from the batch before."""
    step.cuda.deaf = True


def nothing_of_nothing(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """No comparison can show that it is empty."""
    step.cuda.deaf, step.scale = True, 0.0


def refused(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Graph) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(Graph, "replay", broken)


def wrong(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Graph, "replay", lambda self: step.gradient.fill_(-1.0))


def stale(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the gradient of the recorded batch, whatever the batch is."""
    work = step._work

    def of_the_recorded(batch: Tensor) -> None:
        step.taken += step.cuda.recording is None
        content = batch.clone()
        step.cuda.launch(lambda: work(content))

    monkeypatch.setattr(step, "take", of_the_recorded)


def buffers_left_out(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = Graph.replay

    def without(self: Graph) -> None:
        count = step.count.clone()
        replay(self)
        step.count.copy_(count)

    monkeypatch.setattr(Graph, "replay", without)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (nothing, EMPTY),
        (nothing_of_nothing, EMPTY),
        (refused, "operation not permitted"),
        (wrong, "other gradients"),
        (stale, "other gradients"),
        (buffers_left_out, "other gradients"),
    ],
)
def test_a_wrong_recording_is_not_used(
    step: Step,
    fault: Callable[[Step, pytest.MonkeyPatch], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fault(step, monkeypatch)
    replay = Replay(step.take, step.gradient, [step.count])
    assert taken(replay, step, batches(AFTER + 5)) == [step.scale * each for each in EXPECTED]
    assert step.taken == EAGER + 5
    assert float(step.count) == AFTER + 5
    assert said in capsys.readouterr().err
    assert (step.cuda.current, step.cuda.streams[OURS]) == (0, Stream(OURS, 0))


def test_it_is_checked_on_another_batch_even_where_each_is_the_whole_data_set(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale(step, monkeypatch)
    replay = Replay(step.take, step.gradient, [step.count])
    ordered = torch.arange(6).expand(2, -1)
    for index in range(AFTER):
        replay.take(ordered.roll(index, 1))
    batch = torch.full((2, 6), 7)
    replay.take(batch)
    assert float(step.gradient[0]) == 42.0
