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
from batchscope.engine.journal.event_fit import fits
from batchscope.engine.journal.headline import headline
from batchscope.engine.journal.trial_state import TrialState as TrialState
from batchscope.engine.planning.plan import Plan
from batchscope.engine.planning.worker_count import Slots
from batchscope.engine.spec import Configuration, TaskFacts, informed, trials_of

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
            case ev.Planned():
                for member in event.plan.members:
                    self.plans[member] = event.plan
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
                for trial in self.trials.values():
                    if not trial.done:
                        trial.status, trial.reason, trial.progress = "queued", "", None
            case ev.DataProgress():
                self.fetching = event
            case ev.DataReady():
                self.data[event.name], self.fetching = event, None
                what = "samples" if event.task else "images"
                size = f"{event.train:,} training and {event.test:,} test {what}"
                self._say(event.at, f"{event.name}: {size}")
                if event.task:
                    self._accept(event.at, event.name, event.task)
                    self._inform(event.name, event.task)
            case ev.CodeLoaded():
                self._loaded(event)
            case ev.CodeRefused():
                self._say(event.at, event.reason, "error")
            case ev.WorkerReady():
                self.workers[event.worker] = event
                self.awaited.pop(event.worker, None)
                self.versions.update(event.versions)
                start = f"ready on {event.device_name} after {event.seconds:.1f} s"
                self._say(event.at, f"worker {event.worker}: {start}")
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
                why = event.reason or "fewer workers are faster"
                self._say(event.at, f"worker {event.worker}: ended, {why}")
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
        after = event.selection.seeds_after if event.selection else 0
        to_come = after * len({each.rivals for each in event.configurations if each.rivals})
        then = f" and {to_come} after the choice" if to_come else ""
        self._say(event.at, f"{len(self.trials)} trials{then} of {event.preset}: {event.title}")
        for note in event.notes:
            self._say(event.at, note, "warning")

    def _accept(self, at: float, name: str, facts: TaskFacts) -> None:
        """Say that a sweep goes on with other code than it began with."""
        if facts.accepted:
            text = (
                f"{name}: the code was changed after this sweep began "
                f"({', '.join(facts.accepted)}), and it goes on with --accept-code; the trials "
                "that train with the new code are marked"
            )
            self._say(at, text, "warning")

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
                    seeds = f"{len(each.seeds)} fresh seed{'s' * (len(each.seeds) > 1)}"
                    self._say(event.at, f"{chosen}: chosen; queued again with {seeds}")
            new = [each for each in new if not each.confirms]
        if new:
            sizes = dict.fromkeys(configuration.settings.train.batch_size for configuration in new)
            named = ", ".join(f"{size:,}" for size in sizes)
            count = sum(len(configuration.seeds) for configuration in new)
            what = f"{count} trial{'s' if count != 1 else ''} of batch size {named}"
            self._say(event.at, f"added by you: {what}")

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
        again = f", attempt {event.attempt}" if event.attempt > 1 else ""
        if event.resumed_steps is not None:
            again += f", resumed after step {event.resumed_steps:,}"
        self._say(event.at, f"{trial.id}: started on {trial.device}{again}")

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

    def _measured(self, event: ev.MicroBatchesMeasured) -> None:
        if event in self.measured:
            return
        self.measured.append(event)
        count = len(event.shapes)
        sizes = f"{count} micro-batch size{'s' * (count != 1)}"
        tried = f"{sizes} for a batch of {event.batch_size:,}"
        self._say(event.at, f"{event.trial}: measured {tried} in {event.seconds:.1f} s")

    def _timed(self, event: ev.Paced) -> None:
        if event in self.paced:
            return
        self.paced.append(event)
        *smaller, largest = [f"{stack.size:,}" for stack in event.stacks] or ["0"]
        sizes = f"{', '.join(smaller)} and {largest}" if smaller else largest
        slots = Slots(event.workers, event.threads)
        together = f", {slots} at once" if event.workers else ""
        text = f"timed stacks of {sizes} replicates in {event.seconds:.1f} s{together}"
        self._say(event.at, f"{event.trial}: {text}")

    def _cut(self, event: ev.MicroBatchCut) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial and not any(_same_cut(cut, event) for cut in trial.cuts):
            trial.cuts.append(event)
            what = "probing" if event.probe else "evaluating" if event.evaluation else "training"
            text = f"{what} with micro-batches of {event.size:,}"
            if event.grew:
                text = f"from step {event.steps:,} {text} again, as planned"
                self._say(event.at, f"{trial.id}: {text}")
                return
            text = f"out of memory at step {event.steps:,}: now {text}"
            self._say(event.at, f"{trial.id}: {text}", "warning")

    def _probed(self, event: ev.Probed) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial and all(known.at_share != event.at_share for known in trial.probes):
            trial.probes.append(event)
            trial.probes.sort(key=lambda probe: probe.at_share)
            took = f"in {event.seconds:.1f} s"
            where = (
                f"{100 * event.at_share:.0f} % of its budget"
                if event.at_share < 1
                else "the end of training"
            )
            self._say(event.at, f"{trial.id}: probed at {where}, step {event.steps:,}, {took}")

    def _sharpness(self, event: ev.SharpnessMeasured) -> None:
        trial = self._current(event.trial, event.attempt)
        if trial and all(known.epsilon != event.epsilon for known in trial.sharpness):
            trial.sharpness.append(event)
            sharpness = "unknown" if event.sharpness is None else f"{event.sharpness:.4g} %"
            why = f" ({event.reason})" if event.reason else ""
            text = f"sharpness {sharpness} at ε = {event.epsilon:g} in {event.seconds:.1f} s{why}"
            self._say(event.at, f"{trial.id}: {text}")

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
        between = f"interpolation from {event.start} to {event.end}"
        if event.points:
            self._say(event.at, f"{between}: {len(event.points)} points in {event.seconds:.1f} s")
        else:
            self._say(event.at, f"{between} not measured: {event.reason}", "warning")

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
        trial.attempt, trial.status = event.attempt, event.status
        trial.reason, trial.ended_at, trial.progress = reason, event.at, None
        accuracy = f", {headline(trial.last, trial.settings.task).text}" if trial.last else ""
        level = "error" if event.status == "failed" else "info"
        outcome = f"{event.status}{accuracy}"
        if event.reason.startswith(f"{event.status} "):  # "skipped by you"
            outcome = f"{event.reason}{accuracy}"
        elif event.reason:
            outcome = f"{outcome}: {event.reason}"
        self._say(event.at, f"{trial.id}: {outcome}", level)

    def _sweep_ended(self, event: ev.SweepEnded) -> None:
        self._paused(None, event.at)
        self.ended = event
        for trial in self.trials.values():
            if trial.status == "running":  # a conductor ends every trial before the sweep
                stopped = event.state == "stopped"
                trial.status, trial.reason = "stopped" if stopped else "failed", NO_END
                trial.progress = None
        why = f": {event.reason}" if event.reason else ""
        others = "".join(
            f", {self.count(how)} {how}" for how in ("diverged", "skipped") if self.count(how)
        )
        done = f"{event.finished} of {event.trials} trials finished{others}"
        text = f"sweep {event.state}, {done}{why}"
        self._say(event.at, text, "error" if event.state == "failed" else "info")

    def _say(self, at: float, text: str, level: str = "info") -> None:
        self.said += 1
        self.log.append(LogLine(at, level, text))


def _same_cut(one: ev.MicroBatchCut, other: ev.MicroBatchCut) -> bool:
    """Return whether both events report the same cut of the micro-batch, in any attempt."""
    return msgspec.structs.replace(one, at=0.0, attempt=0) == msgspec.structs.replace(
        other, at=0.0, attempt=0
    )
