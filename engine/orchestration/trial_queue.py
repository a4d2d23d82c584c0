"""The queue of groups of trials that wait for a worker.

A group is what one worker trains at a time: a trial, or replicates as one stack. The plans decide
which replicates form a stack. Before that, all replicates of a configuration that may be stacked
are one group, and the worker that gets it has them planned.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from batchscope.engine.analysis.tuning import to_confirm
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration.costs import Costs
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.planning.list_scheduling import Job, in_turns, rank
from batchscope.engine.planning.plan import Plan, full_batch, reusable
from batchscope.engine.planning.stacking import largest_stack
from batchscope.engine.schedule.course import changing
from batchscope.engine.schedule.probe_sizes import competing_pairs
from batchscope.engine.schedule.reached_rate import hardly_reached
from batchscope.engine.spec import Configuration, Trial, trials_of

FIRST = (float("-inf"), 0.0)


@dataclass(frozen=True, slots=True)
class Group:
    """Trials that are handed to a worker together.

    Attributes:
        key: the name of the job that trains them and keeps their checkpoints.
        trials: the trials that wait.
        plan: their numeric plan, or None if they have none yet.
    """

    key: str
    trials: tuple[Trial, ...]
    plan: Plan | None


class TrialQueue:
    """The waiting groups in the order in which workers get them.

    Args:
        preset: the experiment.
        ledger: the journal.
    """

    def __init__(self, preset: Preset, ledger: JournalWriter) -> None:
        self.preset, self._ledger = preset, ledger
        self.workers = 1  # how many workers share the queue
        self.awaits: Callable[[], bool] = bool
        """Returns whether trials will join whose data are not prepared yet."""
        self._data: Mapping[str, Prepared] = {}
        self._trials: dict[str, Trial] = {}
        self._waiting: list[tuple[tuple[float, float], int, Group]] = []
        self._places: dict[str, int] = {}
        self._out: dict[str, Group] = {}
        self._costs = Costs(ledger.state, {})
        self._by_turns = True
        self._noted: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, may: Callable[[str], bool] = lambda key: True) -> Group | None:
        """Take the next group for which `may(key)` is true; return None if there is none."""
        for index, (_, _, group) in enumerate(self._waiting):
            if may(group.key):
                del self._waiting[index]
                self._hand_out(group)
                return group
        return None

    def give_back(self, group: Group) -> None:
        """Give back a group that was taken; its unfinished trials wait again."""
        self._let_go(group)
        for each in self._groups(self._all_of(group)):
            self._insert(each)

    def put_back(self, group: Group) -> None:
        """Give back a group that was taken; its unfinished trials are next in the queue."""
        self._let_go(group)
        for each in self._groups(self._all_of(group)):
            self._insert(each, FIRST if each.key == group.key else None)

    def settled(self, group: Group) -> Group | None:
        """Split a group by its new plans: take the first part, and queue the others."""
        self._let_go(group)
        made = self._groups(group.trials)
        first = next((each for each in made if each.plan), None)
        for each in made:
            if each is first:
                self._hand_out(each)
            else:
                self._insert(each)
        return first

    def is_out(self, trial: str) -> bool:
        """Return whether the trial is assigned to a worker.

        A trial that its group continues without no longer belongs to the group's worker.
        """
        group = self._out.get(trial)
        if group is None or group.plan is None:
            return group is not None
        return self._ledger.state.job_of(trial) == group.key

    def members(self, plan: Plan) -> tuple[Trial, ...]:
        """Return the trials of a plan."""
        return tuple(self._trials[name] for name in plan.members)

    def groups(self) -> list[Group]:
        """Return the waiting groups in order."""
        return [group for _, _, group in self._waiting]

    def waiting(self) -> list[float]:
        """Return the expected seconds of each waiting group."""
        return [self._job(group).seconds for _, _, group in self._waiting]

    def seconds(self, group: Group) -> float:
        """Return the expected seconds of a group."""
        return self._job(group).seconds

    def fill(self, data: Mapping[str, Prepared]) -> None:
        """Queue the waiting trials, once the data sets are prepared."""
        self._data, self._costs = data, Costs(self._ledger.state, data)
        self.line_up()

    def confirm_choices(self) -> None:
        """Queue the fresh seeds of each choice of `[select]` that has none yet.

        What is missing follows from the journal alone, so this may be called at any time and again
        after a restart: no choice is confirmed twice, and none is forgotten.
        """
        new = to_confirm(self._ledger.state)
        if new:
            self._ledger.write(ev.ConfigurationsAdded(configurations=new))
            self.line_up()

    def line_up(self) -> None:
        """Rebuild the queue from everything that waits."""
        if not self._data:
            return
        by_seed = sorted(
            (trial for each in self._configurations() for trial in trials_of(each)),
            key=lambda trial: trial.seed,
        )
        first = {each.id: each.seeds[0] for each in self.preset.configurations}
        self._trials = {trial.id: trial for trial in by_seed}
        self._places = {trial.id: place for place, trial in enumerate(by_seed)}
        self._skip_twins(by_seed)
        self._take_recorded()
        for trial in by_seed:
            if trial.seed == first.get(trial.configuration) and self._waits(trial):
                self._warn(trial)
        groups = self._groups(by_seed)
        self._by_turns = in_turns([self._job(group) for group in groups], self.workers)
        self._waiting.clear()
        for group in groups:
            self._insert(group)
        self._ledger.sync()

    def _configurations(self) -> list[Configuration]:
        """Return those of the preset, then those that train a chosen candidate again.

        Those whose data are not prepared yet are left out.
        """
        state = self._ledger.state
        every = state.configurations.values()
        stated = map(state.known, self.preset.configurations)
        known = [*stated, *(each for each in every if each.confirms)]
        return [each for each in known if each.settings.data.name in self._data]

    def _skip_twins(self, by_seed: Iterable[Trial]) -> None:
        """Skip trials that equal another because both batches exceed the training set."""
        first_of: dict[bytes, Trial] = {}
        for trial in by_seed:
            size = self._size(trial)
            twin = first_of.setdefault(_essence(trial, size), trial)
            if twin is not trial and self._waits(trial):
                reason = f"with only {size:,} training samples it equals {twin.id}"
                attempt = self._ledger.state.trials[trial.id].attempt
                self._ledger.write(
                    ev.TrialEnded(trial=trial.id, attempt=attempt, status="skipped", reason=reason)
                )

    def _take_recorded(self) -> None:
        """Record the preset's own plans, where all trials of the plan wait without one."""
        planned = self._ledger.state.plans
        for plan in self.preset.plans:
            members = [self._trials[name] for name in plan.members if name in self._trials]
            free = [trial for trial in members if trial.id not in planned and self._waits(trial)]
            whole = len(free) == len(plan.members)
            if whole and free and reusable([plan], free, self._size(free[0])):
                self._ledger.write(ev.Planned(plan=plan))

    def _warn(self, trial: Trial) -> None:
        """Warn once per configuration about settings that exceed the training set or the budget."""
        if self._ledger.state.trials[trial.id].attempt or trial.id in self._noted:
            return
        self._noted.add(trial.id)
        size = self._size(trial)
        if not size:  # its task cannot be trained
            return
        hardly = hardly_reached(trial.settings, size)
        for text in (*_too_large(trial, size), *([hardly] if hardly else ())):
            self._ledger.write(ev.Note(level="warning", text=text, trial=trial.id))

    def _waits(self, trial: Trial) -> bool:
        """Return whether a trial waits to be trained and is not assigned to a worker."""
        status = self._ledger.state.trials[trial.id].status
        return status in ("queued", "running") and not self.is_out(trial.id)

    def _groups(self, trials: Iterable[Trial]) -> list[Group]:
        """Return those of the trials that wait, as groups."""
        state, waiting = self._ledger.state, dict[tuple[bool, str], list[Trial]]()
        for trial in filter(self._waits, trials):
            planned, name = trial.id in state.plans, trial.id
            if planned:
                name = state.job_of(trial.id)
            elif largest_stack(trial.settings) > 1:
                name = trial.configuration
            waiting.setdefault((planned, name), []).append(trial)
        out = {group.key for group in self._out.values()}
        return [
            Group(
                name if planned else members[0].id, tuple(members), state.plans.get(members[0].id)
            )
            for (planned, name), members in waiting.items()
            if not planned or name not in out
        ]

    def _all_of(self, group: Group) -> tuple[Trial, ...]:
        return self.members(group.plan) if group.plan else group.trials

    def _hand_out(self, group: Group) -> None:
        self._out |= {trial.id: group for trial in group.trials}

    def _let_go(self, group: Group) -> None:
        for trial in group.trials:
            if self._out.get(trial.id) is group:
                del self._out[trial.id]

    def _insert(self, group: Group, at: tuple[float, float] | None = None) -> None:
        where = at or rank(self._job(group), self._by_turns)
        place = self._places[group.trials[0].id]
        insort(self._waiting, (where, place, group), key=lambda each: each[:2])

    def _job(self, group: Group) -> Job:
        size = len(group.plan.members) if group.plan else len(group.trials)
        first = group.trials[0]
        return Job(first.seed, self._costs.stack(first, size))

    def _size(self, trial: Trial) -> int:
        """Return the number of samples that a trial trains on."""
        return training_size(trial.settings.data, self._data[trial.settings.data.name].train)


def _too_large(trial: Trial, train_size: int) -> Iterator[str]:
    """Yield a warning for each setting of a trial that exceeds the training set."""
    if trial.batch_size > train_size:
        yield full_batch(trial.batch_size, train_size)
    largest = max((p.batch_size or 0 for p in trial.settings.phases), default=0)
    if largest > train_size:
        yield f"phases: {full_batch(largest, train_size)}"
    held = competing_pairs(trial.settings, train_size)
    for small, large in trial.settings.probe.pairs:
        if (small, large) not in held:
            yield (
                f"probe.pairs: {small:,} against {large:,} is left out, there are only "
                f"{train_size:,} training samples"
            )


def _essence(trial: Trial, train_size: int) -> bytes:
    """Return a key that is equal for trials that would train identically.

    It holds the settings, with batch sizes capped at the training set, and the seed.
    """
    replace, settings = msgspec.structs.replace, trial.settings
    train = replace(settings.train, batch_size=min(settings.train.batch_size, train_size))
    run = replace(settings.run, keep_weights=False)
    settings = replace(settings, train=train, run=run)
    if changing(settings):
        most = min(settings.schedule.max_batch_size or train_size, train_size)
        phases = tuple(
            replace(phase, batch_size=phase.batch_size and min(phase.batch_size, train_size))
            for phase in settings.phases
        )
        schedule = replace(settings.schedule, max_batch_size=most)
        settings = replace(settings, schedule=schedule, phases=phases)
    return msgspec.json.encode((settings, trial.seed))
