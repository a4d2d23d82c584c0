"""The pane of trials: progress, time left, results, and why a trial failed."""

from collections.abc import Iterable, Sequence

from batchscope.engine.analysis.stack_times import stack_mark
from batchscope.engine.analysis.time_estimate import trial_remaining
from batchscope.engine.journal.headline import headline
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.metrics.primary_metric import primary_metric
from batchscope.tui.panes.base import Lazy, Line, Pane
from batchscope.tui.panes.placeholder import awaited
from batchscope.tui.panes.trials.story import rows_for, story, why
from batchscope.tui.render.block_bars import gauge
from batchscope.tui.render.styled_text import EMPTY, Row, cell, clip, dimmed, row
from batchscope.tui.render.units import clock, digits, duration, share
from batchscope.tui.viewmodel.activity import activity
from batchscope.tui.viewmodel.marks import Mark
from batchscope.tui.viewmodel.status_signs import STAR
from batchscope.tui.viewmodel.view import View

STATUS = {
    "queued": ("·", "dim"),
    "running": ("▸", "accent"),
    "finished": ("✓", "good"),
    "diverged": ("↯", "warn"),
    "failed": ("✗", "bad"),
    "skipped": ("»", "dim"),
    "stopped": ("■", "warn"),
}
GAUGE_MOST, LABEL_MOST, MIDDLE_MOST = 24, 16, 56
LABEL_LEAST, RESULT, OF_TASK = 6, 6, 7
OF_ATTEMPT, STAR_CELLS, HEAD_FROM = 4, 2, 8
BESIDE_LABEL = 20
"""Columns of a row besides label, seed and result: the marks, a status and spaces."""


class TrialsPane(Pane):
    """One row per trial, by batch size, and the details of the selected one."""

    NAME, TITLE = "trials", "trials"
    TOPICS = ("trials", "progress", "epochs", "clock", "data", "plans")

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.chosen: str | None = None

    def caption(self, width: int) -> Row:
        """Return how many trials are done."""
        if not self.view.state.trials:
            return EMPTY
        counts = trial_counts(self.view)
        long = f"{counts}, {STAR} chosen" if self.view.chosen else counts
        metric = self.view.primary
        if metric.is_accuracy or not self.view.state.data:
            return self.said(width, long, counts)
        texts = (f"{long}, {metric.described}", f"{counts}, {metric.described}")
        return self.said(width, *texts, f"{counts}, {metric.title}", counts)

    def table(self) -> Iterable[Line]:
        """Return one row per trial."""
        view = self.view
        metric = primary_metric(view.state)
        yield (
            "trial", "configuration", "seed", "status", "epochs", "steps",
            f"train {metric.word}", metric.title, "reason",
        )  # fmt: skip
        for name in view.order:
            for trial in view.state.replicates(name):
                last = trial.last
                yield (
                    trial.id,
                    view.marks[name].label,
                    trial.seed,
                    trial.status,
                    last.epoch if last else 0,
                    last.steps if last else 0,
                    metric.on_training_data(last) if last else None,
                    metric.of(last) if last else None,
                    trial.reason,
                )

    def wanted_rows(self) -> int:
        """Count one row per trial, and one for the headings."""
        return len(self.view.state.trials) + 1

    @property
    def trial(self) -> TrialState | None:
        """The trial selected by the user, or else the first one running, or the first."""
        trials = self._trials()
        return trials[self._at(trials)] if trials else None

    def options(self) -> object:
        """Return the selected trial, and whether to mark it: only the current pane marks it."""
        return self.chosen, self.current

    def move(self, rows: int) -> bool:
        """Select another trial; return False at either end."""
        trials = self._trials()
        if not trials:
            return False
        before = self._at(trials)
        after = max(0, min(len(trials) - 1, before + rows))
        width, height = self._inner()
        room = height - len(self.head(width, height)) - len(self.foot(width, height))
        top = self._top(len(trials), room)
        self.chosen = trials[after].id
        self.top = max(after - room + 1, min(top, after))
        self.draw()
        return after != before

    def pick(self, at: int) -> None:
        """Select a trial by its row."""
        self.chosen = self._trials()[at].id
        self.draw()

    def no_further(self, rows: int) -> str:
        """Return what to say at either end of the list."""
        return f"This is the {'first' if rows < 0 else 'last'} trial"

    def foot(self, width: int, height: int) -> Sequence[Row]:
        """Return the details of the selected trial, if there is room."""
        trial = self.trial
        if trial is None or not self.current:
            return ()
        rows = rows_for(self.view, self._trials(), width, height)
        return story(self.view, trial, width, rows) if rows else ()

    def _at(self, trials: Sequence[TrialState]) -> int:
        """Return the row of the selected trial; trials may have been added before it."""
        for at, trial in enumerate(trials):
            if trial.id == self.chosen:
                return at
        running = (at for at, trial in enumerate(trials) if trial.status == "running")
        return next(running, 0)

    def _top(self, total: int, height: int) -> int:
        top = super()._top(total, height)
        trials = self._trials()
        if self.chosen is None or total != len(trials):
            return top
        at = self._at(trials)
        return max(0, at - height + 1, min(top, at))

    def first_row(self, total: int, height: int) -> int:
        """Keep running trials visible, with one row before them."""
        running = [at for at, trial in enumerate(self._trials()) if trial.status == "running"]
        return max(0, running[0] - 1) if running else 0

    def body(self, width: int, height: int) -> Sequence[Row]:
        """Return the rows, which are created only when they are drawn."""
        trials = self._trials()
        if not trials:
            return awaited(self.view, "No trials yet", width, height)
        label, seed = self._widths(trials, width)
        again = any(trial.attempt > 1 for trial in trials)
        chosen = self.trial if self.current else None

        def line(at: int) -> Row:
            sign = row(("›", "accent") if trials[at] is chosen else " ")
            return (*sign, *self._seen(trials[at], label, seed, width - 1, again))

        return Lazy(len(trials), line)

    def head(self, width: int, height: int) -> Sequence[Row]:
        """Return the headings of the columns, if there is room."""
        trials = self._trials()
        if height < HEAD_FROM or not trials:
            return ()
        label, seed = self._widths(trials, width)
        star = STAR_CELLS if self.view.chosen else 0
        first = cell("  trial", 2 + label + 1 + seed + 1 + star, "dim")
        tail = RESULT if not any(trial.settings.task for trial in trials) else OF_TASK
        tail += OF_ATTEMPT if any(trial.attempt > 1 for trial in trials) else 0
        beside = width - 1 - len(first[0])
        word = self.view.primary.word if self.view.state.data else ""
        room = max(0, min(MIDDLE_MOST, beside - tail, beside - len(word)))
        middle = ("status", "dim"), cell("time", max(0, room - 8), "dim", right=True)
        return [clip(row(" ", first, *middle, "  ", (word, "dim")), width)]

    def _widths(self, trials: Sequence[TrialState], width: int) -> tuple[int, int]:
        """Return the cells of label and seed."""
        seed = max(len(str(trial.seed)) for trial in trials) + 1
        most = max(LABEL_LEAST, width - seed - OF_TASK - BESIDE_LABEL)
        return min(self.view.label_width(LABEL_MOST), most), seed

    def _trials(self) -> list[TrialState]:
        state = self.view.state
        return self.view.once(
            "trials",
            (len(state.trials), len(self.view.order)),
            lambda: [trial for name in self.view.order for trial in state.replicates(name)],
        )

    def _seen(self, trial: TrialState, label: int, seed: int, width: int, again: bool) -> Row:
        """Return the row of a trial, dim if its configuration is hidden."""
        mark = self.view.marks[trial.configuration]
        if self.view.focus.hides(trial.configuration):
            return dimmed(self._line(trial, mark.off, label, seed, width, again))
        return self._line(trial, mark, label, seed, width, again)

    def _line(
        self, trial: TrialState, mark: Mark, label: int, seed: int, width: int, again: bool
    ) -> Row:
        head = row(*mark.head(label), cell(f"s{trial.seed}", seed, "dim"), " ")
        if self.view.chosen:
            best = trial.configuration in self.view.chosen
            head = (*head, (f"{STAR} " if best else "  ", "good"))
        attempt = f"#{trial.attempt} " if trial.attempt > 1 else "   "
        tail = row(_result(self.view, trial), (f" {attempt}" if again else "", "warn"))
        room = width - sum(len(text) for text, _ in head)
        if trial.reason and trial.status != "finished":
            return (*head, *_why(trial, room))
        room = min(MIDDLE_MOST, room - sum(len(text) for text, _ in tail))
        return (*head, *_how_far(self.view, trial, room), *tail)


def trial_counts(view: View) -> str:
    """Return the counts, as `9/12 done, 1 failed, 2 running`."""
    state = view.state
    done = sum(trial.done for trial in state.trials.values())
    parts = [f"{done}/{view.expected} done"]
    for status in ("failed", "diverged", "stopped", "running"):
        count = state.count(status)
        if count:
            parts.append(f"{count} {status}")
    return ", ".join(parts)


def summary(view: View, width: int) -> Row:
    """Return all trials in one line: the counts, then each running one, or what goes on instead."""
    if not view.state.trials:
        return EMPTY
    runs: list[tuple[str, str]] = [("trials ", "dim"), (trial_counts(view), "strong")]
    for trial in view.state.trials.values():
        if trial.status == "running":
            mark = view.marks[trial.configuration]
            text = f" {mark.label} s{trial.seed} {share(trial.fraction)}"
            runs += [("   ", ""), (mark.glyph, mark.style), (text, "")]
    doing = activity(view.state) if view.alive else ""
    runs += [("   ", ""), (doing, "dim")] if doing else []
    return tuple(runs)


def _result(view: View, trial: TrialState) -> tuple[str, str]:
    """Return the metric that the caption names; of included networks the accuracy or loss."""
    shown = ""
    if trial.last and trial.settings.task:
        shown = digits(view.primary.of(trial.last))
    elif trial.last:
        shown = headline(trial.last).shown
    width = OF_TASK if trial.settings.task else RESULT
    return cell(shown, width, "strong" if trial.status == "finished" else "dim")


def _why(trial: TrialState, room: int) -> Row:
    sign, style = STATUS[trial.status]
    again = f" (attempt {trial.attempt})" if trial.attempt > 1 else ""
    return row(cell(f"{sign} {trial.status}{again}{why(trial)}", room, style))


def _how_far(view: View, trial: TrialState, room: int) -> Row:
    """Return the middle of a row, `room` cells wide."""
    sign, style = STATUS[trial.status]
    if trial.status == "running":
        return _running(view, trial, room)
    status = row((sign, style), " ", (trial.status, "dim" if trial.status == "queued" else style))
    took = ""
    if trial.status == "queued" and view.state.needed and view.alive:
        took = f"waiting for {view.state.needed}"
    if trial.status == "finished" and trial.started and trial.ended_at is not None:
        since, until = trial.started.at, trial.ended_at
        took = duration(until - since - view.state.paused_between(since, until))
        took += f" {stack_mark(trial.started.stacked)}".rstrip()
    left = max(0, room - sum(len(text) for text, _ in status) - 2)
    shown = took if len(took) < left or trial.status == "queued" else ""
    return (*status, cell(shown, left, "dim", right=True), ("  ", ""))


def _running(view: View, trial: TrialState, room: int) -> Row:
    left = trial_remaining(view.state, trial, view.now) if view.alive else None
    eta = f"ETA {clock(left)}" if left is not None else ""
    if not trial.started or not trial.started.total_steps:
        reached = trial.progress.epoch if trial.progress else 0
        return row(cell(f"▸ running, epoch {reached}", room, "accent"))
    figures = f" {share(trial.fraction):>5}  {eta:<10} "
    width = min(GAUGE_MOST, room - len(figures))
    if width < 3:
        return row(cell(f"▸ {figures.strip()}", room, "accent"))
    done, rest = gauge(trial.fraction, width)
    mark = view.marks[trial.configuration]
    return row((done, mark.style), (rest, "track"), cell(figures, room - width))
