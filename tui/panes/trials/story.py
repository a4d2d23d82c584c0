"""The details of one trial: status, progress, and why it ended."""

from collections.abc import Sequence
from datetime import datetime
from statistics import fmean

from batchscope.engine.analysis.stack_times import stack_mark, stacked
from batchscope.engine.errors import printable
from batchscope.engine.journal.headline import Headline, headline, number
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.tui.render.styled_text import Row, Run, clip, row, wrap
from batchscope.tui.render.units import duration
from batchscope.tui.viewmodel.view import View

HEAD_ROWS = 3
LEAST_ROWS = 6
"""Rows that the list keeps above the details."""


def story(view: View, trial: TrialState, width: int, rows: int) -> list[Row]:
    """Return `rows` rows about a trial, below a line with its name."""
    name = f" {printable(trial.id)} "
    rule = row(("─", "frame"), (name, "strong"), ("─" * max(0, width - len(name) - 1), "frame"))
    head = [clip(line, width) for line in (rule, _standing(view, trial), _reach(trial))]
    text, style = _reason(view, trial)
    lines = wrap(text, width, style) if text else []
    return [*head, *lines, *[()] * rows][:rows]


def rows_for(view: View, trials: Sequence[TrialState], width: int, height: int) -> int:
    """Return how many rows hold the longest reason of any trial; 0 if there is no room.

    The number is the same for all trials, so that the layout does not jump between them.
    """

    def longest() -> int:
        reasons = {trial.reason for trial in trials}
        return max((len(wrap(reason, width)) for reason in reasons if reason), default=1)

    lines = view.once(("story", width), (view.moved["trials"], len(trials)), longest)
    room = height - LEAST_ROWS
    return min(HEAD_ROWS + max(lines, 2), room) if room > HEAD_ROWS else 0


def _standing(view: View, trial: TrialState) -> Row:
    """Return status, device, attempt, start and duration."""
    text: str = trial.status
    if trial.device:
        text += f" on {printable(trial.device)}"
    if trial.attempt > 1:
        text += f", attempt {trial.attempt}"
    if trial.started and trial.status != "queued":
        text += f", started {datetime.fromtimestamp(trial.started.at):%H:%M:%S}"
        until = trial.ended_at if trial.ended_at is not None else view.now
        if trial.ended_at is not None or view.alive:
            since = trial.started.at
            ran = until - since - view.state.paused_between(since, until)
            text += f", {'took' if trial.ended_at is not None else 'running for'} {duration(ran)}"
    return row(text)


def _reach(trial: TrialState) -> Row:
    """Return epochs, steps and accuracies so far."""
    last, budget = trial.last, trial.settings.train.epochs
    if last is None:
        steps = trial.progress.steps if trial.progress else 0
        return row((f"step {steps:,}, no epoch finished yet" if steps else "no step yet", "dim"))
    epochs = f"epoch {last.epoch}" + (f" of {budget}" if budget else "")
    each = fmean(record.seconds for record in trial.records)
    together = f" {stack_mark(stacked([trial]))}".rstrip()
    return row(
        f"{epochs}, step {last.steps:,}, ",
        *_headline(headline(last, trial.settings.task)),
        (f"{duration(each)}/epoch{together}", "dim"),
    )


def _headline(told: Headline) -> tuple[str | Run, ...]:
    """Return the figures of the last epoch, the telling one first."""
    name = "" if told.name == "accuracy" else f" {told.name.replace('_', ' ')}"
    if not told.part:
        return ((f"train{name} {number(told.train)}", "strong"), ", ")
    return (
        (f"{told.part}{name} {number(told.test)}", "strong"),
        f", train {number(told.train)}, ",
    )


def why(trial: TrialState) -> str:
    """Return why a trial ended, as text after its status; a skip says by whom."""
    reason = printable(trial.reason)
    if trial.status == "skipped" and reason in ("skipped on request", "skipped by you"):
        return " by you"
    return f": {reason}"


def _reason(view: View, trial: TrialState) -> tuple[str, str]:
    """Return why the trial ended, or else the reason of its plan."""
    if trial.reason:
        text = f"{trial.status}{why(trial)}" if why(trial) == " by you" else trial.reason
        return text, "bad" if trial.status == "failed" else "warn"
    plan = view.state.plans.get(trial.id)
    return (plan.reason, "dim") if plan else ("", "")
