"""Says of each trial without a noise scale why it has none, and whether it counts nevertheless."""

from typing import Any

import pytest

from batchscope.engine.spec import Claim
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep, trend, verdict

KNOWN = {"noise_draws": 4, "noise_trace": 20.0, "noise_signal": 2.0}
NEGATIVE = {"noise_draws": 4, "noise_trace": 20.0, "noise_signal": -0.5}


@pytest.mark.parametrize(
    ("measure", "seeds", "told", "untold"),
    [
        ("noise_scale", [KNOWN, KNOWN, NEGATIVE], ["1 of 3 trials has no", "it counts"], "little"),
        ("noise_scale", [KNOWN, NEGATIVE, NEGATIVE], ["2 of 3", "they count"], "little"),
        ("noise_scale", [KNOWN, KNOWN, {}], ["1 of 3", "too little was measured"], "positive"),
        ("noise_scale", [KNOWN, NEGATIVE, {}], ["not positive", "too little was measured"], "2 of"),
        ("noise_scale", [{}, {}, {}], ["3 of 3 trials have no", "too little"], "positive"),
        ("noise_scale_growth", [KNOWN] * 3, ["3 of 3 trials have no", "too little"], "positive"),
    ],
)
def test_the_reason_is_the_true_one(
    measure: str, seeds: list[dict[str, float]], told: list[str], untold: str
) -> None:
    claim = Claim(
        statement="s",
        measure=measure,
        left={"train.batch_size": 8},
        relation="less",
        value=1000.0,
    )
    ends = [Ended(figures=figures) for figures in seeds]
    found = verdict(sweep([(configuration(8), ends)], claim))
    for words in told:
        assert words in found.reason
    assert untold not in found.reason
    assert found.without_value == sum(each != KNOWN for each in seeds) or measure != "noise_scale"


def noise(trace: float, *signals: float) -> list[Ended]:
    """Seeds with these estimates of |G|²."""
    return [
        Ended(figures={"noise_draws": 4, "noise_trace": trace + seed / 100, "noise_signal": signal})
        for seed, signal in enumerate(signals)
    ]


SMALL, LARGE = noise(10, 1.0, 1.01, 0.99, 1.0, 1.0), noise(100, 1.0, 1.01, 0.99, 1.0, 1.0)
INFINITE, PERHAPS = noise(10, -0.5, 0.5, -0.4, 0.6, -0.3), noise(10, -0.5, 0.5, -0.4, 0.6, 0.3)


@pytest.mark.parametrize(
    ("levels", "way", "word"),
    [
        ((SMALL, INFINITE, LARGE), "increasing", "undetermined"),
        ((SMALL, PERHAPS, LARGE), "increasing", "undetermined"),
        ((LARGE, INFINITE, SMALL), "decreasing", "undetermined"),
        ((LARGE, INFINITE, SMALL), "increasing", "contradicted"),
        ((SMALL, LARGE, noise(10, *(0.02, 0.03, -0.01, 0.02, 0.0))), "increasing", "supported"),
        ((noise(10, *(0.02, 0.03, -0.01, 0.02, 0.0)), LARGE, SMALL), "decreasing", "supported"),
    ],
)
def test_a_trend_is_not_supported_past_a_noise_scale_that_may_be_infinite(
    levels: Any, way: str, word: str
) -> None:
    """A larger level must follow it, and nothing is known to be larger."""
    pairs = [(configuration(8 * 2**at, seeds=5), each) for at, each in enumerate(levels)]
    found = verdict(sweep(pairs, trend(way, "noise_scale")))
    assert found.verdict == word
    assert ("no upper bound" in found.reason) == (word == "undetermined")
