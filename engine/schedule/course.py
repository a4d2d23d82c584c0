"""Computes batch size and learning rate at every step of a training.

The rules (those without a source are batchscope's own):

- *Scaling and warmup* (`engine.schedule.lr_scaling`) determine the initial learning rate, for the
  batch size of `[train]`.
- *Step*: at given shares of the budget the rate is divided by a factor k, or the batch size is
  multiplied by k instead (Smith et al. 2017, arXiv:1711.00489). After n such points the batch size
  is round(B kⁿ), at most `max_batch_size` and at most the training set. The rate is divided by the
  rest of kⁿ, as Smith et al. do when the batch becomes too large.
- *Cosine*: the rate times f + (1 − f)(1 + cos πs)/2 (Loshchilov and Hutter 2016, arXiv:1608.03983,
  eq. 5, without restarts), where f is `final_lr_share` and s the share of the budget used before
  the step. So the first step has the full rate, and no step has exactly the final one.
- *Batch-size warmup*: the batch size starts at b and doubles until it is B (Merrill et al. 2025,
  arXiv:2505.23971, also double it). The warmup is divided into as many equal parts as there are
  doublings, which is batchscope's own choice. The rate does not change with it.
- *Phases* set rate or batch size from then on. The scaling rule is not applied to these values, and
  a warmup of the value ends. The factors of the schedule still apply.

Shares refer to the unit of the budget: epochs (counted in images), steps, samples or seconds. A
change takes effect at the first step that starts at or after its point, also within an epoch. A
step takes the next images of the epoch's order, as many as its batch size; the last step of an
epoch takes the rest. With batch norm, which has no variance over a single image, a training that
would meet a batch of one image at the end of an epoch joins this image to the batch before it.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

from batchscope.engine.networks.architectures import has_batch_norm
from batchscope.engine.schedule.budget import (
    planned_steps,
    samples_after,
    steps_per_epoch,
)
from batchscope.engine.schedule.lr_scaling import Rates, scaled_rates, warmed_up, warmup_start
from batchscope.engine.spec import Phase, Settings, Train

ROUNDING = 1e-6  # 0.1 of 30 steps is 3, not 4

Unit = Literal["steps", "samples", "seconds"]


class CoursePoint(NamedTuple):
    """A point of a training: after a number of steps, samples or seconds."""

    unit: Unit
    amount: float

    def passed(self, steps: int, samples: int, seconds: float) -> bool:
        """Return whether a training with these steps, samples and seconds has reached the point."""
        match self.unit:
            case "steps":
                return steps >= self.amount
            case "samples":
                return samples >= self.amount
            case "seconds":
                return seconds >= self.amount


@dataclass(frozen=True, slots=True)
class Stage:
    """The batch size and learning rate that apply between two changes.

    Attributes:
        batch_size: samples of a step.
        lr: learning rate before the schedule is applied.
        divisor: what the schedule divides the rate by.
        warming: whether a warmup of the rate may apply.
        first: whether the batch size is still the initial one.
        marks: the points that end the stage.
    """

    batch_size: int
    lr: float
    divisor: float
    warming: bool
    first: bool
    marks: tuple[CoursePoint, ...]

    def lasts(self, steps: int, samples: int, seconds: float) -> bool:
        """Return whether the stage applies to the next step."""
        return not self.marks or not any(
            mark.passed(steps, samples, seconds) for mark in self.marks
        )


class Stretch(NamedTuple):
    """A stage, with the steps and samples before it."""

    steps: int
    samples: int
    stage: Stage


class Course:
    """Batch size and learning rate over the whole training of a configuration.

    Args:
        settings: the configuration's settings.
        train_size: number of training images.

    Attributes:
        train_size: number of training images.
        decays: whether the rate also changes within a stage, after the warmup (cosine).
        rates: initial parameters of the optimizer.
        joins: whether a single image at the end of an epoch joins the batch before it. This is so
            only if batch norm would otherwise meet a batch of one image within the budget.
        total_steps, total_samples: of the budget; None if it is in seconds.
        stretches: the stages in order; empty if the budget is in seconds.
    """

    def __init__(self, settings: Settings, train_size: int) -> None:
        self._schedule, self._size = settings.schedule, train_size
        self.train_size, self.decays = train_size, settings.schedule.kind == "cosine"
        self._batch_size = min(settings.train.batch_size, train_size)
        self.rates: Rates = scaled_rates(settings, self._batch_size)
        self._budget = budget_mark(settings.train, train_size)
        self._growth = self._schedule.kind == "step" and self._schedule.by == "batch"
        self._points = self._step_points()
        self._phases = [(self._moment(phase), phase) for phase in settings.phases]
        self._sizes_of_warmup = self._warmup_sizes()
        self._warmup_marks = self._batch_warmup_marks()
        self._warmup_epochs = settings.scaling.warmup_epochs
        self._warmup_start = warmup_start(settings, self.rates.lr)
        self.total_steps: int | None = None
        self.total_samples: int | None = None
        self.joins = False
        self.stretches = self._walk()
        if has_batch_norm(settings.model) and self.batch_sizes[0] > 1 and 1 in self.lengths():
            self.joins = True
            self.stretches = self._walk()
        self._warmup_steps = self._warmup_epochs * self._steps_in(train_size, self.start.batch_size)

    @property
    def start(self) -> Stage:
        """Return the stage of the first step."""
        return self.stage(0, 0, 0.0)

    @property
    def changes_batch(self) -> bool:
        """Return whether more than one batch size occurs."""
        return len(self.batch_sizes) > 1

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Return the batch sizes that occur (with seconds: may occur), smallest first."""
        if self._budget.unit != "seconds":
            return tuple(sorted({stretch.stage.batch_size for stretch in self.stretches}))
        set_by_phases = [phase.batch_size for _, phase in self._phases if phase.batch_size]
        bases = [self._batch_size, *self._sizes_of_warmup, *set_by_phases]
        points = range(len(self._points) + 1)
        return tuple(sorted({self._grown(*each)[0] for each in product(bases, points)}))

    @property
    def most_steps_an_epoch(self) -> int:
        """Return the largest possible number of steps in an epoch."""
        return self._steps_in(self._size, self.batch_sizes[0])

    @property
    def largest(self) -> int:
        """Return the images of the largest batch that occurs (with seconds: may occur)."""
        if not self.joins:
            return self.batch_sizes[-1]
        return max(self.batch_sizes[-1], *self.lengths())

    def stage(self, steps: int, samples: int, seconds: float) -> Stage:
        """Return the stage of the next step after these steps, samples and seconds."""
        so_far = (steps, samples, seconds)
        points = [mark for mark in self._points if not mark.passed(*so_far)]
        warmup = [mark for mark in self._warmup_marks if not mark.passed(*so_far)]
        lr, batch_size = self.rates.lr, self._batch_size
        if warmup:
            batch_size = self._sizes_of_warmup[-len(warmup)]
        warming, coming = self._warmup_epochs > 0, [*points, *warmup]
        for mark, phase in self._phases:
            if not mark.passed(*so_far):
                coming.append(mark)
                continue
            batch_size = phase.batch_size or batch_size
            if phase.lr is not None:
                lr, warming = phase.lr, False
        count = len(self._points) - len(points)
        size, divisor = self._grown(batch_size, count)
        moved = len(warmup) < len(self._warmup_marks) or (self._growth and count > 0)
        moved = moved or any(p.batch_size and mark not in coming for mark, p in self._phases)
        return Stage(size, lr, divisor, warming, not moved, tuple(coming))

    def rate(self, stage: Stage, steps: int, samples: int, seconds: float) -> float:
        """Return the learning rate of the next step after these steps, samples and seconds.

        A warmup is counted in steps while the batch size is the initial one, then in images.
        """
        lr = stage.lr
        if stage.warming and stage.first:
            lr = warmed_up(lr, steps + 1, self._warmup_steps, self._warmup_start)
        elif stage.warming:
            whole, seen = self._warmup_epochs * self._size, samples + stage.batch_size
            lr = warmed_up(lr, seen, whole, self._warmup_start)
        if stage.divisor != 1:
            lr /= stage.divisor
        if self._schedule.kind == "cosine":
            so_far = {"steps": steps, "samples": samples, "seconds": seconds}
            share = min(1.0, so_far[self._budget.unit] / self._budget.amount)
            least = self._schedule.final_lr_share
            lr *= least + (1 - least) * (1 + math.cos(math.pi * share)) / 2
        return lr

    def rate_within(self, stretch: Stretch, steps: int) -> float:
        """Return the learning rate of the next step after `steps` steps of a stretch.

        Not for budgets in seconds.
        """
        samples = self._seen(stretch.samples, steps, stretch.stage.batch_size)
        return self.rate(stretch.stage, stretch.steps + steps, samples, 0.0)

    def steps_at(self, share: float) -> int:
        """Return the steps after which a share of the budget is used; not for budgets in seconds.

        With a single batch size it is a share of the steps. Because of smaller last batches, that
        can differ slightly from the share of the images.
        """
        assert self.total_steps is not None
        if not self.changes_batch:
            return math.ceil(share * self.total_steps - ROUNDING)
        mark = self._share(share)
        for index, stretch in enumerate(self.stretches):
            last = index + 1 == len(self.stretches)
            until = self.total_steps if last else self.stretches[index + 1].steps
            steps = stretch.steps + self._steps_to(mark, *stretch)
            if steps <= until:
                return max(steps, 0)
        return self.total_steps

    def lengths(self) -> tuple[int, ...]:
        """Return the images of all batches that occur, last ones of epochs too; the first first.

        For a budget in seconds, only those with the initial batch size.
        """
        lengths: dict[int, None] = {}
        for stretch, after in self._with_ends():
            size, rest = stretch.stage.batch_size, self._size - stretch.samples % self._size
            steps = math.inf if after is None else after - stretch.steps
            head, epoch = self._steps_in(rest, size), self._steps_in(self._size, size)
            if head > 1:
                lengths[size] = None
            if steps >= head:
                lengths[rest - (head - 1) * size] = None
            if steps > head and epoch > 1:
                lengths[size] = None
            if steps >= head + epoch:
                lengths[self._size - (epoch - 1) * size] = None
        return tuple(lengths)

    def _with_ends(self) -> list[tuple[Stretch, int | None]]:
        """Return the stretches, each with the steps at its end, or None if unknown."""
        if not self.stretches:
            return [(Stretch(0, 0, self.start), None)]
        ends = [stretch.steps for stretch in self.stretches[1:]]
        return list(zip(self.stretches, [*ends, self.total_steps], strict=True))

    def _walk(self) -> tuple[Stretch, ...]:
        if self._budget.unit == "seconds":
            return ()
        steps = samples = 0
        stretches: list[Stretch] = []
        while not self._budget.passed(steps, samples, 0.0):
            stretch = Stretch(steps, samples, self.stage(steps, samples, 0.0))
            stretches.append(stretch)
            marks = (*stretch.stage.marks, self._budget)
            more = min(self._steps_to(mark, *stretch) for mark in marks)
            steps, samples = steps + more, self._seen(samples, more, stretch.stage.batch_size)
        self.total_steps, self.total_samples = steps, samples
        return tuple(stretches)

    def _steps_to(self, mark: CoursePoint, steps: int, samples: int, stage: Stage) -> int:
        """Return the number of steps from a point to a mark, at the stage's batch size."""
        if mark.unit == "steps":
            return int(mark.amount) - steps
        size, goal = stage.batch_size, int(mark.amount)
        rest = self._size - samples % self._size
        if goal <= samples + rest:
            return self._steps_to_see(goal - samples, rest, size)
        whole, left = divmod(goal - samples - rest, self._size)
        epochs = whole * self._steps_in(self._size, size)
        return self._steps_in(rest, size) + epochs + self._steps_to_see(left, self._size, size)

    def _seen(self, samples: int, steps: int, size: int) -> int:
        """Return the number of images seen after `steps` more steps of batch size `size`."""
        rest = self._size - samples % self._size
        head = self._steps_in(rest, size)
        if steps < head:
            return samples + steps * size
        return samples + rest + samples_after(steps - head, self._size, size, self.joins)

    def _steps_in(self, images: int, size: int) -> int:
        """Return the steps that the rest of an epoch, `images`, takes at batch size `size`."""
        return steps_per_epoch(images, size, self.joins)

    def _steps_to_see(self, goal: int, images: int, size: int) -> int:
        """Return the steps until `goal` of the `images` that are left in an epoch are used."""
        return min(-(-goal // size), self._steps_in(images, size))

    def _share(self, share: float) -> CoursePoint:
        """Return the point at a share (0–1) of the budget."""
        unit, amount = self._budget
        part = share * amount
        return CoursePoint(unit, part if unit == "seconds" else math.ceil(part - ROUNDING))

    def _moment(self, phase: Phase) -> CoursePoint:
        if phase.at is not None:
            return self._share(phase.at)
        assert phase.at_epoch is not None
        return CoursePoint("samples", math.ceil(phase.at_epoch * self._size - ROUNDING))

    def _step_points(self) -> list[CoursePoint]:
        schedule = self._schedule
        return [self._share(share) for share in schedule.at] if schedule.kind == "step" else []

    def _grown(self, batch_size: int, points: int) -> tuple[int, float]:
        """Return the batch size after a number of points, and the divisor of the learning rate."""
        batch_size = min(batch_size, self._size)
        whole = float((self._schedule.factor or 1.0) ** points)
        if not self._growth:
            return batch_size, whole
        most = min(self._schedule.max_batch_size or self._size, self._size)
        growth = min(whole, max(1.0, most / batch_size))
        return round(batch_size * growth), whole / growth

    def _warmup_sizes(self) -> list[int]:
        """Return the doubling batch sizes of the warmup, without the final one."""
        size, sizes = self._schedule.batch_warmup_start, list[int]()
        while self._schedule.batch_warmup_epochs and size and size < self._batch_size:
            sizes.append(size)
            size *= 2
        return sizes

    def _batch_warmup_marks(self) -> list[CoursePoint]:
        """Return the points at which the warmup's batch sizes end."""
        count, whole = len(self._warmup_sizes()), self._schedule.batch_warmup_epochs * self._size
        ends = (whole * number / count for number in range(1, count + 1))
        return [CoursePoint("samples", math.ceil(end - ROUNDING)) for end in ends]


class Totals(NamedTuple):
    """Steps and images of a budget."""

    steps: int
    samples: int


def totals(settings: Settings, train_size: int) -> Totals | None:
    """Return the steps and images of a budget; None if it is in seconds."""
    if not changing(settings):
        batch_size = min(settings.train.batch_size, train_size)
        joins = joins_single_image(settings, train_size)
        steps = planned_steps(settings.train, train_size, batch_size, joins)
        if steps is None:
            return None
        return Totals(steps, samples_after(steps, train_size, batch_size, joins))
    course = Course(settings, train_size)
    if course.total_steps is None or course.total_samples is None:
        return None
    return Totals(course.total_steps, course.total_samples)


def joins_single_image(settings: Settings, train_size: int) -> bool:
    """Return whether single images at the end of an epoch join the batch before: `Course.joins`."""
    return has_batch_norm(settings.model) and Course(settings, train_size).joins


def changing(settings: Settings) -> bool:
    """Return whether schedule, warmup or phases may change the batch size during training."""
    schedule = settings.schedule
    grows = schedule.kind == "step" and schedule.by == "batch"
    warms = schedule.batch_warmup_epochs > 0
    return grows or warms or any(phase.batch_size for phase in settings.phases)


def budget_mark(train: Train, train_size: int) -> CoursePoint:
    """Return the point at which the budget ends; a budget in epochs is counted in images."""
    if train.epochs is not None:
        return CoursePoint("samples", train.epochs * train_size)
    if train.steps is not None:
        return CoursePoint("steps", train.steps)
    if train.samples is not None:
        return CoursePoint("samples", train.samples)
    assert train.seconds is not None
    return CoursePoint("seconds", train.seconds)
