"""The state of a training that is not tensors: clock, position, and what was reported."""

import time

import msgspec

from batchscope.engine.journal.events import (
    EpochRecord,
    MicroBatchCut,
    Predicted,
    Probed,
    SharpnessMeasured,
)

FIRST_WAIT = 5


class Clock(msgspec.Struct):
    """Counts the seconds of training, without evaluation, probes, reports and checkpoints.

    Attributes:
        seconds: seconds counted so far, without those since the last `start`.
        epoch_seconds: those of the present epoch.
        warm_up_seconds: seconds of warming up in this epoch, which are not counted elsewhere.
    """

    seconds: float = 0.0
    epoch_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    _since: float | None = None

    @property
    def running(self) -> bool:
        """Whether the clock is running."""
        return self._since is not None

    def start(self) -> None:
        """Start or continue counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop counting; does nothing if the clock is not running."""
        if self._since is not None:
            passed = time.perf_counter() - self._since
            self._since = None
            self.count(passed)

    def count(self, seconds: float) -> None:
        """Add seconds of training that were measured elsewhere."""
        self.seconds += seconds
        self.epoch_seconds += seconds

    def count_as_warm_up(self, seconds: float) -> None:
        """Move the last `seconds` from training to warming up."""
        self.warm_up_seconds += seconds
        if self._since is not None:
            self._since += seconds

    def begin_epoch(self) -> None:
        """Reset the seconds of the epoch to zero."""
        self.epoch_seconds = self.warm_up_seconds = 0.0

    def total(self) -> float:
        """Return the seconds of training so far."""
        return self.seconds + (0.0 if self._since is None else time.perf_counter() - self._since)


class Regrowth(msgspec.Struct):
    """Decides when to try the planned micro-batch size again after memory ran out.

    The process that took the memory may have ended. The first trial is after `FIRST_WAIT` epochs,
    and each failure doubles the wait, so that a lasting shortage costs few failed steps.

    Attributes:
        epoch: the epoch from which on to try.
        wait: epochs to wait after the next failure.
    """

    epoch: int = 0
    wait: int = FIRST_WAIT

    def postpone(self, epoch: int) -> None:
        """Wait again, because memory ran out in this epoch."""
        self.epoch, self.wait = epoch + self.wait, 2 * self.wait

    def due(self, epoch: int) -> bool:
        """Return whether to try the planned size at the beginning of this epoch."""
        return epoch >= self.epoch


class Position(msgspec.Struct):
    """The position of a training.

    Attributes:
        epoch: number of the present epoch, from 1; 0 before the first.
        steps: optimizer steps so far.
        samples: samples used so far.
        over: whether the budget is spent, or every replicate has ended.
        within: whether the training is inside an epoch.
        batch_size: batch size of the stage of the last step.
        epoch_samples: images used so far in the present epoch.
        slice_first: steps before the present slice of gradient norms.
        filled: steps in the present slice.
        slice_from: seconds of training at the start of the slice, for budgets in seconds.
        regrowth: when the planned micro-batch size is tried again.
    """

    epoch: int = 0
    steps: int = 0
    samples: int = 0
    over: bool = False
    within: bool = False
    batch_size: int = 0
    epoch_samples: int = 0
    slice_first: int = 0
    filled: int = 0
    slice_from: float = 0.0
    regrowth: Regrowth = msgspec.field(default_factory=Regrowth)

    def begin_epoch(self) -> None:
        """Move to the first batch of the next epoch."""
        self.epoch += 1
        self.within, self.epoch_samples = True, 0
        self.slice_first, self.filled = self.steps, 0


class History(msgspec.Struct):
    """What a trial has reported since its first step and cannot measure again.

    It is part of every checkpoint, because an event can be lost between worker and journal.
    `predicted` is set together with the last epoch.
    """

    records: list[EpochRecord] = []
    probes: list[Probed] = []
    cuts: list[MicroBatchCut] = []
    predicted: Predicted | None = None
    sharpness: list[SharpnessMeasured] = []
