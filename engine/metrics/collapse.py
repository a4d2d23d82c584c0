"""Decides whether a training collapsed: it finished, and yet knows little or nothing at its end.

A learning rate near the limit of stability seldom makes a training diverge outright. More often
some seeds fall back to guessing and never recover, or never leave it, and then the mean over the
seeds describes none of them. So collapsed seeds are named beside every such mean.

A finished training has collapsed if one of these holds:

- its final test accuracy is no better than guessing: less than a twentieth of the way from
  guessing, 1 ÷ classes, to 1. For ten classes that is below 14.5 %, which includes always naming
  the most frequent of ten classes of nearly equal size. A training that was too short to learn
  anything counts too;
- it lost more than half of what it had learned: its final test accuracy is less than half of the
  way from guessing to that of its best epoch.
"""

from collections.abc import Iterable

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.sweep_state import TrialState

NOTHING_LEARNED = 0.05
"""Below this share of the way from guessing to 1, an accuracy counts as guessing."""
NAMED = 6
"""How many collapsed seeds a remark names; the others are counted."""
KEPT = 0.5
"""A training that keeps a smaller share of the best that it had learned has collapsed."""


def collapsed(trial: TrialState) -> bool | None:
    """Return whether a finished training collapsed; None if it did not finish.

    None also for a task: what guessing gives there is not known.
    """
    last = trial.last
    if trial.status != "finished" or last is None:
        return None
    if trial.settings.task is not None or last.test_accuracy is None:
        return None
    guessing = 1 / DATASETS[trial.settings.data.name].classes
    learned = last.test_accuracy - guessing
    best = max(trial.records.column("test_accuracy")) - guessing
    return learned < NOTHING_LEARNED * (1 - guessing) or learned < KEPT * best


def collapsed_seeds(trials: Iterable[TrialState]) -> tuple[int, ...]:
    """Return the seeds of the trials that collapsed, in rising order."""
    return tuple(sorted({trial.seed for trial in trials if collapsed(trial)}))


def collapse_remark(seeds: Iterable[int], finished: int) -> str:
    """Return which of the finished seeds collapsed, in words that are true of either kind.

    Such as "2 of 10 seeds collapsed or learned nothing: 1, 7". Empty if none did.
    """
    named = [*map(str, seeds)]
    if not named:
        return ""
    of = f"{len(named)} of {finished} seed{'s' * (finished != 1)}"
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{of} collapsed or learned nothing: {', '.join(named[:NAMED])}{more}"
