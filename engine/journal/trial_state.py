"""The state of one trial, as the journal records it."""

from dataclasses import dataclass, field

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.epoch_columns import Records
from batchscope.engine.spec import Settings

ENDED: frozenset[str] = frozenset({"finished", "diverged", "skipped"})


@dataclass(slots=True)
class TrialState:
    """The state of one trial: status, progress and results so far."""

    id: str
    configuration: str
    seed: int
    settings: Settings
    status: ev.TrialStatus = "queued"
    attempt: int = 0
    reason: str = ""
    device: str = ""
    started: ev.TrialStarted | None = None
    progress: ev.Progress | None = None
    records: Records = field(default_factory=Records)
    probes: list[ev.Probed] = field(default_factory=list)
    cuts: list[ev.MicroBatchCut] = field(default_factory=list)
    ended_at: float | None = None
    sharpness: list[ev.SharpnessMeasured] = field(default_factory=list)
    apart: bool = False
    """Whether its group continued without it, so that it is trained in its own job."""
    predicted: ev.Predicted | None = None
    """Its predictions for the test images at the end of training, compressed."""
    weights: ev.WeightsKept | None = None
    """What became of its final weights; None if they were not to be kept, or are not there yet."""
    accepted_code: bool = False
    """Whether code trained it that was changed after the sweep began."""

    @property
    def batch_size(self) -> int:
        """Images per optimizer step: as planned once it has started, else as configured."""
        return self.started.batch_size if self.started else self.settings.train.batch_size

    @property
    def last(self) -> ev.EpochRecord | None:
        """The results of the last finished epoch; None if there is none."""
        return self.records.last

    @property
    def done(self) -> bool:
        """Whether the trial is complete, so that `resume` does not run it again."""
        return self.status in ENDED

    @property
    def planned_steps(self) -> float | None:
        """Optimizer steps of the whole budget; extrapolated if the budget is in seconds."""
        if self.started is None:
            return None
        budget = self.settings.train.seconds
        if budget is None:
            return self.started.total_steps
        steps, _, seconds = self.trained()
        if self.done:
            return steps
        return steps * budget / seconds if seconds > 0 else None

    @property
    def fraction(self) -> float:
        """The share of the budget that is used up, between 0 and 1."""
        if self.done:
            return 1.0
        if self.status == "queued" or not self.planned_steps:
            return 0.0
        steps, samples, _ = self.trained()
        whole = self.started.total_samples if self.started else None
        if whole is not None and self.settings.train.steps is None:
            return min(1.0, samples / whole)
        return min(1.0, steps / self.planned_steps)

    def sharpness_at(self, epsilon: float | None = None) -> ev.SharpnessMeasured | None:
        """Return the sharpness measured at a half-width.

        Args:
            epsilon: the half-width; None for the first one in the preset.
        """
        asked = self.settings.sharpness.epsilon
        wanted = epsilon if epsilon is not None else next(iter(asked), None)
        return next((each for each in self.sharpness if each.epsilon == wanted), None)

    def forget(self) -> None:
        """Discard the results of an abandoned attempt."""
        self.records.clear()
        self.probes.clear()
        self.cuts.clear()
        self.predicted, self.weights, self.accepted_code = None, None, False
        self.sharpness.clear()

    def go_back(self, epochs: int, steps: int) -> None:
        """Discard results that are newer than the checkpoint from which training resumes.

        Args:
            epochs: the finished epochs in the checkpoint.
            steps: the optimizer steps in the checkpoint.
        """
        self.records.keep(epochs)
        self.weights = None
        self.probes = [probe for probe in self.probes if probe.steps <= steps]
        self.cuts = [cut for cut in self.cuts if cut.steps <= steps]
        if self.predicted and self.predicted.steps > steps:
            self.predicted = None
        self.sharpness = [each for each in self.sharpness if each.steps <= steps]

    def trained(self) -> tuple[int, int, float]:
        """Return the optimizer steps, images and seconds of training so far."""
        steps, samples = (self.last.steps, self.last.samples) if self.last else (0, 0)
        seconds = sum(self.records.column("seconds"))
        if self.progress and self.progress.steps >= steps:
            return self.progress.steps, self.progress.samples, self.progress.seconds
        return steps, samples, seconds
