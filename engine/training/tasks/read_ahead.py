"""Has the parts of coming batches read before they are needed, by loader processes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from batchscope.engine.task import Batch
from batchscope.engine.training.tasks.loader_processes import LoaderProcesses

AHEAD = 2
"""Batches on the way for each loader process: one is read, the next waits."""


class Request(NamedTuple):
    """Which samples of a task's data are read as one batch.

    Attributes:
        part: `train`, `validation` or `test`.
        numbers: numbers of the samples.
        seeds: each sample is read with generators seeded by these and its own number.
    """

    part: str
    numbers: tuple[int, ...]
    seeds: tuple[int, ...]


class Awaited(NamedTuple):
    """A request on the way, and the number of the batch that it is a part of."""

    request: Request
    number: int
    content: "Future[Batch]"


class ReadingAhead:
    """Reads the batches of an epoch ahead, part by part, in the order in which they are trained.

    Args:
        loaders: the processes that read.
    """

    def __init__(self, loaders: LoaderProcesses[Request]) -> None:
        self._loaders = loaders
        self._batches: Sequence[Tensor] = ()
        self._seeds: tuple[int, ...] = ()
        self._cut_of: Callable[[], int] = lambda: 1
        self._cut = self._number = 0
        self._awaited = deque[Awaited]()
        self._coming: Iterator[tuple[Request, int]] = iter(())

    @property
    def pids(self) -> list[int]:
        """The ids of the processes."""
        return self._loaders.pids

    def expect(
        self, batches: Sequence[Tensor], cut: Callable[[], int], seeds: tuple[int, ...]
    ) -> None:
        """Begin to read batches; what was expected before is dropped.

        Args:
            batches: numbers of the training samples of each batch, (1, B).
            cut: returns the samples of a part, which may change when memory runs out.
            seeds: see `Request`.
        """
        self._batches, self._cut_of, self._seeds = batches, cut, seeds
        self._begin(0)

    def take(self, request: Request) -> Batch:
        """Return the batch of a request; one that was not expected next is read behind those."""
        if self._batches and self._cut != self._cut_of():
            self._begin(self._number)
        if not self.is_next(request):
            return self._loaders.ask(request).result()
        found = self._awaited.popleft()
        self._number = found.number
        self._fill()
        return found.content.result()

    def is_next(self, request: Request) -> bool:
        """Return whether a request is the next of those that were expected."""
        return bool(self._awaited) and self._awaited[0].request == request

    def all(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """Yield the batches of some requests, beside those that are expected."""
        left, awaited = iter(requests), deque["Future[Batch]"]()
        try:
            for each in islice(left, AHEAD * self._loaders.count):
                awaited.append(self._loaders.ask(each))
            while awaited:
                batch = awaited.popleft().result()
                awaited.extend(self._loaders.ask(each) for each in islice(left, 1))
                yield batch
        finally:
            for content in awaited:
                content.cancel()

    def close(self) -> None:
        """End the processes."""
        self._drop()
        self._loaders.close()

    def _begin(self, number: int) -> None:
        """Read from a batch of this number on, in parts of the present size."""
        self._drop()
        self._number, self._cut = number, self._cut_of()
        self._coming = self._requests(number, self._cut)
        self._fill()

    def _drop(self) -> None:
        while self._awaited:
            self._awaited.pop().content.cancel()

    def _fill(self) -> None:
        for request, number in islice(
            self._coming, max(0, AHEAD * self._loaders.count - len(self._awaited))
        ):
            self._awaited.append(Awaited(request, number, self._loaders.ask(request)))

    def _requests(self, first: int, cut: int) -> Iterator[tuple[Request, int]]:
        for number in range(first, len(self._batches)):
            for part in torch.split(self._batches[number][0], cut):
                yield Request("train", tuple(part.tolist()), self._seeds), number
