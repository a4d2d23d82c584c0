"""Claims in words: the verdict with its effect, and how many claims were left out."""

from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.experiment.claims import LEFT_OUT
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.formatting import signed
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import TRIAL


def idle_sentence(state: SweepState) -> str:
    """Return how many claims were left out, as a sentence; empty if none was."""
    notes = state.opened.notes if state.opened else ()
    count = sum(note.startswith(LEFT_OUT) for note in notes)
    if not count:
        return ""
    one = count == 1
    are = "1 claim of the preset is" if one else f"{count} claims of the preset are"
    return f"{are} left out: this sweep does not run what {'it' if one else 'they'} would compare."


UNITS = {
    "bytes": (" MiB", 1 / 2**20),
    "images/s": (" samples/s", 1.0),
    "seconds": (" s", 1.0),
}
"""How an effect in a unit of the registry is shown: its unit there, and a factor."""
SMALL_SECONDS = 0.1
"""Effects below are shown in milliseconds."""


def effect_text(verdict: Verdict) -> str:
    """Return the effect, such as −1.90 points [−2.20, −1.60], n=5; empty without one."""
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return ""
    unit, factor = unit_of(verdict.measure, verdict.effect)
    low, high = (signed(value * factor) for value in (verdict.low, verdict.high))
    return f"{signed(verdict.effect * factor)}{unit} [{low}, {high}], n={verdict.n}"


def word_of(verdict: Verdict) -> str:
    """Return the verdict, with “so far” if it may still change."""
    return f"{verdict.verdict} so far" if verdict.provisional else verdict.verdict


def remarks(verdict: Verdict) -> str:
    """Return the reason, how times were taken, a caution, and how many trials were left out."""
    count = verdict.excluded
    parts = [
        verdict.reason,
        TIMED_AS[verdict.timing],
        verdict.caution if verdict.caution not in verdict.reason else "",
        _excluded(count),
    ]
    return "; ".join(part for part in parts if part)


def _excluded(count: int) -> str:
    """Return how many trials were left out; empty if none was."""
    if not count:
        return ""
    trials, are = ("trials", "are") if count > 1 else ("trial", "is")
    return f"{count} {trials} that diverged or failed {are} left out"


def unit_of(measure: str, effect: float) -> tuple[str, float]:
    """Return the unit of an effect, after a space, and the factor to multiply the effect with."""
    metric = TRIAL.get(measure)
    if metric is None:
        return "", 1.0
    if metric.is_accuracy:
        return " points", 100.0
    if metric.unit == "seconds" and abs(effect) < SMALL_SECONDS:
        return " ms", 1e3
    return UNITS.get(metric.unit, ("", 1.0))
