"""A verdict in words: the effect in units that a person reads, and what else there is to say."""

from engine.findings.claims import Verdict
from engine.findings.measures import ACCURACIES
from engine.numbers import signed
from engine.shared_times import TIMED_AS

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
