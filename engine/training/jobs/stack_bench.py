"""Times steps of stacks of replicates of several sizes, on copies of trials that are discarded."""

import time
from statistics import median

import torch

from batchscope.engine.journal.events import Paced
from batchscope.engine.planning.micro_batch import usable
from batchscope.engine.planning.plan import for_members
from batchscope.engine.planning.stacking import StackTiming
from batchscope.engine.processes import orders
from batchscope.engine.training.batches import TrainingData, epoch_order
from batchscope.engine.training.cancellation import IsHalted, never, raise_if
from batchscope.engine.training.jobs.micro_batch_bench import limit_of
from batchscope.engine.training.peak_memory import measured, ran_out
from batchscope.engine.training.trainer.train_step import UNMEASURED, Stepper

ROUNDS = 5
SHORT_SECONDS = 0.002  # short steps are timed several at once, for about so long
BATCHES = 64
HOPELESS = 2  # so many sizes in a row that gain nothing end the search


def pace(
    order: orders.Pace,
    images: TrainingData,
    device: torch.device,
    worker: int,
    halted: IsHalted = never,
) -> Paced:
    """Time the stacks of an order, as far as memory and time allow.

    Args:
        order: the trials, the sizes of stacks, and the seconds to spend.
        images: the data set.
        device: where to run.
        worker: number of the worker.
        halted: returns whether to stop early.

    Raises:
        Halted: `halted` returned True.
    """
    began = time.perf_counter()
    torch.set_num_threads(order.plan.threads)
    stacks = StackCandidates(order, images, device, halted).run(order.seconds)
    return Paced(
        trial=order.members[0].id,
        worker=worker,
        device_name=order.device_name,
        batch_size=order.plan.largest,
        micro_batch_size=order.plan.micro_batch_size,
        threads=order.plan.threads,
        asked=max(order.stacks),
        stacks=tuple(stacks),
        seconds=time.perf_counter() - began,
        workers=order.workers,
    )


class Runner:
    """One stack that takes steps on real batches, as a training does.

    Attributes:
        size: number of replicates.
        peak_bytes: peak of live tensor bytes in a step.
        seconds: seconds of a step, one entry for each measurement.
    """

    def __init__(
        self, order: orders.Pace, size: int, images: TrainingData, device: torch.device
    ) -> None:
        members, self._device, self._images = order.members[:size], device, images
        self.size, self.seconds, self.peak_bytes = size, list[float](), 0
        self._stepper = Stepper(members, for_members(order.plan, members), images, device)
        drawn = torch.stack([epoch_order(images.train_size, one.seed, 1) for one in members])
        most = BATCHES * order.plan.largest
        batches = torch.split(images.of_training(drawn.to(device))[:, :most], order.plan.largest, 1)
        self._batches = batches[:-1] or batches  # the last may be smaller
        self._steps, self._at_once = 0, 1

    def warm_up(self) -> None:
        """Take the first step, which is slow, and measure the memory of the second."""
        self._step()
        with measured(self._device, [*self._images.held(), *self._stepper.held()]) as peak:
            self._step()
        self.peak_bytes = peak.bytes + self._stepper.instrument_bytes
        once = self._timed(1)
        self._at_once = max(1, int(SHORT_SECONDS / max(once, 1e-6)))

    def time(self) -> None:
        """Add one measurement of the seconds of a step."""
        self.seconds.append(self._timed(self._at_once))

    def _timed(self, count: int) -> float:
        began = self._now()
        for _ in range(count):
            self._step()
        return (self._now() - began) / count

    def _step(self) -> None:
        batch = self._batches[self._steps % len(self._batches)]
        if self._stepper.step(batch, UNMEASURED, 0):
            raise MemoryError("memory ran out in a step")
        self._steps += 1
        if self._steps % self._stepper.per_epoch == 0:
            self._stepper.end_epoch()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class StackCandidates:
    """The stacks of an order, tried from the smallest, as long as they are expected to fit."""

    def __init__(
        self, order: orders.Pace, images: TrainingData, device: torch.device, halted: IsHalted
    ) -> None:
        self._order, self._images, self._device, self._halted = order, images, device, halted
        self._limit = usable(limit_of(order.limit_bytes, device))
        self._held = sum(tensor.nbytes for tensor in images.held())
        self._runners: list[Runner] = []
        self._setup_seconds = 0.0  # for one replicate: to set it up and try it

    def run(self, seconds: float) -> list[StackTiming]:
        """Return the timings; `seconds` start after the first stack, when torch is loaded."""
        deadline = float("inf")
        for size in self._order.stacks:
            began = time.perf_counter()
            if self._runners and not self._is_promising(size, began, deadline):
                break
            runner = self._try_size(size)
            if runner is None:
                break
            if self._runners:
                self._setup_seconds = (time.perf_counter() - began) / size
            else:
                deadline = time.perf_counter() + seconds
            self._runners.append(runner)
        rounds = 0
        while time.perf_counter() < deadline and (self._order.workers or rounds < ROUNDS):
            for runner in self._runners:
                raise_if(self._halted)
                runner.time()
            rounds += 1
        # alone, only other programs slow a step down, so the shortest time is the best estimate
        typical = median if self._order.workers else min
        return [
            StackTiming(one.size, typical(one.seconds), one.peak_bytes) for one in self._runners
        ]

    def _is_promising(self, size: int, now: float, deadline: float) -> bool:
        """Return whether a size should be tried.

        It must be expected to fit in memory and in time, and at least one of the last `HOPELESS`
        sizes must have been faster than single replicates in sequence.
        """
        first, recent = self._runners[0], self._runners[1:][-HOPELESS:]
        fits = self._held + size * (first.peak_bytes - self._held) <= self._limit
        in_time = now + size * self._setup_seconds <= deadline
        lost = [min(one.seconds) >= one.size * min(first.seconds) for one in recent]
        return fits and in_time and not (len(lost) == HOPELESS and all(lost))

    def _try_size(self, size: int) -> Runner | None:
        """Return a stack that has taken its first steps; None if memory ran out."""
        raise_if(self._halted)
        try:
            runner = Runner(self._order, size, self._images, self._device)
            runner.warm_up()
            for each in (runner, *self._runners[:1], runner, runner):
                each.time()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        else:
            return runner
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None
