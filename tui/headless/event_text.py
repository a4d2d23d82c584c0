"""What is said of each event in the log: its stable name, its text, and its figures.

Pure functions of an event and the fold that has taken it in. Progress, samples of memory, plans and
predictions have no line: they are in the journal.
"""

from collections.abc import Iterator, Sequence

from batchscope.engine.analysis.stack_times import stacked
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import LogLine, SweepState
from batchscope.tui.headless.log_lines import Line

KINDS: dict[type, tuple[str, tuple[str, ...]]] = {
    ev.SweepOpened: ("sweep-opened", ("preset", "title")),
    ev.ConductorStarted: ("sweep-resumed", ("pid",)),
    ev.DataProgress: ("data-progress", ("name", "received", "total")),
    ev.DataReady: ("data-ready", ("name", "train", "test", "digest")),
    ev.WorkerReady: (
        "worker-ready",
        ("worker", "device", "device_name", "node", "threads", "seconds"),
    ),
    ev.WorkerLost: ("worker-lost", ("worker", "reason")),
    ev.WorkerDismissed: ("worker-dismissed", ("worker", "reason")),
    ev.WorkerAwaited: ("worker-awaited", ("worker", "needs")),
    ev.MicroBatchesMeasured: ("micro-batch-measured", ("trial", "device", "seconds")),
    ev.Paced: ("stacks-timed", ("trial", "worker", "seconds")),
    ev.TrialStarted: (
        "trial-started",
        ("trial", "device", "worker", "micro_batch_size", "lr", "total_steps", "resumed_steps"),
    ),
    ev.EpochsFinished: ("epoch", ("trial",)),
    ev.MicroBatchCut: (
        "micro-batch-cut",
        ("trial", "steps", "size", "evaluation", "probe", "grew"),
    ),
    ev.Probed: ("probed", ("trial", "at_share", "epoch", "steps", "samples", "seconds")),
    ev.SharpnessMeasured: (
        "sharpness-measured",
        ("trial", "epsilon", "sharpness", "loss", "seconds", "reason"),
    ),
    ev.Interpolated: ("line-drawn", ("start", "end", "seconds", "reason")),
    ev.TrialEnded: ("trial-ended", ("trial", "status", "reason")),
    ev.TrialRetried: ("trial-retried", ("trial",)),
    ev.ConfigurationsAdded: ("trials-added", ()),
    ev.SweepPaused: ("sweep-paused", ()),
    ev.SweepContinued: ("sweep-continued", ()),
    ev.SweepEnded: (
        "sweep-ended",
        ("state", "exit_code", "reason", "trials", "finished", "failed", "seconds"),
    ),
    ev.Note: ("note", ()),
}
"""The name of each event's line, and which of its fields are figures of it."""
NOTE = "note"
EPOCH_FIGURES = (
    "epoch", "steps", "samples", "lr", "train_loss", "train_accuracy", "test_loss",
    "test_accuracy", "validation_loss", "validation_accuracy",
)  # fmt: skip
ROUTINE = frozenset(
    {"epoch", "data-progress", "trial-started", "micro-batch-measured", "stacks-timed"}
)
"""Names of the lines that a display makes needless: it shows the same, and moves."""


def said(event: ev.AnyEvent, state: SweepState, lines: Sequence[LogLine]) -> Iterator[Line]:
    """The lines of an event that the fold has words for; what follows the first are notes."""
    name, fields = KINDS.get(type(event), (NOTE, ()))
    figures = {field: _known(getattr(event, field)) for field in fields}
    match event:
        case ev.TrialEnded():
            name = f"trial-{event.status}"
            figures = {**of_trial(state, event.trial), **figures, **_reached(state, event.trial)}
        case ev.Note():
            figures = of_trial(state, event.trial)
        case ev.SweepOpened() | ev.ConfigurationsAdded():
            figures["trials"] = len(state.trials)
        case _ if "trial" in figures:
            figures = {**of_trial(state, str(figures["trial"])), **figures}
    for index, line in enumerate(lines):
        if index and isinstance(event, ev.SweepOpened):
            name, figures = NOTE, {}
        yield Line(name, line.text, line.level, line.at, figures)


def of_trial(state: SweepState, name: str) -> dict[str, object]:
    """Which trial it is about, by name and by what it trains with; empty where it is about none."""
    trial = state.trials.get(name)
    if trial is None:
        return {"trial": name} if name else {}
    return {
        "trial": trial.id,
        "configuration": trial.configuration,
        "batch_size": trial.batch_size,
        "seed": trial.seed,
        "attempt": trial.attempt,
    }


def each_epoch(
    state: SweepState, event: ev.EpochsFinished, records: Sequence[ev.EpochRecord]
) -> Iterator[Line]:
    """A line for each of the epochs of a statement."""
    for record in records:
        span = _epochs(state, event.trial, record.epoch, record.epoch)
        yield _epoch_line(state, event, record, span)


def latest_epoch(
    state: SweepState, event: ev.EpochsFinished, records: Sequence[ev.EpochRecord]
) -> Iterator[Line]:
    """One line for all epochs of a statement: which they are, and the figures of the last."""
    if records:
        span = _epochs(state, event.trial, records[0].epoch, records[-1].epoch)
        yield _epoch_line(state, event, records[-1], span)


def fetching(event: ev.DataProgress) -> Line:
    """How far a download is."""
    size = f" of {event.total / 1e6:.1f}" if event.total else ""
    text = f"fetching {event.name}: {event.received / 1e6:.1f}{size} MB"
    name, fields = KINDS[ev.DataProgress]
    return Line(name, text, at=event.at, figures={each: getattr(event, each) for each in fields})


def _epochs(state: SweepState, trial: str, first: int, last: int) -> str:
    of = state.trials[trial].settings.train.epochs
    span = f"epoch {last}" if first == last else f"epochs {first} to {last}"
    return f"{span} of {of}" if of else span


def _epoch_line(
    state: SweepState, event: ev.EpochsFinished, record: ev.EpochRecord, span: str
) -> Line:
    trial = state.trials[event.trial]
    size = stacked([trial])
    together = f" for {size} replicates together" if size > 1 else ""
    text = (
        f"{trial.id}: {span}, train {record.train_accuracy:.4f}, "
        f"test {record.test_accuracy:.4f}, {record.seconds:.3g} s{together}"
    )
    figures = {
        **of_trial(state, trial.id),
        **{name: getattr(record, name) for name in EPOCH_FIGURES},
        "epochs": trial.settings.train.epochs,
        "epoch_seconds": record.seconds,
        "stacked": size,
    }
    return Line(KINDS[ev.EpochsFinished][0], text, at=event.at, figures=figures)


def _known(value: object) -> object:
    """A value, or None where a text is empty."""
    return None if value == "" else value


def _reached(state: SweepState, name: str) -> dict[str, object]:
    """What a trial has reached as it ends."""
    last = state.trials[name].last if name in state.trials else None
    return {
        "epochs": last.epoch if last else 0,
        "steps": last.steps if last else 0,
        "train_accuracy": last.train_accuracy if last else None,
        "test_loss": last.test_loss if last else None,
        "test_accuracy": last.test_accuracy if last else None,
    }
