"""Claims in words: the verdict with its effect, and how many claims were left out."""

from batchscope.engine.analysis.stack_times import TIMED_AS
from batchscope.engine.analysis.statistics import LEVEL
from batchscope.engine.experiment.claims import LEFT_OUT
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.multiplicity import familywise
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
NO_BOUND = ("−inf", "+inf")
"""How the lower and the upper end of an interval are shown where it has none."""
SMALLEST_P = 1e-4
"""Smaller p values are shown as less than this one."""
SMALL_SECONDS = 0.1
"""Effects below are shown in milliseconds."""


def effect_text(verdict: Verdict) -> str:
    """Return the effect with its interval, such as −1.90 points [−2.20, −1.60], n=5.

    For equality the interval that decided is followed by that of 95 %. An end without a bound is
    infinite. Empty without an effect.
    """
    ends = (verdict.low, verdict.high)
    if verdict.effect is None and ends == (None, None):
        return ""
    scale = next((end for end in (verdict.effect, *ends) if end is not None), 0.0)
    unit, factor = unit_of(verdict.measure, scale)
    value = "" if verdict.effect is None else f"{signed(verdict.effect * factor)}{unit} "
    shown = _interval(verdict.low, verdict.high, factor)
    if verdict.level != LEVEL:
        wide = _interval(verdict.low_95, verdict.high_95, factor)
        shown = f"{shown} at {percent(1 - verdict.level)}, {wide} at {percent(1 - LEVEL)}"
    return f"{value}{shown}, n={verdict.n}"


def _interval(low: float | None, high: float | None, factor: float) -> str:
    """Return an interval in brackets, with infinite ends where it has no bound."""
    pairs = zip((low, high), NO_BOUND, strict=True)
    ends = (infinite if end is None else signed(end * factor) for end, infinite in pairs)
    return f"[{', '.join(ends)}]"


def percent(share: float) -> str:
    """Return a share in whole percent: 95 %."""
    return f"{100 * share:.0f} %"


def p_text(verdict: Verdict) -> str:
    """Return the p value, and the adjusted one if it differs: p = 0.012, 0.036 adjusted."""
    if verdict.p is None:
        return ""
    alone, adjusted = _p(verdict.p), _p(verdict.p_adjusted or verdict.p)
    if alone == adjusted:
        return alone
    return f"{alone}, {adjusted.removeprefix('p = ')} adjusted"


def _p(p: float) -> str:
    """Return a p value: "p = 0.012", or "p < 0.0001" if it is that small."""
    return f"p < {SMALLEST_P:.4f}" if p < SMALLEST_P else f"p = {p:.2g}"


def family_sentence(state: SweepState) -> str:
    """Return how the claims are judged together, and how often one of them would err by chance.

    Empty without a claim.
    """
    claims = state.opened.claims if state.opened else ()
    correction = state.opened.judging.correction if state.opened else "none"
    count = len(claims)
    if not count:
        return ""
    if count == 1:
        return (
            f"One claim: its verdict is false by chance in at most {percent(LEVEL)} of such sweeps."
        )
    share = percent(familywise(count, correction))
    if correction == "holm":
        return (
            f"{count} claims, judged together (Holm): at most {share} of such sweeps have a "
            "verdict that is false by chance. Intervals are not corrected."
        )
    return (
        f"{count} claims, each judged alone: without any effect, up to {share} of such sweeps have "
        "a verdict that is false by chance."
    )


def scope(state: SweepState) -> str:
    """Return what the seeds stand for; said once where claims are reported."""
    tasks = any(each.settings.task for each in state.configurations.values())
    orders, data = ("orders of the samples", "samples") if tasks else ("image orders", "images")
    return (
        f"Intervals and verdicts are about other seeds (initial weights and {orders}) with these "
        f"training and test {data}, not about other data."
    )


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
