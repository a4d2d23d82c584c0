"""What the workers of one trial say to each other: the same calls in the same order on all sides.

Rank 0 leads. A message is a few numbers and the indices of a batch; the weights then go to all, and
the sum of the gradients comes back to rank 0. All of it is by `torch.distributed`: gloo, and nccl
for what lies on GPUs where every rank has one of its own.
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
"""How long rank 0 waits for the others, who have as much to do as itself."""
FOR_EVER = timedelta(days=30)
"""How long the others wait: rank 0 may hold still, and they end with it."""

END, TASK, GRADIENT = 0, 1, 2


class TeamLost(Exception):
    """The workers of one trial are no longer together: it needs a new team."""


class ExchangeMessage(NamedTuple):
    """What comes next: nothing any more, a task of `size` bytes, or a gradient of `size` images.

    It is taken in micro-batches of `cut`; `measured` asks for the square of its length too.
    """

    kind: int
    size: int = 0
    cut: int = 0
    measured: int = 0


class GradientTask(Struct, frozen=True):
    """The trial whose gradients are asked for from now on."""

    trial: Trial
    plan: Plan
    data: Prepared


def loopback() -> dict[str, str]:
    """The environment that has the ranks of one machine speak over its loopback interface alone."""
    name = "lo0" if sys.platform == "darwin" else "lo"
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}


class Exchange:
    """The collectives of one rank.

    It meets the other ranks at the `rendezvous`: `file://PATH` or `tcp://HOST:PORT`. With `apart`
    every rank has a GPU of its own.

    Raises:
        TeamLost: here as in every call, once one of the others is gone or does not answer.
    """

    def __init__(
        self, rendezvous: str, rank: int, size: int, device: torch.device, apart: bool
    ) -> None:
        self._apart = apart and device.type == "cuda"
        self._control = torch.zeros(len(ExchangeMessage._fields), dtype=torch.int64)
        self._staged: dict[int, Tensor] = {}
        with _together():
            dist.init_process_group(
                NCCL if self._apart else GLOO,
                init_method=rendezvous,
                rank=rank,
                world_size=size,
                timeout=PATIENCE if rank == 0 else FOR_EVER,
            )
            self._meet()

    def make_room(self, most: int) -> None:
        """From the next message on, a batch of up to so many images goes with it."""
        self._control = torch.zeros(len(ExchangeMessage._fields) + most, dtype=torch.int64)

    def announce(self, message: ExchangeMessage, batch: Tensor | None = None) -> None:
        """Tell the others what comes next, with the indices (B,) of a batch."""
        numbers = len(ExchangeMessage._fields)
        self._control[:numbers].copy_(torch.tensor(message))
        if batch is not None and not self._apart:
            self._control[numbers : numbers + len(batch)].copy_(batch)
        with _together():
            dist.broadcast(self._control, 0)
            if batch is not None and self._apart:  # from card to card: nobody waits for the device
                dist.broadcast(batch.contiguous(), 0)

    def hear(self, device: torch.device) -> tuple[ExchangeMessage, Tensor]:
        """What comes next, and the indices (B,) of the batch on the device."""
        numbers = len(ExchangeMessage._fields)
        with _together():
            dist.broadcast(self._control, 0)
            message = ExchangeMessage(*self._control[:numbers].tolist())
            batch = self._control[numbers : numbers + message.size].to(device)
            if message.kind == GRADIENT and self._apart:
                dist.broadcast(batch, 0)
        return message, batch

    def text(self, count: int, said: bytes | None = None) -> bytes:
        """So many bytes from rank 0, who says them."""
        content = torch.zeros(count, dtype=torch.uint8)
        if said is not None:
            content.copy_(torch.frombuffer(bytearray(said), dtype=torch.uint8))
        with _together():
            dist.broadcast(content, 0)
        return content.numpy().tobytes()

    def spread(self, weights: Tensor) -> None:
        """Put the weights of rank 0 into those of all, of the same shape."""
        with self._carried(weights) as wire, _together():
            dist.broadcast(wire, 0)

    def add_up(self, values: Tensor) -> None:
        """Leave the sum over the ranks in rank 0's values; the others' are spoilt.

        gloo and nccl add in an order that the number of ranks and of values decides, so the same
        summands give the same bits.
        """
        with self._carried(values) as wire, _together():
            dist.reduce(wire, 0)

    def leave(self) -> None:
        """Be no longer part of the group."""
        dist.destroy_process_group()

    def _meet(self) -> None:
        """Wait until all are there, so that nobody looks for the rendezvous any more."""
        dist.broadcast(torch.zeros(1), 0)
        dist.reduce(torch.zeros(1), 0)

    @contextmanager
    def _carried(self, values: Tensor) -> Iterator[Tensor]:
        """The values where the backend takes them, and back again."""
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
def _together() -> Iterator[None]:
    """Whatever the backend says, without the others there is no going on."""
    try:
        yield
    except RuntimeError as error:
        raise TeamLost(f"the workers of this trial lost each other: {_said(error)}") from error


def _said(error: RuntimeError) -> str:
    """What a backend says first, without where in its source."""
    text = " ".join(str(error).split())
    return re.sub(r"^\[\S+\] ", "", text).partition(". ")[0]
