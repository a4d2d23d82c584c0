"""Every fact that a run can state, one frozen struct each.

A worker states what happened, the conductor stamps it and writes it down, and screen, log,
findings and export are all folds over what is written (`engine.state`). `at` is Unix time in
seconds, set by the conductor. A number that is not finite or not known is `None`.
"""

from typing import Any, Literal

from msgspec import Struct

from engine.plan import Plan
from engine.spec import Claim, Configuration

JOURNAL_VERSION = 1

TrialStatus = Literal["queued", "running", "finished", "diverged", "failed", "skipped", "stopped"]
SweepEnding = Literal["finished", "failed", "stopped"]


class Event(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """A fact with the moment it was written down."""

    at: float = 0.0


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
    """A worker has its libraries and its device, and waits for orders."""

    worker: int
    device: str
    device_name: str
    pid: int
    threads: int
    versions: dict[str, str]
    seconds: float


class WorkerLost(Event, frozen=True, tag="worker_lost"):
    """A worker ended without being asked to."""

    worker: int
    reason: str


class TrialStarted(Event, frozen=True, tag="started"):
    """A trial's training begins, from its first step."""

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


class NormSlice(Struct, frozen=True, array_like=True):
    """Gradient norms of consecutive steps: their histogram and their moments.

    `first_bin` and `counts` index the edges of `engine.bins`; `squares` is the sum of squared
    deviations from `mean`. Norms that are not finite are in `broken` alone.
    """

    first_step: int
    count: int
    mean: float
    squares: float
    first_bin: int
    counts: tuple[int, ...]
    broken: int = 0


class EpochRecord(Struct, frozen=True, omit_defaults=True):
    """The figures of one epoch, measured at its end; `steps` and `samples` are totals.

    Accuracies are fractions, losses are means per sample, `seconds` is the training time of
    this epoch without evaluation, `epoch_samples` what was trained in it.
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


class EpochsFinished(Event, frozen=True, tag="epochs"):
    """Every epoch of a trial since the last such statement."""

    trial: str
    attempt: int
    records: tuple[EpochRecord, ...]


class TrialEnded(Event, frozen=True, tag="ended"):
    """A trial's last word. `failed` and `stopped` trials are run anew by `resume`."""

    trial: str
    attempt: int
    status: TrialStatus
    reason: str = ""


class MemorySampled(Event, frozen=True, tag="memory"):
    """Bytes of a device: its total, what this sweep's processes hold, and what others hold."""

    device: str
    name: str
    total: int
    ours: int
    others: int


class Note(Event, frozen=True, tag="note"):
    """A sentence for the log."""

    text: str
    level: Literal["info", "warning", "error"] = "info"
    trial: str = ""


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
    | Planned
    | WorkerReady
    | WorkerLost
    | TrialStarted
    | Progress
    | EpochsFinished
    | TrialEnded
    | MemorySampled
    | Note
    | SweepEnded
)
