"""The trials that a conductor has left to hand out, and those that need no training."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import msgspec

from engine import events as ev
from engine.course import changing
from engine.drawn import competing_pairs
from engine.ledger import Ledger
from engine.plan import full_batch, reusable
from engine.prepared import Prepared
from engine.reading import Preset
from engine.spec import Trial, trials_of
from engine.split import training_size


class TrialQueue:
    """Trials in the order in which workers get them."""

    def __init__(self, preset: Preset, ledger: Ledger) -> None:
        self.preset, self._ledger = preset, ledger
        self._data: Mapping[str, Prepared] = {}
        self._waiting: deque[Trial] = deque()
        self._out: set[str] = set()
        self._noted: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, may: Callable[[str], bool] = lambda trial: True) -> Trial | None:
        """The next trial that one `may` have, until it is given back; None where there is none."""
        for trial in self._waiting:
            if may(trial.id):
                self._waiting.remove(trial)
                self._out.add(trial.id)
                return trial
        return None

    def give_back(self, trial: str) -> None:
        """A trial that was taken is in nobody's hands any more."""
        self._out.discard(trial)

    def is_out(self, trial: str) -> bool:
        """Whether somebody has taken a trial and not given it back."""
        return trial in self._out

    def put_back(self, trial: Trial) -> None:
        """Have a trial taken again that was taken, before all others."""
        self._out.discard(trial.id)
        self._waiting.appendleft(trial)

    def fill(self, data: Mapping[str, Prepared]) -> None:
        """Line up what waits, now that the images are there."""
        self._data = data
        self.line_up()

    def line_up(self) -> None:
        """Line up every trial that waits, one seed of all configurations after the other."""
        if not self._data:
            return
        state, write, data = self._ledger.state, self._ledger.write, self._data
        by_seed = sorted(
            (trial for c in self.preset.configurations for trial in trials_of(c)),
            key=lambda trial: trial.seed,
        )
        self._waiting.clear()
        recorded_plans = {plan.members: (plan,) for plan in self.preset.plans}
        first_of: dict[bytes, Trial] = {}
        for trial in by_seed:
            trial_state = state.trials[trial.id]
            size = training_size(trial.settings.data, data[trial.settings.data.name].train)
            twin = first_of.setdefault(_essence(trial, size), trial)
            waits = trial_state.status in ("queued", "running")  # or it was put back
            if not waits or trial.id in self._out:
                continue
            if twin is not trial:
                reason = f"with {size:,} training images it is the same as {twin.id}"
                skipped = ev.TrialEnded(
                    trial=trial.id, attempt=trial_state.attempt, status="skipped", reason=reason
                )
                write(skipped)
                continue
            recorded = reusable(recorded_plans.get((trial.id,), ()), trial, size)
            if trial.id not in state.plans and recorded:
                write(ev.Planned(plan=recorded))
            first = trial.seed == 0 and not trial_state.attempt and trial.id not in self._noted
            if first:
                self._noted.add(trial.id)
                for text in _too_large(trial, size):
                    write(ev.Note(level="warning", text=text, trial=trial.id))
            self._waiting.append(trial)
        self._ledger.sync()


def _too_large(trial: Trial, train_size: int) -> Iterator[str]:
    """What of a trial is more than there are images for."""
    if trial.batch_size > train_size:
        yield full_batch(trial.batch_size, train_size)
    largest = max((p.batch_size or 0 for p in trial.settings.phases), default=0)
    if largest > train_size:
        yield f"phases: {full_batch(largest, train_size)}"
    held = competing_pairs(trial.settings, train_size)
    for small, large in trial.settings.probe.pairs:
        if (small, large) not in held:
            yield f"no competition of {small:,} with {large:,}: there are {train_size:,} images"


def _essence(trial: Trial, train_size: int) -> bytes:
    """What decides a trial's arithmetic: its settings with the batch the data allow, its seed."""
    replace, settings = msgspec.structs.replace, trial.settings
    train = replace(settings.train, batch_size=min(settings.train.batch_size, train_size))
    settings = replace(settings, train=train)
    if changing(settings):
        most = min(settings.schedule.max_batch_size or train_size, train_size)
        phases = tuple(
            replace(phase, batch_size=phase.batch_size and min(phase.batch_size, train_size))
            for phase in settings.phases
        )
        schedule = replace(settings.schedule, max_batch_size=most)
        settings = replace(settings, schedule=schedule, phases=phases)
    return msgspec.json.encode((settings, trial.seed))
