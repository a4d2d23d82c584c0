"""Claims in words: a verdict with its effect, and claims that are left out."""

from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.experiment.claims import LEFT_OUT
from batchscope.engine.experiment.measure_names import ACCURACIES
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.formatting import signed
from batchscope.engine.journal.sweep_state import SweepState


def idle_sentence(state: SweepState) -> str:
    """How many there are; empty where every claim is judged."""
    notes = state.opened.notes if state.opened else ()
    count = sum(note.startswith(LEFT_OUT) for note in notes)
    if not count:
        return ""
    one = count == 1
    are = "1 claim of the preset is" if one else f"{count} claims of the preset are"
    return f"{are} left out: this sweep does not run what {'it' if one else 'they'} would compare."


UNITS = {"peak_memory_bytes": ("MiB", 1 / 2**20), "samples_per_second": ("samples/s", 1.0)}
SMALL_SECONDS = 0.1


def effect_text(verdict: Verdict) -> str:
    """−1.90 points [−2.20, −1.60], n=5; empty where nothing could be compared."""
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return ""
    unit, factor = unit_of(verdict.measure, verdict.effect)
    low, high = (signed(value * factor) for value in (verdict.low, verdict.high))
    return f"{signed(verdict.effect * factor)}{unit} [{low}, {high}], n={verdict.n}"


def word_of(verdict: Verdict) -> str:
    """The verdict, and whether it may still change."""
    return f"{verdict.verdict} so far" if verdict.provisional else verdict.verdict


def remarks(verdict: Verdict) -> str:
    """What else there is to say: why, and what was left out."""
    count = verdict.excluded
    parts = [
        verdict.reason,
        TIMED_AS[verdict.timing],
        verdict.caution if verdict.caution not in verdict.reason else "",
        f"{count} diverged or failed trial{'s' * (count > 1)} left out" if count else "",
    ]
    return "; ".join(part for part in parts if part)


def unit_of(measure: str, effect: float) -> tuple[str, float]:
    """The unit of an effect with a space before it, and what the effect is multiplied with."""
    if measure in ACCURACIES:
        return " points", 100.0
    if measure.endswith("_seconds"):
        return (" ms", 1e3) if abs(effect) < SMALL_SECONDS else (" s", 1.0)
    unit, factor = UNITS.get(measure, ("", 1.0))
    return f" {unit}" if unit else "", factor
