"""Says that no trial of a sweep has finished with figures, why, and what to try."""

from collections import Counter
from typing import NamedTuple

from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.journal.trial_state import TrialState

ENDINGS = {
    "diverged": "diverged",
    "failed": "failed",
    "skipped": "skipped",
    "finished": "left no figures",
}
LESS = 10
"""What a learning rate that diverges is divided by in an example."""


class NoResults(NamedTuple):
    """Why a sweep has no results.

    Attributes:
        short: in two words: "all diverged".
        what: in a sentence: "all 12 trials diverged".
        example: the reason of one trial; may be empty.
        advice: what to try.
    """

    short: str
    what: str
    example: str
    advice: str

    @property
    def text(self) -> str:
        """All of it."""
        such = f" ({self.example})" if self.example else ""
        return f"No results: {self.what}{such}. {self.advice}"


def no_results(state: SweepState) -> NoResults | None:
    """Return why no trial has finished with figures; None if one has, or may yet do so.

    Trials that were stopped may, once they are resumed.
    """
    trials = list(state.trials.values())
    if not trials or any(trial.status not in ENDINGS for trial in trials):
        return None
    if any(trial.status == "finished" and trial.last for trial in trials):
        return None
    counts = Counter(trial.status for trial in trials)
    total = len(trials)
    (main, most), *others = counts.most_common()
    if others:
        parts = [f"{count} {ENDINGS[status]}" for status, count in counts.most_common()]
        short, what = "no results", f"of {total} trials {', '.join(parts)}"
    else:
        short = f"all {main}" if main != "finished" else "no figures"
        passive = main == "skipped"
        whole = (
            f"all {total} trials {'were ' * passive}"
            if most > 1
            else (f"the only trial {'was ' * passive}")
        )
        what = f"{whole}{ENDINGS[main]}"
    first = next(trial for trial in trials if trial.status == main)
    example = f"{first.id}: {first.reason}" if first.reason else ""
    return NoResults(short, what, example, _advice(main, trials))


def _advice(main: str, trials: list[TrialState]) -> str:
    """Return what to try after most trials have ended in this way."""
    if main == "diverged":
        rates = {trial.settings.train.lr for trial in trials if trial.status == main}
        lower = f"such as --set train.lr={min(rates) / LESS:g}" if len(rates) == 1 else ""
        lower = lower or f"below {min(rates):g}"
        return f"Try a smaller learning rate, {lower}, or a warmup, --set scaling.warmup_epochs=1"
    if main == "failed":
        return "The log says more; `batchscope resume` runs failed trials again"
    if main == "skipped":
        return "Launch it again to train them"
    return "The journal is damaged"
