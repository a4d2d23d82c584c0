"""Runs real steps at increasing micro-batch sizes, and measures memory and speed of each.

The steps run on a copy of a group that is discarded, before the group's first step.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from msgspec.structs import replace

from batchscope.engine.journal.events import MicroBatchesMeasured
from batchscope.engine.networks.architectures import images_together
from batchscope.engine.planning.batch_norm import pieces
from batchscope.engine.planning.micro_batch import Shape, fits, next_size, usable
from batchscope.engine.planning.plan import EVALUATION_BATCH_SIZE, LEAST_SECONDS, MOST_SHARE, Plan
from batchscope.engine.planning.random_forward import same_in_parts
from batchscope.engine.processes import orders
from batchscope.engine.schedule.course import totals
from batchscope.engine.spec import Settings, Trial
from batchscope.engine.training.batches import TrainingData
from batchscope.engine.training.cancellation import IsHalted, never, raise_if
from batchscope.engine.training.model.passes import Classifier
from batchscope.engine.training.peak_memory import measured, ran_out
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.evaluation import evaluate, evaluate_task
from batchscope.engine.training.trainer.train_step import Stepper

ROUNDS = 7
ROUNDS_ALONE = 3  # for a single size: no comparison is needed, but the first round is slow
PROMISING = 0.8  # sizes slower than this share of the fastest are not timed again
CLOSE = 0.9  # after each round, sizes slower than this share of the fastest leave
LONG_SECONDS = 0.02  # for longer steps the cost of measuring memory is negligible
FORWARD_SHARE = 0.5  # time of an evaluated image as a share of a step's time per image


def measure(
    order: orders.Measure, images: TrainingData, device: torch.device, halted: IsHalted = never
) -> MicroBatchesMeasured:
    """Measure the micro-batch sizes of an order, within the free memory of the device.

    Args:
        order: the trials, the plan, the memory limit and the seconds to spend.
        images: the data set.
        device: where to run.
        halted: returns whether to stop early.

    Raises:
        Halted: `halted` returned True.
    """
    began = time.perf_counter()
    torch.set_num_threads(order.plan.threads)
    limit = limit_of(order.limit_bytes, device)
    bench = Bench(order.members, order.plan, images, device, limit, halted)
    shapes = bench.shapes(order.seconds)
    size, peak = bench.evaluation()
    return MicroBatchesMeasured(
        trial=order.members[0].id,
        device=str(device),
        device_name=order.device_name,
        batch_size=order.plan.largest,
        asked_bytes=order.asked_bytes,
        limit_bytes=limit,
        held_bytes=bench.held_bytes,
        shapes=tuple(shapes),
        evaluation_batch_size=size,
        evaluation_peak_bytes=peak,
        seconds=time.perf_counter() - began,
        longest=bench.longest,
    )


def _longest(settings: Settings, order: torch.Tensor) -> torch.Tensor:
    """Return the numbers of the longest samples to train on, longest first; none if unknown."""
    facts = settings.task.facts if settings.task else None
    known = torch.tensor(facts.longest if facts else (), dtype=order.dtype, device=order.device)
    return known[torch.isin(known, order)]  # some may be held out for validation


def limit_of(asked: int | None, device: torch.device) -> int:
    """Return the memory limit in bytes; on a GPU at most what is free or held by this process."""
    if device.type != "cuda":
        assert asked is not None, "on a CPU the conductor always sends a limit"
        return asked
    free, _ = torch.cuda.mem_get_info(device)
    most = free + torch.cuda.memory_reserved(device)
    return most if asked is None else min(asked, most)


class Bench:
    """Runs a group's step at several micro-batch sizes that are expected to fit in memory.

    Args:
        members: the replicates.
        plan: batch size, threads and precision.
        images: the data set.
        device: where to run.
        limit: memory limit in bytes.
        halted: returns whether to stop early.

    Attributes:
        longest: number of samples that are known as the longest of a task. Memory is measured on
            these first, because a batch of them must fit too; speed is measured on others.
    """

    def __init__(
        self,
        members: Sequence[Trial],
        plan: Plan,
        images: TrainingData,
        device: torch.device,
        limit: int,
        halted: IsHalted = never,
    ) -> None:
        self._stepper, settings = Stepper(members, plan, images, device), members[0].settings
        for group in self._stepper.optimizer.param_groups:
            group["lr"] = 0.0  # no divergence: arithmetic with denormal numbers is slow
        self._images, self._device, self._limit = images, device, limit
        self._halted = halted
        self._batch_size = plan.largest
        self._counts = pieces(settings, images.train_size)
        self._together = images_together(settings.model)
        self._exact = same_in_parts(settings)
        named = settings.memory.micro_batch_size != "auto"
        self._only = plan.micro_batch_size if named else None
        whole = totals(settings, images.train_size)
        self._samples = whole and whole.samples
        order = images.of_training(torch.arange(images.train_size, device=device))
        self._order = order.expand(len(members), -1)
        longest = _longest(settings, order)
        self.longest, self._heaviest = len(longest), self._order
        if self.longest:
            rest = order[~torch.isin(order, longest)]
            self._heaviest = torch.cat([longest, rest]).expand(len(members), -1)
        self._shapes: dict[int, Shape] = {}
        self._gradient_seconds: dict[int, list[float]] = {}
        self._update_seconds: list[float] = []

    @property
    def held_bytes(self) -> int:
        """Live bytes between two steps: data, weights, gradient, optimizer and instruments."""
        with measured(self._device, self._held()) as peak:
            pass
        return peak.bytes

    def shapes(self, seconds: float) -> list[Shape]:
        """Return every micro-batch size that was run, smallest first.

        The search exceeds its time until a size fits. Where the result depends on the micro-batches
        (batch norm, dropout) it ends only with the largest size that fits, so that the choice does
        not depend on the speed of the machine. The first size is not counted, because torch loads
        code during it.

        Args:
            seconds: estimated time to spend; corrected as soon as the speed was measured.
        """
        began = None
        while size := self._next():
            late = began and time.perf_counter() + self._cost(size) > began + self._allowed(seconds)
            fitting = self._fitting()
            if fitting and (late if self._exact else self._batch_size in fitting):
                break
            self._execute(size)
            began = began or time.perf_counter()
        if began:
            self._take_turns(began + self._allowed(seconds))
        return [self._shapes[size] for size in sorted(self._shapes)]

    def _allowed(self, seconds: float) -> float:
        """Return the seconds for micro-batches, without evaluation, from the best speed so far."""
        pace = max((one.samples_per_second for one in self._fitting().values()), default=0.0)
        if not pace:
            return seconds
        allowed = seconds
        if self._samples is not None:
            allowed = min(seconds, max(LEAST_SECONDS, MOST_SHARE * self._samples / pace))
        images = 2 * min(EVALUATION_BATCH_SIZE, len(self._images.train_part))
        return allowed - min(allowed / 3, images / pace * FORWARD_SHARE)

    def _cost(self, size: int) -> float:
        """Return the seconds that running a size may take."""
        once = self._expected_seconds(size)
        return once * min(2.0, self._batch_size / size) + (once if once < LONG_SECONDS else 0.0)

    def evaluation(self) -> tuple[int, int]:
        """Return the largest evaluation batch size that fits, by halving, and its peak in bytes."""
        size = min(EVALUATION_BATCH_SIZE, len(self._images.train_part))
        while True:
            peak = self._evaluate(size)
            if size == 1 or (peak is not None and peak <= usable(self._limit)):
                return size, peak or 0
            size //= 2

    def _next(self) -> int | None:
        """Return the next size to run: that of the preset, or the one `next_size` proposes."""
        if self._only is not None:
            return None if self._shapes else self._only
        tried = list(self._shapes.values())
        return next_size(
            self._batch_size,
            tried,
            limit=self._limit,
            held=self.held_bytes,
            counts=self._counts,
            together=self._together,
        )

    def _fitting(self) -> dict[int, Shape]:
        return {size: shape for size, shape in self._shapes.items() if fits(shape, self._limit)}

    def _execute(self, size: int) -> None:
        """Measure the peak over two micro-batches, since the gradient exists during the second."""
        peaks: list[int] = []
        count = min(2 * size, self._batch_size)

        def step() -> None:
            with measured(self._device, self._held()) as peak:
                gradient, update = self._step(size, count, self._heaviest)
            peaks.append(peak.bytes)
            # measuring memory has not slowed it down noticeably
            if gradient > LONG_SECONDS and not self.longest:
                self._note(size, gradient * size / count, update)

        first = not self._shapes  # the optimizer creates its state in the first step
        self._shapes[size] = Shape(size, failed="out of memory")
        if first and not self._fits(lambda: self._step(size, count, self._heaviest)):
            return
        if self._fits(step) and (
            size in self._gradient_seconds or self._fits(lambda: self._time(size))
        ):
            pace = self._samples_per_second(size)
            self._shapes[size] = Shape(size, peaks[0] + self._stepper.instrument_bytes, pace)

    def _fits(self, work: Callable[[], object]) -> bool:
        """Run some work; if memory runs out, free it and return False."""
        raise_if(self._halted)
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        else:
            return True
        if self._device.type == "cuda":  # only here, because the error referred to tensors
            torch.cuda.empty_cache()
        return False

    def _step(self, size: int, count: int, order: torch.Tensor) -> tuple[float, float]:
        """Take a step on the first `count` samples of an order (R, N).

        Returns:
            The seconds of its gradient and of its update.
        """
        self._stepper.micro_batch_size = size
        began = self._now()
        self._stepper.gradient(order[:, :count])
        between = self._now()
        self._stepper.update(self._stepper.unmeasured(count))
        self._stepper.end_epoch()
        return between - began, self._now() - between

    def _time(self, size: int) -> None:
        """Time a step on a batch of one micro-batch."""
        self._note(size, *self._step(size, size, self._order))

    def _note(self, size: int, gradient: float, update: float) -> None:
        self._gradient_seconds.setdefault(size, []).append(gradient)
        self._update_seconds.append(update)

    def _take_turns(self, deadline: float) -> None:
        """Time the promising sizes in turn, so that changes of the machine's speed affect all."""
        good = self._fitting()
        best = max((one.samples_per_second for one in good.values()), default=0.0)
        # the largest is always timed, because the others are compared with it
        sizes = [
            size
            for size, one in good.items()
            if one.samples_per_second >= PROMISING * best or size == max(good)
        ]
        for rounds in range(1, (ROUNDS if len(sizes) > 1 else ROUNDS_ALONE) + 1):
            if time.perf_counter() + sum(map(self._expected_seconds, sizes)) > deadline:
                return
            for size in sizes:
                if not self._fits(lambda size=size: self._time(size)):  # type: ignore[misc]
                    self._shapes[size] = Shape(size, failed="out of memory")
                    return
            for size in sizes:
                self._shapes[size] = replace(
                    self._shapes[size],
                    samples_per_second=self._samples_per_second(size),
                    rounds=rounds,
                )
            sizes = self._close(sizes)

    def _close(self, sizes: list[int]) -> list[int]:
        """Return the sizes close to the fastest, and the largest, to time them more often."""
        paces = {size: self._shapes[size].samples_per_second for size in sizes}
        least = CLOSE * max(paces.values(), default=0.0)
        return [size for size in sizes if paces[size] >= least or size == max(sizes)]

    def _expected_seconds(self, size: int) -> float:
        known = [s for s in self._gradient_seconds if s <= size]
        if not known:
            return 0.0
        nearest = max(known)
        return self._gradient_seconds[nearest][-1] * size / nearest

    def _samples_per_second(self, size: int) -> float:
        """Return the speed in samples per second of whole steps: all gradients and one update."""
        parts = self._batch_size / size
        gradients = parts * median(self._gradient_seconds[size])
        return self._batch_size / (gradients + median(self._update_seconds))

    def _evaluate(self, size: int) -> int | None:
        """Return the peak over two batches of the training part; None if memory ran out."""
        images, peaks = self._images, list[int]()
        samples = self._heaviest[0] if self.longest else images.train_part
        parts = torch.split(samples[: 2 * size], size)

        def work() -> None:
            with measured(self._device, self._held()) as peak:
                gathered = (images.samples.batch(part) for part in parts)
                if isinstance(images, TaskDataset):
                    evaluate_task(images.task, self._stepper.stack.members[0], gathered)
                else:
                    passes = self._stepper.stack.passes
                    assert isinstance(passes, Classifier)
                    evaluate(passes, gathered)
            peaks.append(peak.bytes)

        return peaks[0] if self._fits(work) else None

    def _held(self) -> list[torch.Tensor]:
        orders = [self._order, self._heaviest] if self.longest else [self._order]
        return [*self._images.held(), *self._stepper.held(), *orders]

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
