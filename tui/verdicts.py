"""How a verdict is told: a mark and a word, and the effect in units that a person reads."""

from collections import Counter
from collections.abc import Sequence

from engine.findings.claims import Verdict, Word
from engine.findings.measures import ACCURACIES
from tui.units import number

MARKS: dict[Word, tuple[str, str]] = {
    "supported": ("✓", "good"),
    "contradicted": ("✗", "bad"),
    "undetermined": ("?", "warn"),
}
UNITS = {"peak_memory_bytes": ("MiB", 1 / 2**20), "samples_per_second": ("samples/s", 1.0)}
SMALL_SECONDS = 0.1


def effect_text(verdict: Verdict) -> str:
    """−1.90 points [−2.20, −1.60], n=5; empty where nothing could be compared."""
    if verdict.effect is None or verdict.low is None or verdict.high is None:
        return ""
    unit, factor = _unit(verdict.measure, verdict.effect)
    low, high = (_signed(value * factor) for value in (verdict.low, verdict.high))
    return f"{_signed(verdict.effect * factor)}{unit} [{low}, {high}], n={verdict.n}"


def word_of(verdict: Verdict) -> str:
    """The verdict, and whether it may still change."""
    return f"{verdict.verdict} so far" if verdict.provisional else verdict.verdict


def remarks(verdict: Verdict) -> str:
    """What else there is to say: why, and what was left out."""
    count = verdict.excluded
    parts = [
        verdict.reason,
        f"timed {verdict.timing}" if verdict.timing else "",
        verdict.caution,
        f"{count} diverged or failed trial{'s' * (count > 1)} left out" if count else "",
    ]
    return "; ".join(part for part in parts if part)


def tally(verdicts: Sequence[Verdict]) -> tuple[tuple[str, str], ...]:
    """2✓ 1? as a row of the screen; empty without claims."""
    counts = Counter(verdict.verdict for verdict in verdicts)
    return tuple(
        (f" {counts[word]}{sign}", style) for word, (sign, style) in MARKS.items() if counts[word]
    )


def _unit(measure: str, effect: float) -> tuple[str, float]:
    if measure in ACCURACIES:
        return " points", 100.0
    if measure.endswith("_seconds"):
        return (" ms", 1e3) if abs(effect) < SMALL_SECONDS else (" s", 1.0)
    unit, factor = UNITS.get(measure, ("", 1.0))
    return f" {unit}" if unit else "", factor


def _signed(value: float) -> str:
    """With its sign, and a minus as wide as the plus."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + number(abs(value))
