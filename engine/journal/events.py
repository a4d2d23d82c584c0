"""Every fact that a run can state, one frozen struct each.

A worker states what happened, the conductor stamps it and writes it down, and screen, log, findings
and export are all folds over what is written (`engine.journal.sweep_state`). `at` is Unix time in
seconds, set by the conductor. A number that is not finite or not known is `None`.
"""

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from batchscope.engine.journal.instrument_events import Competing as Competing
from batchscope.engine.journal.instrument_events import Competition as Competition
from batchscope.engine.journal.instrument_events import Draws as Draws
from batchscope.engine.journal.instrument_events import Event
from batchscope.engine.journal.instrument_events import Interpolated as Interpolated
from batchscope.engine.journal.instrument_events import LayerNorm as LayerNorm
from batchscope.engine.journal.instrument_events import LinePoint as LinePoint
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
from batchscope.engine.spec import Claim, Configuration, Interpolation, Selection

JOURNAL_VERSION = 1

TrialStatus = Literal["queued", "running", "finished", "diverged", "failed", "skipped", "stopped"]
SweepEnding = Literal["finished", "failed", "stopped"]


class JournalOpened(Event, frozen=True, tag="journal"):
    """The first line of every journal."""

    version: int
    program: str


class SweepOpened(Event, frozen=True, tag="sweep"):
    """What will be run: stated once, before anything else of the sweep."""

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

    def __post_init__(self) -> None:
        """Refuse a network of a later version of the program."""
        _check_networks(self.configurations)


class ConductorStarted(Event, frozen=True, tag="conductor"):
    """A conductor took charge (again, if it is not the first of this journal)."""

    pid: int
    machine: dict[str, Any]


class DataProgress(Event, frozen=True, tag="data_progress"):
    """Bytes of a data set fetched so far; `total` is 0 where the server does not say."""

    name: str
    received: int
    total: int


class DataReady(Event, frozen=True, tag="data"):
    """The images are there: how many, of what shape (C, H, W), and their SHA-256."""

    name: str
    train: int
    test: int
    shape: tuple[int, int, int]
    digest: str


class Planned(Event, frozen=True, tag="plan"):
    """A group's numeric plan, before its first step."""

    plan: Plan


class WorkerReady(Event, frozen=True, tag="worker"):
    """A worker has its libraries and its device, and waits for orders.

    `node` is the machine, where it is one of a cluster, `free_bytes` what of its memory is left for
    this worker, and `sharing` how many such workers the device has room for.
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
    """A worker ended without being asked to."""

    worker: int
    reason: str


class WorkerDismissed(Event, frozen=True, tag="worker_dismissed"):
    """A worker was asked to end before the others: because fewer are faster, or for a `reason`."""

    worker: int
    reason: str = ""


class WorkerAwaited(Event, frozen=True, tag="worker_awaited"):
    """A worker is to be placed as soon as a cluster has what it `needs`, such as a GPU."""

    worker: int
    needs: str


class TrialStarted(Event, frozen=True, tag="started"):
    """A trial's training begins: at its first step, or after `resumed_steps` from a checkpoint.

    Then the figures of `resumed_epochs` finished epochs are in the checkpoint, and stated again.
    `batch_size` and `steps_per_epoch` go by the batch size of `[train]`; where it changes in
    mid-run, `total_samples` are the images of the whole budget.
    `stacked` replicates train as one stack, this one included. `layers` are the names of the
    network's layers with weights, and `layer_parameters` the number of weights of each.
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
    """How far a trial is; stated at most once a second.

    `reserved_bytes` is what the worker's allocator holds on its GPU.
    """

    trial: str
    attempt: int
    epoch: int
    steps: int
    samples: int
    seconds: float
    reserved_bytes: int | None = None


class EpochRecord(Struct, frozen=True, omit_defaults=True):
    """The figures of one epoch, measured at its end; `steps` and `samples` are totals.

    Accuracies are fractions, losses are means per sample, `seconds` is the training time of
    this epoch without evaluation and without the `warm_up_seconds` of a first step, `epoch_samples`
    what was trained in it. `lr` and `last_batch_size` are those of its last step, which may have
    had fewer images left to take.
    Validation figures are of the images held out, `None` where none are. `layer_norms` are the
    gradient norms of each layer over `layer_draws` steps, in the order of `TrialStarted.layers`;
    not every epoch of a long training has them.
    """

    epoch: int
    steps: int
    samples: int
    lr: float
    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float
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


class EpochsFinished(Event, frozen=True, tag="epochs"):
    """Every epoch of a trial since the last such statement.

    After the `last` one the trial's end follows at once: both are written down together.
    """

    trial: str
    attempt: int
    records: tuple[EpochRecord, ...]
    last: bool = False


class MicroBatchCut(Event, frozen=True, tag="cut"):
    """Memory ran out in the middle of a training, which went on with smaller pieces.

    From `steps` on, the micro-batch (of the `evaluation` or the `probe`, if so) has `size` samples.
    Where it `grew`, the size of the plan is tried again.
    """

    trial: str
    attempt: int
    steps: int
    size: int
    evaluation: bool = False
    probe: bool = False
    grew: bool = False


class TrialEnded(Event, frozen=True, tag="ended"):
    """A trial's last word. `failed` and `stopped` trials are run anew by `resume`."""

    trial: str
    attempt: int
    status: TrialStatus
    reason: str = ""


class Note(Event, frozen=True, tag="note"):
    """A sentence for the log."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    trial: str = ""


class TrialRetried(Event, frozen=True, tag="retried"):
    """On request: a trial whose `attempt` has ended is queued anew."""

    trial: str
    attempt: int


class ConfigurationsAdded(Event, frozen=True, tag="added"):
    """On request: more is run than the sweep began with."""

    configurations: tuple[Configuration, ...]

    def __post_init__(self) -> None:
        """Refuse a network of a later version of the program."""
        _check_networks(self.configurations)


class SweepPaused(Event, frozen=True, tag="paused"):
    """On request: no trial begins, and those that run hold still after their present step."""


class SweepContinued(Event, frozen=True, tag="continued"):
    """On request: the sweep goes on after a pause."""


class SweepEnded(Event, frozen=True, tag="sweep_ended"):
    """The conductor's last word: how the sweep ended, and how long it ran this time."""

    state: SweepEnding
    seconds: float
    trials: int
    finished: int
    failed: int
    reason: str = ""
    exit_code: int = 0


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
)


def _check_networks(configurations: Iterable[Configuration]) -> None:
    """Raise ValueError for an unknown network, so that a journal's line cannot be decoded."""
    for each in configurations:
        if each.settings.model.name not in FAMILIES:
            raise ValueError(f"unknown network {each.settings.model.name!r}")
