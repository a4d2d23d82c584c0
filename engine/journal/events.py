"""The events of a journal: one frozen struct for each kind.

A worker reports what happened; the conductor adds the time and writes the event to the journal.
Screen, log, findings and export are all folds over these events (`engine.journal.sweep_state`).
`at` is Unix time in seconds, set by the conductor. A number that is not finite or unknown is
`None`.
"""

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.instrument_events import Competing as Competing
from batchscope.engine.journal.instrument_events import Competition as Competition
from batchscope.engine.journal.instrument_events import Draws as Draws
from batchscope.engine.journal.instrument_events import Event
from batchscope.engine.journal.instrument_events import Interpolated as Interpolated
from batchscope.engine.journal.instrument_events import LayerNorm as LayerNorm
from batchscope.engine.journal.instrument_events import LinePoint as LinePoint
from batchscope.engine.journal.instrument_events import Measuring as Measuring
from batchscope.engine.journal.instrument_events import MemorySampled as MemorySampled
from batchscope.engine.journal.instrument_events import MicroBatchesMeasured as MicroBatchesMeasured
from batchscope.engine.journal.instrument_events import NormSlice as NormSlice
from batchscope.engine.journal.instrument_events import Paced as Paced
from batchscope.engine.journal.instrument_events import Predicted as Predicted
from batchscope.engine.journal.instrument_events import Probed as Probed
from batchscope.engine.journal.instrument_events import SharpnessMeasured as SharpnessMeasured
from batchscope.engine.journal.instrument_events import ValueBins as ValueBins
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Claim, Configuration, Interpolation, Judging, Selection
from batchscope.engine.task_table import TaskFacts

JOURNAL_VERSION = 1

TrialStatus = Literal["queued", "running", "finished", "diverged", "failed", "skipped", "stopped"]
SweepEnding = Literal["finished", "failed", "stopped"]


class JournalOpened(Event, frozen=True, tag="journal"):
    """The first line of every journal: its version and that of the program."""

    version: int
    program: str


class SweepOpened(Event, frozen=True, tag="sweep"):
    """The experiment that will be run: the first event of a sweep, written once."""

    id: str
    preset: str
    title: str
    question: str
    source: str
    configurations: tuple[Configuration, ...]
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    selection: Selection | None = None
    interpolation: Interpolation | None = None
    judging: Judging = Judging()

    def __post_init__(self) -> None:
        """Refuse a network of a later version of the program."""
        _check_networks(self.configurations)


class ConductorStarted(Event, frozen=True, tag="conductor"):
    """A conductor has started, or has resumed the sweep if the journal holds an earlier one."""

    pid: int
    machine: dict[str, Any]


class DataProgress(Event, frozen=True, tag="data_progress"):
    """Bytes of a data set downloaded so far; `total` is 0 if the server does not report it."""

    name: str
    received: int
    total: int


class DataReady(Event, frozen=True, tag="data"):
    """The data set is ready: number of images, their shape (C, H, W), and their SHA-256.

    Of a task, `task` is what running its function has shown, and `digest` that of its code.
    """

    name: str
    train: int
    test: int
    shape: tuple[int, int, int]
    digest: str
    task: TaskFacts | None = None


class CodeLoaded(Event, frozen=True, tag="code_loaded"):
    """A task has imported modules that its first run had not: by file, their SHA-256.

    Attributes:
        name: the name of the task, as in `DataReady`.
        digests: the files below the task's folder.
    """

    name: str
    digests: tuple[tuple[str, str], ...]


class CodeRefused(Event, frozen=True, tag="code_refused"):
    """A worker may not run the code of a task, so the sweep stops.

    Attributes:
        reason: why, in a sentence that names a file.
        files: the files below the task's folder.
    """

    reason: str
    files: tuple[str, ...] = ()


class Planned(Event, frozen=True, tag="plan"):
    """The numeric plan of a group, before its first step."""

    plan: Plan


class WorkerReady(Event, frozen=True, tag="worker"):
    """A worker has loaded its libraries, has tested its device, and waits for orders.

    Attributes:
        worker: number of the worker.
        device: name of the device, such as "cpu" or "cuda:0".
        device_name: name of the device for people.
        pid: process id.
        threads: threads of the worker.
        versions: versions of batchscope, torch and Python.
        seconds: time of the start.
        node: name of the machine in a cluster; empty outside of one.
        free_bytes: free memory of the node for this worker; None if unknown.
        sharing: how many such workers the device has room for.
    """

    worker: int
    device: str
    device_name: str
    pid: int
    threads: int
    versions: dict[str, str]
    seconds: float
    node: str = ""
    free_bytes: int | None = None
    sharing: int = 1


class WorkerLost(Event, frozen=True, tag="worker_lost"):
    """A worker ended unexpectedly."""

    worker: int
    reason: str


class WorkerDismissed(Event, frozen=True, tag="worker_dismissed"):
    """A worker was ended before the others: for a `reason`, else because fewer are faster."""

    worker: int
    reason: str = ""


class WorkerAwaited(Event, frozen=True, tag="worker_awaited"):
    """A worker waits for a cluster to have what it `needs`, such as a GPU."""

    worker: int
    needs: str


class TrialStarted(Event, frozen=True, tag="started"):
    """The training of a trial starts, at its first step or from a checkpoint.

    Attributes:
        trial: id of the trial.
        attempt: number of the attempt.
        worker: number of the worker.
        device: name of the device.
        batch_size: batch size of `[train]`.
        micro_batch_size: samples in one forward and backward pass.
        total_steps: steps of the budget; None for a budget in seconds.
        steps_per_epoch: steps of an epoch at the batch size of `[train]`.
        parameters: number of weights.
        init_norm: L2 norm of the initial weights.
        lr: learning rate after scaling with the batch size.
        resumed_steps: steps in the checkpoint; None for a start at the first step.
        resumed_epochs: finished epochs in the checkpoint, which are reported again.
        total_samples: images of the budget, if the batch size changes during the training.
        stacked: number of replicates in the stack, including this one.
        layers: names of the layers with weights.
        layer_parameters: number of weights of each of these layers.
    """

    trial: str
    attempt: int
    worker: int
    device: str
    batch_size: int
    micro_batch_size: int
    total_steps: int | None
    steps_per_epoch: int
    parameters: int
    init_norm: float
    lr: float
    resumed_steps: int | None = None
    resumed_epochs: int = 0
    total_samples: int | None = None
    stacked: int = 1
    layers: tuple[str, ...] = ()
    layer_parameters: tuple[int, ...] = ()


class Progress(Event, frozen=True, tag="progress"):
    """The position of a trial, reported at most once a second.

    `reserved_bytes` is the memory that the worker's allocator holds on its GPU.
    """

    trial: str
    attempt: int
    epoch: int
    steps: int
    samples: int
    seconds: float
    reserved_bytes: int | None = None


class EpochRecord(Struct, frozen=True, omit_defaults=True):
    """The metrics of one epoch, measured at its end.

    Losses are means per sample in nats; accuracies are fractions.

    Attributes:
        epoch: number of the epoch, from 1.
        steps: optimizer steps since the start of the training.
        samples: samples used since the start of the training.
        lr: learning rate of the last step.
        train_loss: loss on a fixed part of the training images.
        train_accuracy: accuracy on the same images.
        test_loss: loss on the test images.
        test_accuracy: accuracy on the test images.
        seconds: training time of this epoch, without evaluation and `warm_up_seconds`.
        epoch_samples: samples used in this epoch.
        weight_norm: L2 norm of the weights.
        distance_from_init: L2 distance of the weights from their initial values.
        norms: gradient norms of every step, by slices.
        peak_memory_bytes: peak of live tensor memory so far.
        noise_scale: gradient noise scale tr(Σ)/|G|², in samples.
        update_norm_mean: mean L2 norm of the updates of this epoch.
        path_length: sum of the norms of all updates since the start.
        noise_trace: mean estimate of tr(Σ).
        noise_signal: mean estimate of |G|².
        noise_draws: number of steps with such an estimate.
        last_batch_size: batch size in force at the last step; that step's batch may be smaller.
        validation_loss: loss on the images held out; None if there are none.
        validation_accuracy: accuracy on the images held out; None if there are none.
        warm_up_seconds: time of warming up in this epoch.
        layer_draws: number of steps over which `layer_norms` were taken.
        layer_norms: gradient norms of each layer, in the order of `TrialStarted.layers`; empty for
            some epochs of long trainings.
        highest_lr: highest learning rate of any step since the start of the training.
        metrics: metrics of a task, such as `test_mae`; those that are not finite are left out.
        empty_batches: batches of a task so far that had no weight. They are counted among `steps`,
            and change no weights.
    """

    epoch: int
    steps: int
    samples: int
    lr: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    epoch_samples: int
    weight_norm: float | None
    distance_from_init: float | None
    norms: tuple[NormSlice, ...]
    peak_memory_bytes: int | None = None
    noise_scale: float | None = None
    update_norm_mean: float | None = None
    path_length: float | None = None
    noise_trace: float | None = None
    noise_signal: float | None = None
    noise_draws: int = 0
    last_batch_size: int | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    warm_up_seconds: float = 0.0
    layer_draws: int = 0
    layer_norms: tuple[LayerNorm, ...] = ()
    gradient_cosine: float | None = None
    highest_lr: float | None = None
    metrics: dict[str, float] = {}
    empty_batches: int = 0


class EpochsFinished(Event, frozen=True, tag="epochs"):
    """The epochs of a trial since the last such event.

    If `last` is true, the end of the trial follows at once, and both are written together.
    """

    trial: str
    attempt: int
    records: tuple[EpochRecord, ...]
    last: bool = False


class MicroBatchCut(Event, frozen=True, tag="cut"):
    """Memory ran out during a training, which continues with a smaller micro-batch.

    Attributes:
        trial: id of the trial.
        attempt: number of the attempt.
        steps: steps before the change.
        size: samples of the new micro-batch.
        evaluation: whether it is that of the evaluation.
        probe: whether it is that of probes or of the sharpness.
        grew: whether the planned size is tried again instead.
    """

    trial: str
    attempt: int
    steps: int
    size: int
    evaluation: bool = False
    probe: bool = False
    grew: bool = False


class TrialEnded(Event, frozen=True, tag="ended"):
    """The end of a trial. `resume` runs `failed` and `stopped` trials again."""

    trial: str
    attempt: int
    status: TrialStatus
    reason: str = ""


class WeightsKept(Event, frozen=True, tag="weights"):
    """The final weights of a trial are stored with the sweep, or could not be.

    Attributes:
        trial: id of the trial.
        attempt: number of the attempt.
        bytes: size of the file.
        digest: SHA-256 of the file (hex).
        reason: why there is no file; the training is finished all the same.
    """

    trial: str
    attempt: int
    bytes: int = 0
    digest: str = ""
    reason: str = ""


class Note(Event, frozen=True, tag="note"):
    """A message for the log."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    trial: str = ""


class TrialRetried(Event, frozen=True, tag="retried"):
    """By request of the user: a trial is queued again after the end of an `attempt`."""

    trial: str
    attempt: int


class ConfigurationsAdded(Event, frozen=True, tag="added"):
    """By request of the user: configurations are added to the sweep."""

    configurations: tuple[Configuration, ...]

    def __post_init__(self) -> None:
        """Refuse a network of a later version of the program."""
        _check_networks(self.configurations)


class SweepPaused(Event, frozen=True, tag="paused"):
    """By request of the user: running trials pause after their present step, and none starts."""


class SweepContinued(Event, frozen=True, tag="continued"):
    """By request of the user: the sweep continues after a pause."""


class SweepEnded(Event, frozen=True, tag="sweep_ended"):
    """The end of a sweep: how it ended, how long it ran this time, and the range of its results.

    `best` and `worst` are those of the means of `metric`, such as `test_mae`, over the finished
    seeds of each configuration; without results, or if they cannot be compared, `metric` is empty.
    """

    state: SweepEnding
    seconds: float
    trials: int
    finished: int
    failed: int
    reason: str = ""
    exit_code: int = 0
    metric: str = ""
    best: float | None = None
    worst: float | None = None


AnyEvent = (
    JournalOpened
    | SweepOpened
    | ConductorStarted
    | DataProgress
    | DataReady
    | MicroBatchesMeasured
    | Paced
    | Planned
    | WorkerReady
    | WorkerLost
    | WorkerDismissed
    | WorkerAwaited
    | TrialStarted
    | Progress
    | EpochsFinished
    | MicroBatchCut
    | Probed
    | TrialEnded
    | MemorySampled
    | Note
    | TrialRetried
    | ConfigurationsAdded
    | SweepPaused
    | SweepContinued
    | SweepEnded
    | Predicted
    | SharpnessMeasured
    | Interpolated
    | WeightsKept
    | CodeLoaded
    | CodeRefused
    | Measuring
)


def _check_networks(configurations: Iterable[Configuration]) -> None:
    """Raise ValueError for an unknown network, so that a journal's line cannot be decoded."""
    for each in configurations:
        if each.settings.task is not None:
            continue
        if each.settings.model.name not in FAMILIES:
            raise ValueError(f"unknown network {each.settings.model.name!r}")
        if each.settings.data.name not in DATASETS:
            raise ValueError(f"unknown data set {each.settings.data.name!r}")
