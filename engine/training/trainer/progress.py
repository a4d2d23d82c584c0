"""How far a training is, in numbers alone: all that its figures depend on beside tensors."""

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
    """Seconds of training: evaluation, probes, reports and checkpoints are left out.

    So are those of warming up, which are told apart.
    """

    seconds: float = 0.0
    epoch_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    _since: float | None = None

    @property
    def running(self) -> bool:
        """Whether it counts now."""
        return self._since is not None

    def start(self) -> None:
        """Go on counting."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Stop counting, if it does."""
        if self._since is not None:
            passed = time.perf_counter() - self._since
            self._since = None
            self.count(passed)

    def count(self, seconds: float) -> None:
        """Count seconds that were taken apart."""
        self.seconds += seconds
        self.epoch_seconds += seconds

    def leave_out(self, seconds: float) -> None:
        """Take seconds that it has just counted for those of warming up."""
        self.warm_up_seconds += seconds
        if self._since is not None:
            self._since += seconds

    def begin_epoch(self) -> None:
        """Count those of an epoch anew."""
        self.epoch_seconds = self.warm_up_seconds = 0.0

    def total(self) -> float:
        """Seconds so far."""
        return self.seconds + (0.0 if self._since is None else time.perf_counter() - self._since)


class Regrowth(msgspec.Struct):
    """When the micro-batch of the plan is tried again after memory ran out.

    Whoever took the memory may have left: after `FIRST_WAIT` epochs, after twice as many where
    that fails, and so on, so that a shortage which stays costs ever fewer failed steps.
    """

    epoch: int = 0
    wait: int = FIRST_WAIT

    def put_off(self, epoch: int) -> None:
        """Memory ran out in this epoch."""
        self.epoch, self.wait = epoch + self.wait, 2 * self.wait

    def due(self, epoch: int) -> bool:
        """Whether to try it at the beginning of this epoch."""
        return epoch >= self.epoch


class Position(msgspec.Struct):
    """How far a training is: `steps` and `samples` are totals that the optimizer has seen.

    Between two epochs `within` is false. Within one, the first `epoch_samples` images of its
    order are taken, and the slice of norms under way began after `slice_first` steps, holds
    `filled` of them, and began at `slice_from` seconds. `over` says that the budget is spent, or
    that every replicate has ended. `batch_size` is the one that the last step went by.
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


class Facts(msgspec.Struct):
    """What a trial has stated since its first step and cannot be measured again.

    They go with every checkpoint: a statement can be lost between a worker and the journal.
    `predicted` is there once its last figures are.
    """

    records: list[EpochRecord] = []
    probes: list[Probed] = []
    cuts: list[MicroBatchCut] = []
    predicted: Predicted | None = None
    sharpness: list[SharpnessMeasured] = []
