"""Says of each trial without a noise scale why it has none, and whether it counts nevertheless."""

import pytest

from batchscope.engine.spec import Claim
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep, verdict

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
