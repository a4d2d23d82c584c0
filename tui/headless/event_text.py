"""Makes the log line of each event: a stable name, a text, and figures.

These are pure functions of an event and the sweep's state after it. Progress, memory samples,
plans, predictions and what is being measured get no line; the journal has them.
"""

from collections.abc import Iterator, Sequence

from batchscope.engine.analysis.stack_times import stacked
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.headline import headline, number
from batchscope.engine.journal.sweep_state import LogLine, SweepState
from batchscope.tui.headless.log_lines import Line

KINDS: dict[type, tuple[str, tuple[str, ...]]] = {
    ev.SweepOpened: ("sweep-opened", ("preset", "title")),
    ev.ConductorStarted: ("sweep-resumed", ("pid",)),
    ev.DataProgress: ("data-progress", ("name", "received", "total")),
    ev.DataReady: ("data-ready", ("name", "train", "test", "digest")),
    ev.CodeRefused: ("code-refused", ("reason", "files")),
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
    ev.WeightsKept: ("weights-not-kept", ("trial", "reason")),
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
"""For each type of event: the name of its log line, and the fields that become figures."""
NOTE = "note"
EPOCH_FIGURES = (
    "epoch", "steps", "samples", "lr", "train_loss", "train_accuracy", "test_loss",
    "test_accuracy", "validation_loss", "validation_accuracy",
)  # fmt: skip
ROUTINE = frozenset(
    {"epoch", "data-progress", "trial-started", "micro-batch-measured", "stacks-timed"}
)
"""Names of the lines that are left out under a live display, which shows the same."""


def said(event: ev.AnyEvent, state: SweepState, lines: Sequence[LogLine]) -> Iterator[Line]:
    """Yield the log lines of an event.

    Args:
        event: the event.
        state: the sweep's state after the event.
        lines: the texts that the state made of it; those after the first are notes.
    """
    name, fields = KINDS.get(type(event), (NOTE, ()))
    figures = {field: _or_none(getattr(event, field)) for field in fields}
    match event:
        case ev.TrialEnded():
            name = f"trial-{event.status}"
            figures = {**of_trial(state, event.trial), **figures, **_reached(state, event.trial)}
        case ev.Note():
            figures = of_trial(state, event.trial)
        case ev.SweepOpened() | ev.ConfigurationsAdded():
            figures["trials"] = len(state.trials)
            if to_come := trials_to_come(state):
                figures["trials_after_choice"] = to_come
        case _ if "trial" in figures:
            figures = {**of_trial(state, str(figures["trial"])), **figures}
    for index, line in enumerate(lines):
        if index and isinstance(event, ev.SweepOpened):
            name, figures = NOTE, {}
        yield Line(name, line.text, line.level, line.at, figures)


def of_trial(state: SweepState, name: str) -> dict[str, object]:
    """Return the figures that identify a trial; empty if the name is empty."""
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
    """Yield one line for each epoch of an event."""
    for record in records:
        span = _epochs(state, event.trial, record.epoch, record.epoch)
        yield _epoch_line(state, event, record, span)


def latest_epoch(
    state: SweepState, event: ev.EpochsFinished, records: Sequence[ev.EpochRecord]
) -> Iterator[Line]:
    """Yield one line for all epochs of an event: their numbers, and the last one's figures."""
    if records:
        span = _epochs(state, event.trial, records[0].epoch, records[-1].epoch)
        yield _epoch_line(state, event, records[-1], span)


def fetching(event: ev.DataProgress) -> Line:
    """Return the line that says how far a download is."""
    size = f" of {event.total / 1e6:.1f}" if event.total else ""
    text = f"downloading {event.name}: {event.received / 1e6:.1f}{size} MB"
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
    together = f" for a stack of {size}" if size > 1 else ""
    told = headline(record, trial.settings.task)
    beside = f", {told.part} {number(told.test)}" if told.part else ""
    text = (
        f"{trial.id}: {span}, {told.name.replace('_', ' ')}: train {number(told.train)}{beside}, "
        f"epoch time {record.seconds:.3g} s{together}"
    )
    figures = {
        **of_trial(state, trial.id),
        **{name: getattr(record, name) for name in EPOCH_FIGURES},
        **record.metrics,
        "epochs": trial.settings.train.epochs,
        "epoch_seconds": record.seconds,
        "stacked": size,
    }
    return Line(KINDS[ev.EpochsFinished][0], text, at=event.at, figures=figures)


def _or_none(value: object) -> object:
    """Return the value, or None for an empty text."""
    return None if value == "" else value


def _reached(state: SweepState, name: str) -> dict[str, object]:
    """Return the figures of a trial's last epoch."""
    last = state.trials[name].last if name in state.trials else None
    return {
        "epochs": last.epoch if last else 0,
        "steps": last.steps if last else 0,
        "train_accuracy": last.train_accuracy if last else None,
        "test_loss": last.test_loss if last else None,
        "test_accuracy": last.test_accuracy if last else None,
        **(last.metrics if last else {}),
    }
