"""Makes the rows of live progress: one for the sweep, and one for each running job.

These are pure functions of the sweep's state and the time.
"""

from collections.abc import Iterator

from batchscope.engine.analysis.time_estimate import remaining
from batchscope.engine.errors import printable
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.journal.headline import headline
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.tui.render.block_bars import gauge
from batchscope.tui.render.styled_text import Row, Run, cell, fit, row, spread, width_of
from batchscope.tui.render.units import clock, rate, share
from batchscope.tui.viewmodel.activity import activity, trains
from batchscope.tui.viewmodel.status_signs import SIGNS

Job = list[TrialState]
GAUGE_LEAST, GAUGE_MOST, GAUGE_OF_A_TRIAL = 6, 40, 10
LABEL_LEAST, LABEL_MOST = 10, 24
EPOCH_CELLS, STEP_CELLS, RATE_CELLS, ACCURACY_CELLS = 15, 14, 10, 8
"""Widths of the columns in cells, including the space before each."""


def progress_rows(
    state: SweepState, now: float, width: int, most: int, alive: bool = True, stopping: bool = False
) -> list[Row]:
    """Return the rows of live progress.

    Args:
        state: the sweep's state.
        now: Unix time in seconds.
        width: cells of a row.
        most: maximum number of rows, at least 2.
        alive: whether a conductor runs.
        stopping: whether the sweep was asked to stop.
    """
    first = head(state, now, width, "stopping" if stopping and alive else state.phase(alive))
    jobs = list(running_jobs(state))
    room = most - 1
    shown = jobs if len(jobs) <= room else jobs[: room - 1]
    rows = [first, *(job_row(job, width) for job in shown)]
    if len(shown) < len(jobs):
        rows.append(fit(row((f"  and {len(jobs) - len(shown)} more", "dim")), width))
    if not jobs and (waits := _waiting(state)):
        rows.append(fit(row((f"  {waits}", "dim")), width))
    return rows


def head(state: SweepState, now: float, width: int, phase: str) -> Row:
    """Return the row of the sweep: phase, trials done, progress bar, elapsed time and ETA."""
    sign, style = SIGNS[phase]
    ended = state.count("finished", "diverged", "skipped", "failed")
    left: list[Run] = [(f"{sign} {phase}", style)]
    expected = len(state.trials) + trials_to_come(state)
    left += [(f" {ended}/{expected} trials", "")] if state.trials else []
    failed, diverged = state.count("failed"), state.count("diverged")
    left += [(f" {failed} failed", "bad")] if failed else []
    left += [(f" {diverged} diverged", "warn")] if diverged else []
    right = _times(state, now, phase, brief=width < 60)
    room = width - width_of(tuple(left)) - width_of(tuple(right)) - 2
    if room >= GAUGE_LEAST and state.trials:
        done, open_ = gauge(fraction(state), min(room, GAUGE_MOST))
        left += [(" ", ""), (done, "accent"), (open_, "track")]
    return spread(tuple(left), tuple(right), width) if right else fit(tuple(left), width)


def fraction(state: SweepState) -> float:
    """Return the mean share of their budgets that the trials have used; none of those to come."""
    shares = [1.0 if t.status == "failed" else t.fraction for t in state.trials.values()]
    return sum(shares) / (len(shares) + trials_to_come(state)) if shares else 0.0


def running_jobs(state: SweepState) -> Iterator[Job]:
    """Yield the running jobs: the trials that are trained together as one stack."""
    jobs: dict[str, Job] = {}
    for trial in state.trials.values():
        if trial.status == "running":
            jobs.setdefault(state.job_of(trial.id), []).append(trial)
    return iter(jobs.values())


def job_row(job: Job, width: int) -> Row:
    """Return the row of a job: trial, progress bar, and as many columns as fit.

    A stack is shown by its first trial and the number of trials.
    """
    trial = job[0]
    steps, samples, seconds = trial.trained()
    times = f" ×{len(job)}" if len(job) > 1 else ""
    room = width - 2 - GAUGE_OF_A_TRIAL - 7
    columns: list[Run] = []
    for cells, text in (
        (EPOCH_CELLS, _epoch(trial)),
        (RATE_CELLS, rate(samples / seconds) if seconds > 0 else ""),
        (ACCURACY_CELLS, _headline(trial)),
        (STEP_CELLS, f"step {steps:,}"),
    ):
        if room - cells < LABEL_LEAST:
            break
        room -= cells
        columns.append(cell(text, cells, right=True))
    done, open_ = gauge(trial.fraction, GAUGE_OF_A_TRIAL)
    label = min(room, LABEL_MOST)
    name = cell(printable(trial.id), max(1, label - len(times)), "strong")
    bar: list[Run] = [(" ", ""), (done, "accent"), (open_, "track")]
    return fit(
        row("  ", name, times, *bar, cell(share(trial.fraction), 6, right=True), *columns), width
    )


def _headline(trial: TrialState) -> str:
    return headline(trial.last, trial.settings.task).shown if trial.last else ""


def _epoch(trial: TrialState) -> str:
    of, last = trial.settings.train.epochs, trial.last.epoch if trial.last else 0
    at = max(trial.progress.epoch if trial.progress else 0, last)
    return f"epoch {at:,}/{of:,}" if of else f"epoch {at:,}"


def _times(state: SweepState, now: float, phase: str, brief: bool) -> list[Run]:
    """Return elapsed time and ETA; only the ETA if `brief`."""
    times: list[Run] = []
    if state.conductor and not brief:
        since = state.conductor.at
        times.append((clock(now - since - state.paused_between(since, now)), ""))
    left = remaining(state, now) if phase in ("running", "paused") and trains(state) else None
    if left:
        about = "" if left.measured else "~"
        times += [("  ETA " if times else "ETA ", "dim"), (f"{about}{clock(left.seconds)}", "")]
    return times


def _waiting(state: SweepState) -> str:
    """Return what the sweep is doing while no trial runs."""
    fetched = state.fetching
    if fetched:
        of = f" of {fetched.total / 1e6:.1f}" if fetched.total else ""
        return f"downloading {printable(fetched.name)}: {fetched.received / 1e6:.1f}{of} MB"
    doing = activity(state)
    return doing[:1].lower() + doing[1:]
