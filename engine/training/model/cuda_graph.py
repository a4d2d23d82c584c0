"""Records the gradient computation for a batch shape as a CUDA graph: one launch instead of thirty.

At small batch sizes a GPU waits for its kernels to be launched. A graph runs the same kernels on
the same memory again, so each batch is copied to the place of the recorded one.
"""

import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

AFTER = 16  # batches of a shape before it is recorded: with fewer, recording does not pay
MOST_SAMPLES = 1024  # of all replicates; beyond, launching is a small part of a step
WARM_UPS = 3  # on the stream that records, as torch's documentation requires
CLOSE = 1e-3
EMPTY = "The CUDA Graph is empty"  # how torch's warning about an empty recording begins


class Replay:
    """Computes gradients by calling a function, or by replaying a recording of it.

    Attributes:
        seconds: time spent on recording since the last call of `taken_seconds`.
    """

    def __init__(
        self, take: Callable[[Tensor], None], gradient: Tensor, buffers: list[Tensor]
    ) -> None:
        """Prepare to record a function.

        Args:
            take: computes the gradients of a batch, indices (R, B), and leaves them in `gradient`.
            gradient: shape (R, P).
            buffers: everything else that `take` changes. Recording restores it.
        """
        self._take, self._gradient, self._buffers = take, gradient, buffers
        self._seen: Counter[int] = Counter()
        self._previous: dict[int, Tensor] = {}
        self._recorded: dict[int, tuple[Tensor, torch.cuda.CUDAGraph]] = {}
        self._off = False
        self.seconds = 0.0

    def take(self, batch: Tensor) -> None:
        """Compute the gradients of a batch, indices (R, B)."""
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
        """Return the seconds of recording since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds

    def _record(self, batch: Tensor, other: Tensor) -> None:
        """Record the gradients of a batch, and check the recording with another batch.

        If this fails or gives other gradients, nothing is recorded from then on, and the log says
        why.
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
            # otherwise the gradient of an earlier batch could pass for that of the recording
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
        """Record on a stream of the gradient's device, whichever device is current.

        A recording holds only what is launched on its stream. Torch's default is a stream of the
        device that was current at its first recording.
        """
        device = self._gradient.device
        with torch.cuda.device(device):
            aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            present = torch.cuda.current_stream(device)
            aside.wait_stream(present)
            # this context restores the stream also where the end of a recording raises
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
        """Return everything that computing a gradient changes."""
        return [self._gradient, *self._buffers]

    def _state(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self._state_tensors()]


def _mixed(batch: Tensor, previous: Tensor) -> Tensor:
    """Return a batch that differs from both, even where each of them is the whole data set."""
    mixed = batch.clone()
    mixed[:, ::2] = previous[:, ::2]
    return mixed


def _restore(tensors: list[Tensor], kept: list[Tensor]) -> None:
    for tensor, before in zip(tensors, kept, strict=True):
        tensor.copy_(before)


def _close(values: Tensor, expected: Tensor) -> bool:
    """Return whether values are equal up to rounding, relative to the largest expected value."""
    values, expected = values.double(), expected.double()
    most = CLOSE * float(expected.abs().max()) if expected.numel() else 0.0
    return torch.allclose(values, expected, rtol=CLOSE, atol=most)
