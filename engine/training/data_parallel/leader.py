"""Rank 0 of a data-parallel training: divides each batch, and sums the gradients of all ranks.

The other ranks hold images and a network, and receive the weights for every gradient. So they have
no state that could differ; only rank 0 has optimizer, instruments and checkpoints.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    LOST,
    TASK,
    Exchange,
    ExchangeMessage,
    GradientTask,
    TeamLost,
    loopback,
)
from batchscope.engine.training.peak_memory import ran_out


class Team:
    """The workers that divide every batch of a trial; this process is rank 0.

    Args:
        size: number of workers.
        exchange: communicates with them.
        ranks: the processes of the others, if this one has started them.

    Attributes:
        size: number of workers.
        broken: whether the others may wait for a message that will never come.
    """

    def __init__(self, size: int, exchange: Exchange, ranks: Ranks | None) -> None:
        self.size, self.broken = size, False
        self._exchange, self._ranks = exchange, ranks

    def begin(self, trial: Trial, plan: Plan, data: Prepared) -> None:
        """Send the trial to the other ranks, before its first gradient."""
        task = msgspec.json.encode(GradientTask(trial, plan, data))
        with _explained(self._ranks):
            self._exchange.announce(ExchangeMessage(TASK, len(task)))
            self._exchange.broadcast_bytes(len(task), task)
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
        """Compute the gradient of the loss summed over a batch.

        Args:
            weights: shape (1, P).
            gradient: the result, shape (1, P).
            batch: indices of the images, shape (1, B).
            cut: the micro-batch size.
            own: computes the gradient of a share (1, b) into `gradient`, on this rank.
            measured: whether to measure the squared norm of each share's gradient.

        Returns:
            With `measured`, Σ |gᵢ|²/bᵢ over the shares, shape (1,), float64; `parts` returns the
            number of shares. Otherwise None.

        Raises:
            TeamLost: another rank is gone.
        """
        count = batch.shape[1]
        with _explained(self._ranks):
            self._exchange.announce(ExchangeMessage(GRADIENT, count, cut, int(measured)), batch[0])
            self._exchange.broadcast(weights)
        part = batch[:, share_of(count, self.size, 0)]
        try:
            own(part)
        except (RuntimeError, MemoryError) as error:
            # the gradients of the others are still received, so that all ranks can try again
            if not ran_out(error):
                self.broken = True
                raise
            self._sum(gradient, part.shape[1], measured)
            raise
        return self._sum(gradient, part.shape[1], measured)

    def _sum(self, gradient: Tensor, count: int, measured: bool) -> Tensor | None:
        squares = mean_square(gradient, count) if measured else None
        with _explained(self._ranks):
            self._exchange.reduce_sum(gradient)
            if squares is None:
                return None
            self._exchange.reduce_sum(squares)
        return squares.to(gradient.device)

    def parts(self, count: int) -> int:
        """Return the number of workers with a share of a batch of `count` images."""
        return sum(size > 0 for size in shares(count, self.size))

    def end(self) -> None:
        """End the other ranks."""
        if not self.broken:
            self._exchange.announce(ExchangeMessage(END))
        if self._ranks is not None:
            self._ranks.end()
        self._exchange.close()


def mean_square(gradient: Tensor, count: int) -> Tensor:
    """Return |g|²/b for the gradient g of a loss summed over b images; 0 if b is 0.

    Args:
        gradient: g, shape (1, P).
        count: b.

    Returns:
        Shape (1,), float64, on the CPU.
    """
    if not count:
        return torch.zeros(1, dtype=torch.float64)
    length = torch.linalg.vector_norm(gradient, dim=-1).double()
    squared: Tensor = (length**2 / count).cpu()
    return squared


@contextmanager
def _explained(ranks: Ranks | None) -> Iterator[None]:
    """Give a `TeamLost` the reason that is known of the processes, if any."""
    try:
        yield
    except TeamLost as error:
        why = ranks.fault() if ranks is not None else ""
        raise (TeamLost(f"{LOST}: {why}") if why else error) from None


def start_team(
    size: int,
    given: TeamSpec,
    device: str,
    silence: float,
    lost: Callable[[str], None],
) -> Team:
    """Return a team of `size` workers.

    Args:
        size: number of workers.
        given: the rendezvous at which the others wait; without one they are started here.
        device: device of this worker.
        silence: the seconds without an answer after which a worker that was started here is lost.
        lost: called in another thread, with the reason, as soon as one of these is lost. What this
            thread waits for may then never come, such as a worker that was to be met.

    Raises:
        MachineProblem: the workers at the rendezvous are not `size`.
        TeamLost: a worker did not start, or was lost.
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
    try:
        with tempfile.TemporaryDirectory(
            prefix="batchscope-", ignore_cleanup_errors=True
        ) as folder:  # mode 0700
            meeting = f"{FILE}{Path(folder) / 'meeting'}"

            def gone(why: str) -> None:
                shutil.rmtree(folder, ignore_errors=True)  # `lost` may end the process
                lost(f"{LOST}: {why}")

            ranks = Ranks(meeting, size, devices, given.apart, silence, gone)
            missing = ranks.wait_until_ready()
            try:
                if missing:
                    raise TeamLost(f"{LOST}: {missing}")
                with _explained(ranks):
                    return Team(size, Exchange(meeting, 0, size, ours, given.apart), ranks)
            except BaseException:
                ranks.end()
                raise
    except OSError as error:  # too many files or processes, or no room for the folder
        raise TeamLost(f"a worker of this trial could not be started: {error}") from None
