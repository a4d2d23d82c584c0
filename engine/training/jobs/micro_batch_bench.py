"""Runs real steps at rising micro-batch sizes, and measures memory and pace of each.

On a throw-away copy of a group, before its first step: nothing of it remains.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from msgspec.structs import replace

from batchscope.engine.journal.events import MicroBatchesMeasured
from batchscope.engine.networks.architectures import images_together
from batchscope.engine.planning.batch_norm import exact_in_parts, pieces
from batchscope.engine.planning.micro_batch import Shape, fits, next_size, usable
from batchscope.engine.planning.plan import EVALUATION_BATCH_SIZE, LEAST_SECONDS, MOST_SHARE, Plan
from batchscope.engine.processes import orders
from batchscope.engine.schedule.course import totals
from batchscope.engine.spec import Trial
from batchscope.engine.training.batches import Images
from batchscope.engine.training.cancellation import Asked, never, raise_if
from batchscope.engine.training.peak_memory import measured, ran_out
from batchscope.engine.training.trainer.evaluation import evaluate
from batchscope.engine.training.trainer.train_step import Stepper

ROUNDS = 7
ROUNDS_ALONE = 3  # nothing to compare with, but the first time is a slow one
PROMISING = 0.8
CLOSE = 0.9  # of the fastest, in a turn that all have taken
LONG_SECONDS = 0.02
FORWARD_SHARE = 0.5  # of a step's time, evaluated images included that are gathered


def measure(
    order: orders.Measure, images: Images, device: torch.device, halted: Asked = never
) -> MicroBatchesMeasured:
    """Execute what the order asks for, within what the device has free.

    Raises:
        Halted: `halted` said so before the end.
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
    )


def limit_of(asked: int | None, device: torch.device) -> int:
    """The limit asked for in bytes, and on a GPU no more than is free or already ours."""
    if device.type != "cuda":
        assert asked is not None, "on a CPU the conductor says how much there is"
        return asked
    free, _ = torch.cuda.mem_get_info(device)
    most = free + torch.cuda.memory_reserved(device)
    return most if asked is None else min(asked, most)


class Bench:
    """Executes shapes of a group's step, as long as they are expected to keep below `limit`."""

    def __init__(
        self,
        members: Sequence[Trial],
        plan: Plan,
        images: Images,
        device: torch.device,
        limit: int,
        halted: Asked = never,
    ) -> None:
        self._stepper, settings = Stepper(members, plan, images, device), members[0].settings
        for group in self._stepper.optimizer.param_groups:
            group["lr"] = 0.0  # nothing may diverge: numbers next to zero are slow
        self._images, self._device, self._limit = images, device, limit
        self._halted = halted
        self._batch_size = plan.largest
        self._counts = pieces(settings, plan.batch_size, images.train_size)
        self._together = images_together(settings.model)
        self._exact = exact_in_parts(settings)
        named = settings.memory.micro_batch_size != "auto"
        self._only = plan.micro_batch_size if named else None
        whole = totals(settings, images.train_size)
        self._samples = whole and whole.samples
        order = images.of_training(torch.arange(images.train_size, device=device))
        self._order = order.expand(len(members), -1)
        self._shapes: dict[int, Shape] = {}
        self._gradient_seconds: dict[int, list[float]] = {}
        self._update_seconds: list[float] = []

    @property
    def held_bytes(self) -> int:
        """Live between steps: data, weights, gradient, and what else is kept by now."""
        with measured(self._device, self._held()) as peak:
            pass
        return peak.bytes

    def shapes(self, seconds: float) -> list[Shape]:
        """Every micro-batch size that was executed, smallest first.

        It goes on beyond its time until one fits, and where a cut is not exact (batch norm) until
        the whole batch was tried. The first pays for what torch loads, and is not counted.
        `seconds` come of an estimate; once a pace is known they are held to that.
        """
        began = None
        while size := self._next():
            late = began and time.perf_counter() + self._cost(size) > began + self._allowed(seconds)
            if late and self._fitting() and (self._exact or self._batch_size in self._shapes):
                break
            self._execute(size)
            began = began or time.perf_counter()
        if began:
            self._take_turns(began + self._allowed(seconds))
        return [self._shapes[size] for size in sorted(self._shapes)]

    def _allowed(self, seconds: float) -> float:
        """Seconds for the micro-batches, the evaluation left out, by the fastest pace so far."""
        pace = max((one.samples_per_second for one in self._fitting().values()), default=0.0)
        if not pace:
            return seconds
        allowed = seconds
        if self._samples is not None:
            allowed = min(seconds, max(LEAST_SECONDS, MOST_SHARE * self._samples / pace))
        images = 2 * min(EVALUATION_BATCH_SIZE, len(self._images.test))
        return allowed - min(allowed / 3, images / pace * FORWARD_SHARE)

    def _cost(self, size: int) -> float:
        """Seconds that it may take to execute a size."""
        once = self._expected_seconds(size)
        return once * min(2.0, self._batch_size / size) + (once if once < LONG_SECONDS else 0.0)

    def evaluation(self) -> tuple[int, int]:
        """The evaluation batch size that keeps the headroom, halved until it does; its peak."""
        size = min(EVALUATION_BATCH_SIZE, len(self._images.test))
        while True:
            peak = self._evaluate(size)
            if size == 1 or (peak is not None and peak <= usable(self._limit)):
                return size, peak or 0
            size //= 2

    def _next(self) -> int | None:
        """The next size to execute: the one that the preset names, or what the line expects."""
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
        """Measure the peak over two micro-batches, the second beside the first one's results."""
        peaks: list[int] = []
        count = min(2 * size, self._batch_size)

        def step() -> None:
            with measured(self._device, self._held()) as peak:
                gradient, update = self._step(size, count)
            peaks.append(peak.bytes)
            if gradient > LONG_SECONDS:  # being watched costs next to nothing then
                self._note(size, gradient * size / count, update)

        first = not self._shapes  # before it the optimizer does not hold what it will keep
        self._shapes[size] = Shape(size, failed="out of memory")
        if first and not self._had_room(lambda: self._step(size, count)):
            return
        if self._had_room(step) and (
            size in self._gradient_seconds or self._had_room(lambda: self._time(size))
        ):
            pace = self._samples_per_second(size)
            self._shapes[size] = Shape(size, peaks[0] + self._stepper.instrument_bytes, pace)

    def _had_room(self, work: Callable[[], object]) -> bool:
        """Do some work; False where memory ran out, and then what it held is free again."""
        raise_if(self._halted)
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        else:
            return True
        if self._device.type == "cuda":  # not before the error lets go of what it holds
            torch.cuda.empty_cache()
        return False

    def _step(self, size: int, count: int) -> tuple[float, float]:
        """One step on `count` images; the seconds of its gradient and of its update."""
        self._stepper.micro_batch_size = size
        began = self._now()
        self._stepper.gradient(self._order[:, :count])
        between = self._now()
        self._stepper.update(self._stepper.unmeasured(count))
        self._stepper.end_epoch()
        return between - began, self._now() - between

    def _time(self, size: int) -> None:
        """Time a step on a batch that one micro-batch of this size holds whole."""
        self._note(size, *self._step(size, size))

    def _note(self, size: int, gradient: float, update: float) -> None:
        self._gradient_seconds.setdefault(size, []).append(gradient)
        self._update_seconds.append(update)

    def _take_turns(self, deadline: float) -> None:
        """Time the promising sizes again and again, in turn: the machine's mood hits all alike."""
        good = self._fitting()
        best = max((one.samples_per_second for one in good.values()), default=0.0)
        # the largest takes its turns in any case: it is what the others are compared with
        sizes = [
            size
            for size, one in good.items()
            if one.samples_per_second >= PROMISING * best or size == max(good)
        ]
        for rounds in range(1, (ROUNDS if len(sizes) > 1 else ROUNDS_ALONE) + 1):
            if time.perf_counter() + sum(map(self._expected_seconds, sizes)) > deadline:
                return
            for size in sizes:
                if not self._had_room(lambda size=size: self._time(size)):  # type: ignore[misc]
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
        """Those that may be the fastest, and the largest: so there is time for more turns."""
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
        """Of whole steps: as many gradients as it takes, and an update."""
        parts = self._batch_size / size
        gradients = parts * median(self._gradient_seconds[size])
        return self._batch_size / (gradients + median(self._update_seconds))

    def _evaluate(self, size: int) -> int | None:
        """The peak over two batches of images that are gathered, as those of the train part are."""
        images, peaks = self._images, list[int]()
        parts = torch.split(images.train_part[: 2 * size], size)

        def work() -> None:
            with measured(self._device, self._held()) as peak:
                gathered = ((images.train[part], images.train_labels[part]) for part in parts)
                evaluate(self._stepper.stack.passes, gathered)
            peaks.append(peak.bytes)

        return peaks[0] if self._had_room(work) else None

    def _held(self) -> list[torch.Tensor]:
        return [*self._images.held(), *self._stepper.held(), self._order]

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
