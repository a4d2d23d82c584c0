"""Rank 0's side of a data-parallel training: the others take gradients, and know nothing else.

They hold images and a network, and are sent the weights for every gradient. So there is nothing to
keep in step but the exchange itself, and optimizer, instruments and checkpoints are rank 0's alone.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import MachineProblem
from batchscope.engine.planning.plan import Plan, share_of, shares
from batchscope.engine.processes.orders import TeamSpec
from batchscope.engine.processes.rank_processes import Ranks
from batchscope.engine.spec import Trial
from batchscope.engine.training.data_parallel.exchange import (
    END,
    FILE,
    GRADIENT,
    TASK,
    Exchange,
    ExchangeMessage,
    GradientTask,
    TeamLost,
    loopback,
)
from batchscope.engine.training.peak_memory import ran_out


class Team:
    """So many workers, this process the first, who divide every batch among them.

    `ranks` are the processes of the others, where this one started them.

    Attributes:
        size: how many they are.
        broken: whether one of them may wait for what will never come.
    """

    def __init__(self, size: int, exchange: Exchange, ranks: Ranks | None) -> None:
        self.size, self.broken = size, False
        self._exchange, self._ranks = exchange, ranks

    def begin(self, trial: Trial, plan: Plan, data: Prepared) -> None:
        """Have the others make ready for the gradients of a trial."""
        said = msgspec.json.encode(GradientTask(trial, plan, data))
        self._exchange.announce(ExchangeMessage(TASK, len(said)))
        self._exchange.text(len(said), said)
        self._exchange.make_room(plan.largest)

    def gradient(
        self,
        weights: Tensor,
        gradient: Tensor,
        batch: Tensor,
        cut: int,
        own: Callable[[Tensor], None],
        measured: bool = False,
    ) -> Tensor | None:
        """Leave in `gradient` (1, P) that of the loss summed over a batch, indices (1, B).

        `own` leaves there that of a share, (1, b). With `measured` the answer is Σ |gᵢ|²/bᵢ over
        the shares, (1,) in float64, of which there are as many as `parts` says.

        Raises:
            TeamLost: one of the others is gone.
        """
        count = batch.shape[1]
        self._exchange.announce(ExchangeMessage(GRADIENT, count, cut, int(measured)), batch[0])
        self._exchange.spread(weights)
        part = batch[:, share_of(count, self.size, 0)]
        try:
            own(part)
        except (RuntimeError, MemoryError) as error:
            # what the others send is taken, so that all stand where they stood before
            if not ran_out(error):
                self.broken = True
                raise
            self._sum(gradient, part.shape[1], measured)
            raise
        return self._sum(gradient, part.shape[1], measured)

    def _sum(self, gradient: Tensor, count: int, measured: bool) -> Tensor | None:
        squares = mean_square(gradient, count) if measured else None
        self._exchange.add_up(gradient)
        if squares is None:
            return None
        self._exchange.add_up(squares)
        return squares.to(gradient.device)

    def parts(self, count: int) -> int:
        """How many of the workers have any of so many images."""
        return sum(size > 0 for size in shares(count, self.size))

    def end(self) -> None:
        """Let the others go."""
        if not self.broken:
            self._exchange.announce(ExchangeMessage(END))
        if self._ranks is not None:
            self._ranks.end()
        self._exchange.leave()


def mean_square(gradient: Tensor, count: int) -> Tensor:
    """|g|²/b of the gradient g (1, P) of a loss summed over b images, (1,) in float64 on the CPU.

    Of none it is 0.
    """
    if not count:
        return torch.zeros(1, dtype=torch.float64)
    length = torch.linalg.vector_norm(gradient, dim=-1).double()
    squared: Tensor = (length**2 / count).cpu()
    return squared


def start_team(size: int, given: TeamSpec, device: str) -> Team:
    """A team of so many: those that wait at the rendezvous given, or processes of our own.

    Raises:
        TeamLost: it did not come together.
    """
    ours = torch.device(device)
    if given.rendezvous:
        if given.size != size:
            raise MachineProblem(
                f"run.data_parallel = {size}: this worker's team was started with {given.size}"
            )
        return Team(size, Exchange(given.rendezvous, 0, size, ours, given.apart), None)
    os.environ.update(loopback())
    devices = given.devices or (device,)
    with tempfile.TemporaryDirectory(prefix="batchscope-") as folder:  # mode 0700
        meeting = f"{FILE}{Path(folder) / 'meeting'}"
        ranks = Ranks(meeting, size, devices, given.apart)
        missing = ranks.missing()
        if missing is not None:
            ranks.end()
            raise TeamLost(f"worker {missing} of {size} of this trial did not start")
        return Team(size, Exchange(meeting, 0, size, ours, given.apart), ranks)
