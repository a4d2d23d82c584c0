"""Gradients of batches of one shape as a CUDA graph: one launch instead of some thirty.

At small batch sizes a GPU waits for its operators to be launched. A graph runs the same kernels
on the same memory again, so a batch is copied to where the recorded one was.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

AFTER = 16  # batches of a shape: whoever takes fewer has nothing from a recording
MOST_SAMPLES = 1024  # of all replicates; beyond, launching is a small part of a step
WARM_UPS = 3  # on a stream of their own, as torch asks for before it records
CLOSE = 1e-3


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
        self._seen[size] += 1
        if self._seen[size] == AFTER and batch.numel() <= MOST_SAMPLES and not self._off:
            self._record(batch)

    def taken_seconds(self) -> float:
        """Seconds of recording since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds

    def _record(self, batch: Tensor) -> None:
        """Record how the gradients of this batch were taken, and hold the recording to them.

        Where it cannot be recorded, or gives anything else, there is no recording any more.
        """
        torch.cuda.synchronize()
        began = time.perf_counter()
        kept = [tensor.clone() for tensor in (self._gradient, *self._buffers)]
        self._off = True
        with contextlib.suppress(RuntimeError):
            place = batch.clone()
            graph = self._graph(place)
            graph.replay()
            if torch.allclose(self._gradient, kept[0], rtol=CLOSE, atol=CLOSE * _largest(kept[0])):
                self._recorded[batch.shape[1]] = place, graph
                self._off = False
        for tensor, before in zip((self._gradient, *self._buffers), kept, strict=True):
            tensor.copy_(before)
        torch.cuda.synchronize()
        self.seconds += time.perf_counter() - began

    def _graph(self, place: Tensor) -> torch.cuda.CUDAGraph:
        aside, present = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(present)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._take(place)
        present.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._take(place)
        return graph


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
