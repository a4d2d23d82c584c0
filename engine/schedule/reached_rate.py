"""Finds the highest learning rate of a training, and settings that never reach theirs.

A warmup of W steps first has the full rate at its step ⌈W⌉ (`lr_scaling.warmed_up`). So a training
of fewer steps never has it, nor one whose rate is divided or set anew before. The cosine schedule
decreases from the first step on: with a warmup, no step has the full rate exactly.
"""

from collections.abc import Callable, Iterator, Sequence

from batchscope.engine.schedule.course import Course, Stretch
from batchscope.engine.spec import Settings, Train

ENOUGH = 0.99
"""A highest rate of at least this share of the full rate counts as reached."""
ROUNDING = 1e-9
LOOKS = 512


def highest_rate(course: Course, steps: int | None = None) -> float | None:
    """Return the highest learning rate of the first `steps` steps, by default of the whole budget.

    Returns:
        None for a budget in seconds, whose rates may depend on the machine, and without steps.
    """
    return max(_highest_rates(course, steps, course.stretches), default=None)


def _highest_rates(
    course: Course, steps: int | None, stretches: Sequence[Stretch]
) -> Iterator[float]:
    """Yield the highest rate of each of the stretches that the first `steps` steps come to."""
    if course.total_steps is None:
        return
    last = course.total_steps if steps is None else min(steps, course.total_steps)
    ends = [*(stretch.steps for stretch in course.stretches[1:]), last]
    for stretch, end in zip(course.stretches, ends, strict=True):
        if stretch.steps < last and stretch in stretches:
            yield _highest_in(course, stretch, min(end, last) - stretch.steps)


def never_reached(settings: Settings, train_size: int) -> str | None:
    """Return why the learning rate or the batch size of `[train]` is never reached, as `key: …`.

    None if it is, or if that depends on the machine (a budget in seconds) or a target.
    """
    if settings.train.seconds is not None:
        return None
    return _unreached_rate(settings, train_size) or _unreached_batch(settings, train_size)


def hardly_reached(settings: Settings, train_size: int) -> str | None:
    """Return a warning if no step but the last has the full rate, or none nearly; else None."""
    warmup, course = settings.scaling.warmup_epochs, _warming(settings, train_size)
    if course is None or course.total_steps is None:
        return None
    highest, lr = _highest_of_warmup(course), course.rates.lr
    if highest < ENOUGH * lr:
        return (
            f"scaling.warmup_epochs: after a warmup of {_epochs(warmup)}, schedule.kind = "
            f"{settings.schedule.kind} leaves a highest learning rate of {highest:.4g}, "
            f"not {lr:.4g}"
        )
    before = _highest_of_warmup(course, course.total_steps - 1)
    if not _changes(course) and before < highest * (1 - ROUNDING) and not course.decays:
        return (
            f"scaling.warmup_epochs: the warmup of {_epochs(warmup)} is as long as the budget: "
            f"only the last step has the learning rate of {lr:.4g}"
        )
    return None


def _warming(settings: Settings, train_size: int) -> Course | None:
    """Return the course of a training whose rate warms up; None for any other."""
    return Course(settings, train_size) if settings.scaling.warmup_epochs else None


def _unreached_rate(settings: Settings, train_size: int) -> str | None:
    course = _warming(settings, train_size)
    if course is None or course.total_steps is None:
        return None
    highest, lr = _highest_of_warmup(course), course.rates.lr
    warmup, budget = settings.scaling.warmup_epochs, _budget_epochs(settings.train, course)
    if highest >= lr * (1 - ROUNDING):
        return None
    head = f"scaling.warmup_epochs: a warmup of {_epochs(warmup)}"
    tail = f"so the learning rate of {lr:.4g} is never reached, only {highest:.4g}"
    longer = warmup >= budget if course.decays else warmup > budget
    if longer or not (course.decays or _changes(course)):
        return (
            f"{head} does not end within {_budget(settings.train, budget)}, {tail}; choose a "
            "shorter warmup or a longer budget"
        )
    if not _changes(course):  # a cosine decreases in the warmup already, see `hardly_reached`
        return None
    return (
        f"{head} does not end before a step or phase changes the learning rate, {tail}; choose a "
        "shorter warmup or a later change"
    )


def _unreached_batch(settings: Settings, train_size: int) -> str | None:
    warmup = settings.schedule.batch_warmup_epochs
    if not warmup:
        return None
    course = Course(settings, train_size)
    asked = min(settings.train.batch_size, train_size)
    if asked in course.batch_sizes:
        return None
    head = f"schedule.batch_warmup_epochs: a warmup of {_epochs(warmup)}"
    tail = f"so the batch size of {asked:,} is never reached"
    budget = _budget_epochs(settings.train, course)
    if warmup >= budget * (1 - ROUNDING):
        return (
            f"{head} does not end within {_budget(settings.train, budget)}, {tail}; choose a "
            "shorter warmup or a longer budget"
        )
    return (
        f"{head} does not end before a step or phase changes the batch size, {tail}; choose a "
        "shorter warmup or a later change"
    )


def _highest_of_warmup(course: Course, steps: int | None = None) -> float:
    """Return the highest rate before a phase sets another one; 0 without such a step."""
    warming = [stretch for stretch in course.stretches if stretch.stage.warming]
    return max(_highest_rates(course, steps, warming), default=0.0)


def _changes(course: Course) -> bool:
    """Return whether a step divides the rate, or a phase sets it."""
    stages = [stretch.stage for stretch in course.stretches]
    return any(stage.divisor != 1 or not stage.warming for stage in stages)


def _budget_epochs(train: Train, course: Course) -> float:
    """Return the epochs of a budget; a budget in steps or samples may end within one."""
    if train.epochs is not None:
        return train.epochs
    assert course.total_samples is not None
    return course.total_samples / course.train_size


def _epochs(count: float) -> str:
    return f"{count:.3g} epoch{'s' if count != 1 else ''}"


def _budget(train: Train, epochs: float) -> str:
    """Return the key of a budget with its number, and its epochs where they are not the same."""
    if train.epochs is not None:
        return f"train.epochs = {train.epochs:,}"
    key, amount = ("steps", train.steps) if train.steps is not None else ("samples", train.samples)
    return f"train.{key} = {amount:,} ({_epochs(epochs)})"


def _highest_in(course: Course, stretch: Stretch, steps: int) -> float:
    """Return the highest rate of the first `steps` steps of a stretch.

    Within a stretch a warmup only increases the rate. Under a cosine the rate is a rising line
    times a falling cosine, which has one maximum, or falls.
    """

    def rate(step: int) -> float:
        return course.rate_within(stretch, step)

    last = steps - 1
    if not course.decays:
        return rate(last)
    places = sorted({last * look // LOOKS for look in range(LOOKS + 1)})
    best = max(range(len(places)), key=lambda at: rate(places[at]))
    low, high = places[max(best - 1, 0)], places[min(best + 1, len(places) - 1)]
    return _peak(rate, low, high)


def _peak(rate: Callable[[int], float], low: int, high: int) -> float:
    """Return the maximum of a function of whole numbers that rises, then falls."""
    while high - low > LOOKS:
        third = (high - low) // 3
        one, other = low + third, high - third
        low, high = (one, high) if rate(one) < rate(other) else (low, other)
    return max(map(rate, range(low, high + 1)))
