"""Gradients of batches of one shape as a CUDA graph: one launch instead of some thirty.

At small batch sizes a GPU waits for its operators to be launched. A graph runs the same kernels
on the same memory again, so a batch is copied to where the recorded one was.
"""

import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

AFTER = 16  # batches of a shape: whoever takes fewer has nothing from a recording
MOST_SAMPLES = 1024  # of all replicates; beyond, launching is a small part of a step
WARM_UPS = 3  # on the stream that records, as torch asks for
CLOSE = 1e-3
EMPTY = "The CUDA Graph is empty"  # how torch's warning of it begins


class Replay:
    """Takes gradients by way of `take`, which leaves them in `gradient`, or as recorded.

    `buffers` are what `take` moves beside; recording does not.

    Attributes:
        seconds: what recording has taken since it was last asked for.
    """

    def __init__(
        self, take: Callable[[Tensor], None], gradient: Tensor, buffers: list[Tensor]
    ) -> None:
        self._take, self._gradient, self._buffers = take, gradient, buffers
        self._seen: Counter[int] = Counter()
        self._previous: dict[int, Tensor] = {}
        self._recorded: dict[int, tuple[Tensor, torch.cuda.CUDAGraph]] = {}
        self._off = False
        self.seconds = 0.0

    def take(self, batch: Tensor) -> None:
        """Leave the gradients of a batch, indices (R, B)."""
        size = batch.shape[1]
        if size in self._recorded:
            place, graph = self._recorded[size]
            place.copy_(batch)
            graph.replay()
            return
        self._take(batch)
        if self._off or batch.numel() > MOST_SAMPLES:
            return
        self._seen[size] += 1
        if self._seen[size] == AFTER - 1:
            self._previous[size] = batch.clone()
        elif self._seen[size] == AFTER:
            self._record(batch, _mixed(batch, self._previous.pop(size)))

    def taken_seconds(self) -> float:
        """Seconds of recording since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds

    def _record(self, batch: Tensor, other: Tensor) -> None:
        """Record how the gradients of a batch are taken, and check the recording on another one.

        Where that cannot be recorded, or gives anything else, nothing is recorded any more, and the
        log says why.
        """
        device = self._gradient.device
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        kept = self._state()
        try:
            self._take(other)
            expected = self._state()
            _restore(self._state_tensors(), kept)
            place = batch.clone()
            graph = self._graph(place)
            # what the batches before left must not pass for what the recording gives
            _restore(self._state_tensors(), kept)
            self._gradient.zero_()
            place.copy_(other)
            graph.replay()
            if all(map(_close, self._state(), expected)):
                self._recorded[batch.shape[1]] = place, graph
            else:
                self._give_up("it gives other gradients")
        except (RuntimeError, UserWarning) as error:
            self._give_up(str(error))
        _restore(self._state_tensors(), kept)
        torch.cuda.synchronize(device)
        self.seconds += time.perf_counter() - began

    def _graph(self, place: Tensor) -> torch.cuda.CUDAGraph:
        """Record on a stream of the gradient's own device, whichever is current.

        A recording holds what is launched on its stream and nothing else, and torch's default is a
        stream of whatever device was current when it first recorded.
        """
        device = self._gradient.device
        with torch.cuda.device(device):
            aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            present = torch.cuda.current_stream(device)
            aside.wait_stream(present)
            # left by this context too where the end of a recording raises, which leaves torch's own
            with torch.cuda.stream(aside), warnings.catch_warnings():
                warnings.filterwarnings("error", message=EMPTY)
                for _ in range(WARM_UPS):
                    self._take(place)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=aside):
                    self._take(place)
            present.wait_stream(aside)
        return graph

    def _give_up(self, reason: str) -> None:
        self._off = True
        text = " ".join(reason.split())[:300]
        print(f"steps are not recorded as a CUDA graph: {text}", file=sys.stderr, flush=True)

    def _state_tensors(self) -> list[Tensor]:
        """All that taking a gradient moves."""
        return [self._gradient, *self._buffers]

    def _state(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self._state_tensors()]


def _mixed(batch: Tensor, previous: Tensor) -> Tensor:
    """A batch of the same shape that differs from both, even where each is the whole data set."""
    mixed = batch.clone()
    mixed[:, ::2] = previous[:, ::2]
    return mixed


def _restore(tensors: list[Tensor], kept: list[Tensor]) -> None:
    for tensor, before in zip(tensors, kept, strict=True):
        tensor.copy_(before)


def _close(values: Tensor, expected: Tensor) -> bool:
    """Whether they are equal but for rounding, by the largest of those expected."""
    values, expected = values.double(), expected.double()
    most = CLOSE * float(expected.abs().max()) if expected.numel() else 0.0
    return torch.allclose(values, expected, rtol=CLOSE, atol=most)
