"""The data that panes draw: the state of the sweep, the clock, and what has changed.

Each kind of event changes some *topics*. A pane names the topics that it shows, and is drawn again
only when one of them has changed.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from batchscope.engine.analysis.figures import by_batch_size, preferred
from batchscope.engine.analysis.no_results import NoResults, no_results
from batchscope.engine.analysis.time_estimate import Remaining, remaining
from batchscope.engine.analysis.tuning import choices
from batchscope.engine.findings.findings import Findings
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import PrimaryMetric, primary_metric
from batchscope.tui.theme.palette import BARE, Appearance
from batchscope.tui.viewmodel.activity import trains
from batchscope.tui.viewmodel.focus import Focus
from batchscope.tui.viewmodel.journal_follower import JournalUpdate
from batchscope.tui.viewmodel.marks import GLYPHS, LETTERS, Mark, marks_for
from batchscope.tui.viewmodel.quantities import Quantity, quantities_of

TOPICS: dict[type, tuple[str, ...]] = {
    ev.SweepOpened: ("trials", "epochs", "plans", "log"),
    ev.ConductorStarted: ("trials", "log"),
    ev.DataProgress: ("data",),
    ev.DataReady: ("data", "epochs", "log"),
    ev.Measuring: ("data",),
    ev.MicroBatchesMeasured: ("plans", "log"),
    ev.Paced: ("log",),
    ev.Planned: ("plans", "data"),
    ev.WorkerReady: ("trials", "log"),
    ev.WorkerLost: ("trials", "log"),
    ev.TrialStarted: ("trials", "epochs", "plans", "log"),
    ev.Progress: ("progress",),
    ev.EpochsFinished: ("epochs", "progress"),
    ev.Probed: ("probes", "log"),
    ev.TrialEnded: ("trials", "epochs", "log"),
    ev.MemorySampled: ("memory",),
    ev.Note: ("log",),
    ev.TrialRetried: ("trials", "epochs", "log"),
    ev.ConfigurationsAdded: ("trials", "epochs", "plans", "log"),
    ev.SweepPaused: ("trials", "log"),
    ev.SweepContinued: ("trials", "log"),
    ev.SweepEnded: ("trials", "log"),
    ev.SharpnessMeasured: ("epochs", "log"),
    ev.WeightsKept: ("log",),
    ev.Interpolated: ("lines", "log"),
}
APART_SECONDS = 300.0
T = TypeVar("T")
ALL_TOPICS = (*{topic for topics in TOPICS.values() for topic in topics}, "findings")


class View:
    """The state of one sweep with what the screen needs beyond it: clock, marks, findings."""

    def __init__(self, clock: Callable[[], float], look: Appearance = BARE) -> None:
        self.look = look
        self.state = SweepState()
        self.alive = False
        self.loaded = False
        self.stopping = False
        self.damaged = 0
        self.problem = ""
        self.findings = Findings()
        self.marks: dict[str, Mark] = {}
        self.order: list[str] = []
        self.focus = Focus()
        self.moved: Counter[str] = Counter()
        self.now = clock()
        self._clock, self._skew = clock, 0.0
        self._judged_at = -1
        self._memory: dict[Any, tuple[Any, Any]] = {}

    def adopt(self, state: SweepState, batch: JournalUpdate) -> None:
        """Use a state that another thread has folded."""
        self.state, self.loaded = state, True
        self._memory.clear()
        self._name_marks()
        self.moved.update(ALL_TOPICS)
        self.take(batch)

    def take(self, batch: JournalUpdate) -> None:
        """Fold a batch of events."""
        self.state.fold(batch.events)
        self._agree(batch)
        topics = {topic for event in batch.events for topic in TOPICS.get(type(event), ())}
        if len(self.marks) != len(self.state.configurations):
            self._name_marks()
        if batch.alive != self.alive:
            topics |= {"trials"}
        self.alive, self.damaged, self.problem = batch.alive, batch.damaged, batch.problem
        self.stopping = self.stopping and self.alive
        self.moved.update(topics)

    def _agree(self, batch: JournalUpdate) -> None:
        """Follow the conductor's clock if the system clock was changed since it started."""
        if batch.alive and batch.events:
            apart = max(event.at for event in batch.events) - self._clock() - self._skew
            self._skew += apart if abs(apart) > APART_SECONDS else 0.0

    @property
    def unjudged(self) -> bool:
        """Whether a trial has started or ended since the claims were last judged."""
        return self._judged_at != self.moved["trials"]

    def judged(self, findings: Findings) -> None:
        """Store the findings of the present state."""
        self._judged_at = self.moved["trials"]
        if findings != self.findings:
            self.findings = findings
            self.moved["findings"] += 1

    def tick(self) -> None:
        """Update the time."""
        self.now = self._clock() + self._skew
        if self.alive:
            self.moved["clock"] += 1

    @property
    def phase(self) -> str:
        """The state of the sweep in one word."""
        if not self.loaded:
            return "starting"
        if self.state.ended:
            return self.state.ended.state
        phase = self.state.phase(self.alive)
        return "stopping" if self.stopping and self.alive else phase

    @property
    def elapsed(self) -> float | None:
        """The seconds that the sweep has run, without pauses."""
        if self.state.ended:
            return self.state.ended.seconds
        if not self.state.conductor:
            return None
        since, until = self.state.conductor.at, self.now if self.alive else self.state.last_at
        return until - since - self.state.paused_between(since, until)

    def remaining(self) -> Remaining | None:
        """Return the estimated time left of a running sweep; None while nothing is trained."""
        expecting = self.phase in ("running", "paused") and trains(self.state)
        return remaining(self.state, self.now) if expecting else None

    def label_width(self, most: int, names: Iterable[str] | None = None) -> int:
        """Return the columns for the labels of some configurations, or of all; at most `most`."""
        labels = (self.marks[name].label for name in (self.marks if names is None else names))
        return min(max(map(len, labels), default=1), most)

    @property
    def preferred(self) -> list[str]:
        """The configurations in order, without the candidates that were not chosen."""
        stamp = self.moved["trials"], len(self.order)
        return self.once("preferred", stamp, lambda: preferred(self.state))

    @property
    def shown(self) -> list[str]:
        """The configurations in order, without those that the viewer has hidden."""
        return [name for name in self.order if not self.focus.hides(name)]

    @property
    def all_hidden(self) -> str:
        """What a pane says if every configuration is hidden; empty if one is shown."""
        return "every configuration is hidden: i shows all" if self.order and not self.shown else ""

    @property
    def shown_count(self) -> str:
        """How many configurations are shown, as `2 of 30 shown`; empty if all are."""
        hidden = sum(self.focus.hides(name) for name in self.preferred)
        if hidden:
            return f"{len(self.preferred) - hidden} of {len(self.preferred)} shown"
        return f"{len(self.focus.hidden)} hidden" if self.focus.hidden else ""

    @property
    def chosen(self) -> frozenset[str]:
        """The ids of the candidates that were chosen, and of those that train them again."""
        names = self.once(
            "choices",
            (self.moved["trials"], len(self.order)),
            lambda: {n for each in choices(self.state) for n in (each.chosen, each.judged)},
        )
        return frozenset(name for name in names if name is not None)

    @property
    def nothing(self) -> NoResults | None:
        """Why no trial has finished with figures; None if one has, or may yet do so."""
        stamp = self.moved["trials"], self.moved["epochs"], len(self.state.trials)
        return self.once("nothing", stamp, lambda: no_results(self.state))

    @property
    def primary(self) -> PrimaryMetric:
        """The metric by which results are told."""
        stamp = len(self.state.data), len(self.order)
        return self.once("primary", stamp, lambda: primary_metric(self.state))

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What can be drawn as curves."""
        stamp = len(self.state.data), len(self.order)
        return self.once("quantities", stamp, lambda: quantities_of(self.state, self.primary))

    @property
    def expected(self) -> int:
        """The number of trials, with those that choices of `[select]` will add."""
        to_come = self.once(
            "to come",
            (self.moved["trials"], len(self.order)),
            lambda: trials_to_come(self.state),
        )
        return len(self.state.trials) + to_come

    def reached(self, configuration: str) -> int:
        """Return the number of recorded epochs of a configuration, summed over its seeds."""
        return sum(len(trial.records) for trial in self.state.replicates(configuration))

    def once(self, key: object, stamp: object, compute: Callable[[], T]) -> T:
        """Return a value that is computed again only when its stamp has changed."""
        known = self._memory.get(key)
        if known is None or known[0] != stamp:
            known = self._memory[key] = (stamp, compute())
        return known[1]

    def _name_marks(self) -> None:
        """Assign marks; added configurations get the next free ones, so that no mark changes."""
        self.order = by_batch_size(self.state)
        late = self.state.added
        named = [*(name for name in self.order if name not in late), *late]
        ordered = [self.state.configurations[name] for name in named]
        self.marks = marks_for(ordered, LETTERS if self.look.ascii else GLYPHS)
