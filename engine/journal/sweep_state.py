"""SweepState: the state that results from a journal's events.

Screen, log, findings and export all read it. Applying the same event twice changes no figure.
Once a later attempt of a trial has begun, events of its earlier attempts are ignored. An event that
does not fit, since a damaged journal lost others or holds another sweep's, is counted and ignored.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import log_text
from batchscope.engine.journal.event_fit import fits
from batchscope.engine.journal.trial_state import TrialState as TrialState
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Configuration, informed, trials_of
from batchscope.engine.task_table import TaskFacts

LOG_LENGTH = 2000

SweepPhase = Literal[
    "preparing", "running", "paused", "finished", "failed", "stopped", "interrupted"
]
RETRIED: frozenset[str] = frozenset({"failed", "stopped", "skipped"})
NO_START = "a damaged line of the journal had its start"
NO_END = "a damaged line of the journal had its end"


@dataclass(slots=True)
class LogLine:
    """One line of the log. Epochs have no line here: there are too many of them."""

    at: float
    level: str
    text: str


class SweepState:
    """Everything that the journal has recorded so far."""

    def __init__(self) -> None:
        self.program = ""
        """The version of batchscope that started the journal."""
        self.opened: ev.SweepOpened | None = None
        self.conductor: ev.ConductorStarted | None = None
        self.data: dict[str, ev.DataReady] = {}
        self.fetching: ev.DataProgress | None = None
        self.configurations: dict[str, Configuration] = {}
        self.added: list[str] = []
        """Ids of the configurations that were added after the sweep began."""
        self.trials: dict[str, TrialState] = {}
        self.plans: dict[str, Plan] = {}
        self.measured: list[ev.MicroBatchesMeasured] = []
        self.paced: list[ev.Paced] = []
        self.measuring: dict[str, ev.Measuring] = {}
        """By the id of a trial: what is measured before its first step."""
        self.workers: dict[int, ev.WorkerReady] = {}
        self.awaited: dict[int, str] = {}
        """By worker number: the resources that a worker not yet placed on a cluster needs."""
        self.versions: dict[str, str] = {}
        self.memory: dict[str, deque[ev.MemorySampled]] = {}
        self.log: deque[LogLine] = deque(maxlen=LOG_LENGTH)
        self.said = 0
        self.pauses: list[tuple[float, float]] = []
        self.paused_at: float | None = None
        self.lines: dict[tuple[str, str], ev.Interpolated] = {}
        """Results along the line between two trials, by the ids of both."""
        self.ended: ev.SweepEnded | None = None
        self.version = 0
        self.last_at = 0.0
        self.journal_version = 0
        """The version of the journal; 0 if it is not known."""
        self.damaged = 0
        """Lines of the journal that were skipped, as its reader counted them."""
        self.rebuilt = False
        """Whether `opened` comes from `sweep.toml`, because its line is damaged."""
        self.strange = 0
        """Events that do not fit and were ignored."""
        self._foreign = False

    @property
    def lost(self) -> int:
        """The number of journal lines that could not be used, so that figures may be missing."""
        return self.damaged + self.strange

    def fold(self, events: Iterable[ev.AnyEvent]) -> "SweepState":
        """Apply events in order and return this state."""
        for event in events:
            self.apply(event)
        return self

    def apply(self, event: ev.AnyEvent) -> None:
        """Apply one event."""
        self.version += 1
        if isinstance(event, ev.SweepOpened):
            self._foreign = self.opened is not None and self.opened.id != event.id
        if self._foreign or not fits(event, self.opened, self.configurations, self.trials):
            self.strange += 1
            return
        self.last_at = max(self.last_at, event.at)
        match event:
            case ev.EpochsFinished():
                self._epochs(event)
            case ev.Probed():
                self._probed(event)
            case ev.Predicted():
                trial = self._current(event.trial, event.attempt)
                if trial:
                    trial.predicted = event
            case ev.SharpnessMeasured():
                self._sharpness(event)
            case ev.WeightsKept():
                self._weights(event)
            case ev.Interpolated():
                self._interpolated(event)
            case ev.Progress():
                trial = self._current(event.trial, event.attempt)
                if trial:
                    trial.progress = event
            case ev.TrialStarted():
                self._started(event)
            case ev.TrialEnded():
                self._ended(event)
            case ev.MemorySampled():
                samples = self.memory.setdefault(event.device, deque(maxlen=600))
                samples.append(event)
            case ev.Note():
                self._say(event.at, event.text, event.level)
            case ev.MicroBatchCut():
                self._cut(event)
            case ev.MicroBatchesMeasured():
                self._measured(event)
            case ev.Paced():
                self._timed(event)
            case ev.Measuring():
                self._measuring(event)
            case ev.Planned():
                self._end_survey()
                for member in event.plan.members:
                    self.plans[member] = event.plan
                    self.measuring.pop(member, None)
            case _:
                self._whole(event)

    def repeats(self, event: ev.AnyEvent) -> bool:
        """Return whether the journal already contains the result in this event.

        A worker that resumes from a checkpoint repeats the results stored there.
        """
        match event:
            case ev.EpochsFinished(trial=name):
                epochs = set(self.trials[name].records.column("epoch"))
                return all(record.epoch in epochs for record in event.records)
            case ev.Probed(trial=name):
                return any(probe.at_share == event.at_share for probe in self.trials[name].probes)
            case ev.Predicted(trial=name):
                earlier = self.trials[name].predicted
                return earlier is not None and earlier.packed == event.packed
            case ev.SharpnessMeasured(trial=name):
                return any(each.epsilon == event.epsilon for each in self.trials[name].sharpness)
            case ev.MicroBatchCut(trial=name):
                return any(_same_cut(cut, event) for cut in self.trials[name].cuts)
            case _:
                return False

    def job_of(self, trial: str) -> str:
        """Return the key of the job that trains a trial and holds its checkpoints.

        It is the trial's group, or the trial itself if it was separated from its group.
        """
        plan = self.plans.get(trial)
        return trial if plan is None or self.trials[trial].apart else plan.group

    def members_of(self, job: str, trial: str) -> list[str]:
        """Return the trials of the plan of `trial` that belong to `job`."""
        plan = self.plans.get(trial)
        return [name for name in (plan.members if plan else (trial,)) if self.job_of(name) == job]

    def phase(self, alive: bool) -> SweepPhase:
        """Return the phase of the sweep.

        Args:
            alive: whether a conductor holds the sweep's lock.
        """
        if self.ended and not alive:
            return self.ended.state
        if not alive:
            return "interrupted"
        if self.paused_at is not None:
            return "paused"
        return "running" if self.workers else "preparing"

    def paused_between(self, since: float, until: float) -> float:
        """Return for how many seconds the sweep was paused between two times (Unix seconds)."""
        open_end = [] if self.paused_at is None else [(self.paused_at, until)]
        overlaps = (min(end, until) - max(at, since) for at, end in (*self.pauses, *open_end))
        return sum(overlap for overlap in overlaps if overlap > 0)

    def count(self, *status: str) -> int:
        """Return the number of trials that have one of the given statuses."""
        return sum(trial.status in status for trial in self.trials.values())

    def replicates(self, configuration: str) -> list[TrialState]:
        """Return the trials of a configuration, ordered by seed."""
        of = self.configurations[configuration]
        return [self.trials[trial.id] for trial in trials_of(of)]

    def _whole(self, event: ev.AnyEvent) -> None:
        """Apply an event about the whole sweep."""
        match event:
            case ev.JournalOpened():
                self.program, self.journal_version = event.program, event.version
            case ev.SweepOpened():
                self._opened(event)
            case ev.ConductorStarted():
                if self.conductor:
                    self._say(event.at, "sweep resumed")
                self._paused(None, event.at)  # a pause ends with the conductor
                self.conductor, self.ended = event, None
                self.workers.clear()
                self.awaited.clear()
                self.measuring.clear()
                for trial in self.trials.values():
                    if not trial.done:
                        trial.status, trial.reason, trial.progress = "queued", "", None
            case ev.DataProgress():
                self.fetching = event
            case ev.DataReady():
                self.data[event.name], self.fetching = event, None
                self._say(event.at, log_text.data_ready(event))
                if event.task:
                    if event.task.accepted:
                        text = log_text.accepted_code(event.name, event.task)
                        self._say(event.at, text, "warning")
                    self._inform(event.name, event.task)
            case ev.CodeLoaded():
                self._loaded(event)
            case ev.CodeRefused():
                self._say(event.at, event.reason, "error")
            case ev.WorkerReady():
                self.workers[event.worker] = event
                self.awaited.pop(event.worker, None)
                self.versions.update(event.versions)
                self._say(event.at, log_text.worker_ready(event))
            case ev.WorkerAwaited():
                self.awaited[event.worker] = event.needs
                self._say(event.at, f"worker {event.worker}: waits for {event.needs}")
            case ev.WorkerLost():
                self.workers.pop(event.worker, None)
                self.awaited.pop(event.worker, None)
                for trial in self.trials.values():
                    by = trial.started.worker if trial.started else None
                    if trial.status == "running" and by == event.worker:
                        trial.status, trial.progress = "queued", None
                self._say(event.at, f"worker {event.worker}: {event.reason}", "error")
            case ev.WorkerDismissed():
                self.workers.pop(event.worker, None)
                self.awaited.pop(event.worker, None)
                self._say(event.at, log_text.worker_dismissed(event))
            case ev.TrialRetried():
                self._retried(event)
            case ev.ConfigurationsAdded():
                self._added(event)
            case ev.SweepPaused():
                if self.paused_at is None:
                    self._say(event.at, "paused by you")
                    self._paused(event.at, event.at)
            case ev.SweepContinued():
                if self.paused_at is not None:
                    pause = event.at - self.paused_at
                    self._say(event.at, f"continued after a pause of {pause:.0f} s")
                    self._paused(None, event.at)
            case ev.SweepEnded():
                self._sweep_ended(event)
            case _:
                pass

    def _paused(self, since: float | None, at: float) -> None:
        """Record that the sweep is paused since `since`, or (None) that the pause ended at `at`."""
        if self.paused_at is not None:
            self.pauses.append((self.paused_at, at))
        self.paused_at = since

    def _opened(self, event: ev.SweepOpened) -> None:
        self.opened = event
        self._adopt(event.configurations)
        self._say(event.at, log_text.opened(event, len(self.trials)))
        for note in event.notes:
            self._say(event.at, note, "warning")

    def _loaded(self, event: ev.CodeLoaded) -> None:
        """Add the digests of modules that were imported late."""
        ready = self.data.get(event.name)
        if ready is None or ready.task is None:
            return
        digests = tuple(sorted({**dict(event.digests), **dict(ready.task.digests)}.items()))
        facts = msgspec.structs.replace(ready.task, digests=digests)
        self.data[event.name] = msgspec.structs.replace(ready, task=facts)
        self._inform(event.name, facts)

    def _inform(self, name: str, facts: TaskFacts) -> None:
        """Complete the settings of a task's configurations with what its run has shown."""
        for configuration in list(self.configurations.values()):
            if configuration.settings.task is None or configuration.settings.data.name != name:
                continue
            settings = informed(configuration.settings, facts)
            known = msgspec.structs.replace(configuration, settings=settings)
            self.configurations[configuration.id] = known
            for trial in self.replicates(configuration.id):
                trial.settings = settings

    def known(self, configuration: Configuration) -> Configuration:
        """Return a configuration with what is known of its task."""
        ready = self.data.get(configuration.settings.data.name)
        if configuration.settings.task is None or ready is None or ready.task is None:
            return configuration
        settings = informed(configuration.settings, ready.task)
        return msgspec.structs.replace(configuration, settings=settings)

    def _adopt(self, configurations: Iterable[Configuration]) -> None:
        for configuration in map(self.known, configurations):
            self.configurations[configuration.id] = configuration
            for trial in trials_of(configuration):
                self.trials.setdefault(
                    trial.id,
                    TrialState(trial.id, trial.configuration, trial.seed, trial.settings),
                )

    def _added(self, event: ev.ConfigurationsAdded) -> None:
        new = [each for each in event.configurations if each.id not in self.configurations]
        if new:
            self._adopt(new)
            self.added += [configuration.id for configuration in new]
            for each in new:
                if each.confirms:
                    chosen = self.configurations[each.confirms].label
                    self._say(event.at, log_text.chosen(chosen, len(each.seeds)))
            new = [each for each in new if not each.confirms]
        if new:
            self._say(event.at, log_text.added(new))

    def _retried(self, event: ev.TrialRetried) -> None:
        trial = self.trials.get(event.trial)
        if trial is None or trial.attempt != event.attempt or trial.status not in RETRIED:
            return
        trial.status, trial.reason, trial.progress, trial.ended_at = "queued", "", None, None
        self._say(event.at, f"{trial.id}: queued again by you")

    @property
    def needed(self) -> str:
        """The resources that the next worker waits for on a cluster; empty if none waits."""
        return next(iter(self.awaited.values()), "")

    def _current(self, name: str, attempt: int) -> TrialState | None:
        trial = self.trials.get(name)
        return trial if trial and trial.attempt == attempt and not trial.done else None

    def _started(self, event: ev.TrialStarted) -> None:
        trial = self.trials.get(event.trial)
        if trial is None or trial.done or event.attempt < trial.attempt:
            return
        if event.attempt > trial.attempt:
            if event.resumed_steps is None:
                trial.forget()
            else:
                trial.go_back(event.resumed_epochs, event.resumed_steps)
        self._leave_behind(event.trial)
        trial.attempt, trial.started, trial.progress = event.attempt, event, None
        ready = self.data.get(trial.settings.data.name)
        trial.accepted_code |= bool(ready and ready.task and ready.task.accepted)
        worker = self.workers.get(event.worker)
        node = f" on {worker.node}" if worker and worker.node else ""
        trial.status, trial.reason, trial.device = "running", "", f"{event.device}{node}"
        self._say(event.at, log_text.trial_started(event, trial.device))

    def _leave_behind(self, name: str) -> None:
        """Mark the unfinished trials of a group that continues without them as separate.

        The group's later checkpoints do not hold them.
        """
        plan = self.plans.get(name)
        if plan is None or self.trials[name].apart:
            return
        for member in plan.members:
            other = self.trials.get(member)
            if member != name and other is not None and other.status in RETRIED:
                other.apart = True

    def _epochs(self, event: ev.EpochsFinished) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial is None:
            return
        try:
            if trial.last is None or event.records[0].epoch > trial.last.epoch:
                trial.records.extend(event.records)
            else:
                trial.records.merge(event.records)
        except OverflowError:  # a count that no training can have
            self.strange += 1

    def _measuring(self, event: ev.Measuring) -> None:
        """Record what is measured; the number of workers is chosen before all else."""
        self._end_survey()
        self.measuring.pop(event.trial, None)  # so that the latest comes last
        self.measuring[event.trial] = event

    def _end_survey(self) -> None:
        """Forget that the number of workers is measured: something else has begun."""
        known = self.measuring.items()
        self.measuring = {name: each for name, each in known if each.what != "workers"}

    def _measured(self, event: ev.MicroBatchesMeasured) -> None:
        if event in self.measured:
            return
        self.measured.append(event)
        self._say(event.at, log_text.measured(event))

    def _timed(self, event: ev.Paced) -> None:
        if event in self.paced:
            return
        self.paced.append(event)
        self._say(event.at, log_text.paced(event))

    def _cut(self, event: ev.MicroBatchCut) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial and not any(_same_cut(cut, event) for cut in trial.cuts):
            trial.cuts.append(event)
            self._say(event.at, log_text.cut(event), "info" if event.grew else "warning")

    def _probed(self, event: ev.Probed) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial and all(known.at_share != event.at_share for known in trial.probes):
            trial.probes.append(event)
            trial.probes.sort(key=lambda probe: probe.at_share)
            self._say(event.at, log_text.probed(event))

    def _sharpness(self, event: ev.SharpnessMeasured) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial and all(known.epsilon != event.epsilon for known in trial.sharpness):
            trial.sharpness.append(event)
            self._say(event.at, log_text.sharpness(event))

    def _weights(self, event: ev.WeightsKept) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial:
            trial.weights = event
            if event.reason:
                text = f"the final weights could not be kept ({event.reason})"
                self._say(event.at, f"{trial.id}: {text}", "warning")

    def _interpolated(self, event: ev.Interpolated) -> None:
        pair = event.start, event.end
        if pair in self.lines:
            return
        self.lines[pair] = event
        self._say(event.at, log_text.interpolated(event), "info" if event.points else "warning")

    def _ended(self, event: ev.TrialEnded) -> None:
        trial = self.trials.get(event.trial)
        if trial is None or trial.done or event.attempt < trial.attempt:
            return
        reason = event.reason
        if event.attempt > trial.attempt:  # it ended before its first step
            trial.forget()
            trial.started = None
            if event.status in ("finished", "diverged"):
                reason = reason or NO_START
        trial.apart = trial.apart or (event.status == "skipped" and event.trial in self.plans)
        self.measuring.pop(event.trial, None)
        trial.attempt, trial.status = event.attempt, event.status
        trial.reason, trial.ended_at, trial.progress = reason, event.at, None
        level = "error" if event.status == "failed" else "info"
        self._say(event.at, log_text.trial_ended(event, trial), level)

    def _sweep_ended(self, event: ev.SweepEnded) -> None:
        self._paused(None, event.at)
        self.ended = event
        self.measuring.clear()
        for trial in self.trials.values():
            if trial.status == "running":  # a conductor ends every trial before the sweep
                stopped = event.state == "stopped"
                trial.status, trial.reason = "stopped" if stopped else "failed", NO_END
                trial.progress = None
        others = {how: self.count(how) for how in ("diverged", "skipped")}
        text = log_text.sweep_ended(event, others)
        self._say(event.at, text, "error" if event.state == "failed" else "info")

    def _say(self, at: float, text: str, level: str = "info") -> None:
        self.said += 1
        self.log.append(LogLine(at, level, text))


def _same_cut(one: ev.MicroBatchCut, other: ev.MicroBatchCut) -> bool:
    """Return whether both events report the same cut of the micro-batch, in any attempt."""
    return msgspec.structs.replace(one, at=0.0, attempt=0) == msgspec.structs.replace(
        other, at=0.0, attempt=0
    )
