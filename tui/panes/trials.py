"""The trials: progress and what is left, figures of those that ended, why one failed."""

from collections.abc import Sequence

from engine.estimate import trial_remaining
from engine.problems import printable
from engine.state import TrialState
from tui.panes.pane import Lazy, Pane
from tui.panes.waiting import awaited
from tui.raster import gauge
from tui.rows import EMPTY, Row, cell, row
from tui.units import clock, duration, share
from tui.view import View

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


class TrialsPane(Pane):
    """One row a trial, in the order of the batch size."""

    NUMBER, TITLE, TAB = 5, "trials", "trials"
    TOPICS = ("trials", "progress", "epochs", "clock", "data")

    def caption(self, width: int) -> Row:
        """How many are done."""
        return row((counted(self.view), "dim")) if self.view.state.trials else EMPTY

    def wanted_rows(self) -> int:
        """One a trial."""
        return len(self.view.state.trials)

    def first_row(self, total: int, height: int) -> int:
        """Running trials are kept in sight, with a little of what went before."""
        running = [at for at, trial in enumerate(self._trials()) if trial.status == "running"]
        return max(0, running[0] - 1) if running else 0

    def body(self, width: int, height: int) -> Sequence[Row]:
        """The rows, made as they come into sight."""
        trials = self._trials()
        if not trials:
            return awaited(self.view, "no trial is known yet", width, height)
        label = self.view.label_width(LABEL_MOST)
        seed = max(len(str(trial.seed)) for trial in trials) + 1
        again = any(trial.attempt > 1 for trial in trials)
        return Lazy(len(trials), lambda at: self._line(trials[at], label, seed, width, again))

    def _trials(self) -> list[TrialState]:
        state = self.view.state
        return self.view.once(
            "trials",
            len(state.trials),
            lambda: [trial for name in self.view.order for trial in state.replicates(name)],
        )

    def _line(self, trial: TrialState, label: int, seed: int, width: int, again: bool) -> Row:
        mark = self.view.marks[trial.configuration]
        head = row(*mark.head(label), cell(f"s{trial.seed}", seed, "dim"), " ")
        attempt = f"#{trial.attempt} " if trial.attempt > 1 else "   "
        tail = row(_accuracy(trial), (f" {attempt}" if again else "", "warn"))
        room = width - sum(len(text) for text, _ in head)
        if trial.reason and trial.status != "finished":
            return (*head, *_why(trial, room))
        room = min(MIDDLE_MOST, room - sum(len(text) for text, _ in tail))
        return (*head, *_how_far(self.view, trial, room), *tail)


def counted(view: View) -> str:
    """9/12 done, 1 failed, 2 running."""
    state = view.state
    done = sum(trial.done for trial in state.trials.values())
    parts = [f"{done}/{len(state.trials)} done"]
    for status in ("failed", "diverged", "stopped", "running"):
        count = state.count(status)
        if count:
            parts.append(f"{count} {status}")
    return ", ".join(parts)


def summary(view: View, width: int) -> Row:
    """All trials in one line: the counts, then each that runs with its share."""
    if not view.state.trials:
        return EMPTY
    runs: list[tuple[str, str]] = [("trials ", "dim"), (counted(view), "strong")]
    for trial in view.state.trials.values():
        if trial.status == "running":
            mark = view.marks[trial.configuration]
            told = f" {mark.label} s{trial.seed} {share(trial.fraction)}"
            runs += [("   ", ""), (mark.glyph, mark.style), (told, "")]
    return tuple(runs)


def _accuracy(trial: TrialState) -> tuple[str, str]:
    shown = f"{trial.last.test_accuracy:.4f}" if trial.last else ""
    return cell(shown, 6, "strong" if trial.status == "finished" else "dim")


def _why(trial: TrialState, room: int) -> Row:
    sign, style = STATUS[trial.status]
    again = f" (attempt {trial.attempt})" if trial.attempt > 1 else ""
    return row(cell(f"{sign} {trial.status}{again}: {printable(trial.reason)}", room, style))


def _how_far(view: View, trial: TrialState, room: int) -> Row:
    """The middle of a row, `room` cells wide."""
    sign, style = STATUS[trial.status]
    if trial.status == "running":
        return _running(view, trial, room)
    told = row((sign, style), " ", (trial.status, "dim" if trial.status == "queued" else style))
    took = ""
    if trial.status == "finished" and trial.started and trial.ended_at is not None:
        took = duration(trial.ended_at - trial.started.at)
    used = sum(len(text) for text, _ in told)
    return (*told, cell(took, max(0, room - used - 2), "dim", right=True), ("  ", ""))


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
