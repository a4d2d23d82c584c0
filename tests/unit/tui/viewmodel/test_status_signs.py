"""How a verdict is told."""

import pytest

from batchscope.engine.findings.claim_verdicts import Timing, Verdict
from batchscope.tui.viewmodel.status_signs import effect_text, remarks


@pytest.mark.parametrize(
    ("timing", "excluded", "reason", "told"),
    [
        ("", 0, "", ""),
        ("alone", 0, "", "timed alone"),
        (
            "shared",
            2,
            "why",
            "why; timed while other trials may have run; 2 trials that diverged or failed are left "
            "out",
        ),
        ("", 1, "", "1 trial that diverged or failed is left out"),
    ],
)
def test_remarks(timing: Timing, excluded: int, reason: str, told: str) -> None:
    verdict = Verdict(
        statement="", measure="epoch_seconds", timing=timing, excluded=excluded, reason=reason
    )
    assert remarks(verdict) == told


@pytest.mark.parametrize(
    ("measure", "values", "told"),
    [
        ("test_accuracy", (-0.019, -0.022, -0.016), "−1.90 points [−2.20, −1.60], n=5"),
        ("epoch_seconds", (0.0122, -1.18, 1.2), "+12.2 ms [−1,180, +1,200], n=5"),
        ("epoch_seconds", (-2.0, -3.0, -1.0), "−2.00 s [−3.00, −1.00], n=5"),
        ("distance_from_init", (25.0, 23.5, 26.5), "+25.0 [+23.5, +26.5], n=5"),
        ("noise_scale", (65.7, -4.05, None), "+65.7 [−4.05, +inf], n=5"),
        ("noise_scale", (None, None, 12.0), "[−inf, +12.0], n=5"),
        ("noise_scale", (None, None, None), ""),
    ],
)
def test_effects(
    measure: str, values: tuple[float | None, float | None, float | None], told: str
) -> None:
    effect, low, high = values
    verdict = Verdict(statement="", measure=measure, effect=effect, low=low, high=high, n=5)
    assert effect_text(verdict) == told
