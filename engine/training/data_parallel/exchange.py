"""The collective communication of the workers of one trial.

All ranks make the same calls in the same order, and rank 0 leads. It broadcasts a message of a few
numbers and the indices of a batch, then the weights; the sum of the gradients is reduced to rank 0.
The backend of `torch.distributed` is gloo, and nccl for tensors on GPUs if every rank has a GPU of
its own.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from msgspec import Struct
from torch import Tensor

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial

FILE = "file://"
GLOO, NCCL = "gloo", "cpu:gloo,cuda:nccl"
PATIENCE = timedelta(minutes=2)
"""How long rank 0 waits for the others, which have as much to compute as rank 0."""
FOR_EVER = timedelta(days=30)
"""How long the others wait: rank 0 may be paused, and when it ends they end too."""

END, TASK, GRADIENT = 0, 1, 2
LOST = "the workers of this trial lost each other"


class TeamLost(Exception):
    """A worker of the trial is gone or does not answer; the trial needs a new team."""


class ExchangeMessage(NamedTuple):
    """Announces the next operation.

    Attributes:
        kind: END, TASK or GRADIENT.
        size: bytes of a task, or images of the batch of a gradient.
        cut: the micro-batch size of a gradient.
        measured: 1 if the squared norm of each share's gradient is wanted too, else 0.
    """

    kind: int
    size: int = 0
    cut: int = 0
    measured: int = 0


class GradientTask(Struct, frozen=True):
    """The trial that the next gradients belong to."""

    trial: Trial
    plan: Plan
    data: Prepared


def loopback() -> dict[str, str]:
    """Return the environment that limits the ranks of one machine to its loopback interface."""
    name = "lo0" if sys.platform == "darwin" else "lo"
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}


class Exchange:
    """The collective operations of one rank.

    Args:
        rendezvous: where the ranks meet, `file://PATH` or `tcp://HOST:PORT`.
        rank: number of this rank, from 0.
        size: number of ranks.
        device: device of this rank.
        apart: whether every rank has a GPU of its own.

    Raises:
        TeamLost: another rank is gone or does not answer; every method may raise it too.
    """

    def __init__(
        self, rendezvous: str, rank: int, size: int, device: torch.device, apart: bool
    ) -> None:
        self._apart = apart and device.type == "cuda"
        self._control = torch.zeros(len(ExchangeMessage._fields), dtype=torch.int64)
        self._staged: dict[int, Tensor] = {}
        with _losses_raised():
            dist.init_process_group(
                NCCL if self._apart else GLOO,
                init_method=rendezvous,
                rank=rank,
                world_size=size,
                timeout=PATIENCE if rank == 0 else FOR_EVER,
            )
            self._meet()

    def make_room(self, most: int) -> None:
        """Send batches of up to `most` images with the messages, from the next message on."""
        self._control = torch.zeros(len(ExchangeMessage._fields) + most, dtype=torch.int64)

    def announce(self, message: ExchangeMessage, batch: Tensor | None = None) -> None:
        """Broadcast the next operation from rank 0.

        Args:
            message: the operation.
            batch: indices of the images of a gradient's batch, shape (B,).
        """
        numbers = len(ExchangeMessage._fields)
        self._control[:numbers].copy_(torch.tensor(message))
        if batch is not None and not self._apart:
            self._control[numbers : numbers + len(batch)].copy_(batch)
        with _losses_raised():
            dist.broadcast(self._control, 0)
            if batch is not None and self._apart:  # from GPU to GPU, without waiting for either
                dist.broadcast(batch.contiguous(), 0)

    def receive(self, device: torch.device) -> tuple[ExchangeMessage, Tensor]:
        """Wait for the next operation, and return it with the indices (B,) of its batch."""
        numbers = len(ExchangeMessage._fields)
        with _losses_raised():
            dist.broadcast(self._control, 0)
            message = ExchangeMessage(*self._control[:numbers].tolist())
            batch = self._control[numbers : numbers + message.size].to(device)
            if message.kind == GRADIENT and self._apart:
                dist.broadcast(batch, 0)
        return message, batch

    def broadcast_bytes(self, count: int, content: bytes | None = None) -> bytes:
        """Broadcast `count` bytes, and return them; only rank 0 gives the `content`."""
        buffer = torch.zeros(count, dtype=torch.uint8)
        if content is not None:
            buffer.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        with _losses_raised():
            dist.broadcast(buffer, 0)
        return buffer.numpy().tobytes()

    def broadcast(self, weights: Tensor) -> None:
        """Overwrite the weights of all ranks with those of rank 0, of the same shape."""
        with self._staged_copy(weights) as wire, _losses_raised():
            dist.broadcast(wire, 0)

    def reduce_sum(self, values: Tensor) -> None:
        """Write the sum over the ranks into the values of rank 0; those of the others are lost.

        The order in which gloo and nccl add depends only on the number of ranks and values, so the
        same summands give the same bits.
        """
        with self._staged_copy(values) as wire, _losses_raised():
            dist.reduce(wire, 0)

    def close(self) -> None:
        """Leave the process group."""
        dist.destroy_process_group()

    def _meet(self) -> None:
        """Wait for all ranks; after that the rendezvous is not needed any more."""
        dist.broadcast(torch.zeros(1), 0)
        dist.reduce(torch.zeros(1), 0)

    @contextmanager
    def _staged_copy(self, values: Tensor) -> Iterator[Tensor]:
        """Yield the values in memory that the backend can use, and copy them back afterwards."""
        if self._apart or values.device.type == "cpu":
            yield values
            return
        wire = self._staged.setdefault(
            values.numel(), torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        ).view(values.shape)
        wire.copy_(values)
        yield wire
        values.copy_(wire)


@contextmanager
def _losses_raised() -> Iterator[None]:
    """Raise `TeamLost` for any error of the backend: the group cannot be used after one."""
    try:
        yield
    except RuntimeError as error:
        why = _first_sentence(error)
        raise TeamLost(f"{LOST}: {why}") from error


def _first_sentence(error: RuntimeError) -> str:
    """Return the first sentence of a backend's error, without its place in the source."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[\S+\] ", "", text).partition(". ")[0]
