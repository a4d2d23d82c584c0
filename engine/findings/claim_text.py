"""Words a verdict with its effect, and names the claims that were not judged."""

from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.experiment.claims import LEFT_OUT
from batchscope.engine.experiment.measure_names import ACCURACIES
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.formatting import signed
from batchscope.engine.journal.sweep_state import SweepState


def idle_sentence(state: SweepState) -> str:
    """Return how many claims of the preset were left out; empty if all were judged."""
    notes = state.opened.notes if state.opened else ()
    count = sum(note.startswith(LEFT_OUT) for note in notes)
    if not count:
        return ""
    one = count == 1
    are = "1 claim of the preset is" if one else f"{count} claims of the preset are"
    compared = "it compares" if one else "they compare"
    return f"{are} left out: this sweep does not run what {compared}."


UNITS = {"peak_memory_bytes": ("MiB", 1 / 2**20), "samples_per_second": ("samples/s", 1.0)}
SMALL_SECONDS = 0.1


def effect_text(verdict: Verdict) -> str:
    """Return the effect with its interval: −1.90 points [−2.20, −1.60], n=5.

    The text is empty if nothing could be compared.
    """
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return ""
    unit, factor = unit_of(verdict.measure, verdict.effect)
    low, high = (signed(value * factor) for value in (verdict.low, verdict.high))
    return f"{signed(verdict.effect * factor)}{unit} [{low}, {high}], n={verdict.n}"


def word_of(verdict: Verdict) -> str:
    """Return the verdict, with "so far" while trials that may change it are open."""
    return f"{verdict.verdict} so far" if verdict.provisional else verdict.verdict


def remarks(verdict: Verdict) -> str:
    """Return the reason of a verdict, its caution and how many trials were left out."""
    count = verdict.excluded
    parts = [
        verdict.reason,
        TIMED_AS[verdict.timing],
        verdict.caution if verdict.caution not in verdict.reason else "",
        f"{count} diverged or failed trial{'s' * (count > 1)} left out" if count else "",
    ]
    return "; ".join(part for part in parts if part)


def unit_of(measure: str, effect: float) -> tuple[str, float]:
    """Return the unit of an effect (with a leading space) and the factor that converts to it."""
    if measure in ACCURACIES:
        return " points", 100.0
    if measure.endswith("_seconds"):
        return (" ms", 1e3) if abs(effect) < SMALL_SECONDS else (" s", 1.0)
    unit, factor = UNITS.get(measure, ("", 1.0))
    return f" {unit}" if unit else "", factor
