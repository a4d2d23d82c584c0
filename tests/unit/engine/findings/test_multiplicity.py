"""Verdicts on several claims together: Holm by hand, and which claims count."""

import pytest

from batchscope.engine.findings.claim_verdicts import Verdict, judge, together
from batchscope.engine.findings.multiplicity import Judged, adjusted, familywise
from tests.unit.engine.findings_fixtures import comparison, configuration, sweep

FOUND: list[Judged] = [
    ("supported", 0.01, ""),
    ("contradicted", 0.02, "the effect has the opposite sign"),
    ("supported", 0.04, ""),
    ("undetermined", 0.5, "weak"),
]


def words(judged: list[Judged]) -> list[str]:
    return [word for word, _, _ in judged]


def test_p_values_are_those_of_holm_by_hand() -> None:
    found = adjusted(FOUND, 0, "holm")
    assert [p for _, p, _ in found] == pytest.approx([0.04, 0.06, 0.08, 0.5])
    assert words(found) == ["supported", *["undetermined"] * 3]


def test_a_verdict_that_the_correction_takes_says_so() -> None:
    reason = adjusted(FOUND, 0, "holm")[1][2]
    for part in ("p = 0.02 alone", "0.06 after Holm's correction", "4 claims", "opposite sign"):
        assert part in reason
    assert adjusted(FOUND, 0, "holm")[3][2] == "weak"


def test_an_adjusted_p_value_is_no_smaller_than_the_one_before_it() -> None:
    found = adjusted([("supported", 0.02, ""), ("supported", 0.021, "")], 0, "holm")
    assert [p for _, p, _ in found] == pytest.approx([0.04, 0.04])


def test_without_correction_all_stay() -> None:
    assert adjusted(FOUND, 3, "none") == FOUND
    assert adjusted([], 0, "holm") == []


def test_claims_that_are_withheld_count_and_those_that_cannot_be_judged_do_not() -> None:
    judged: list[Judged] = [("supported", 0.02, ""), ("undetermined", None, "nothing to compare")]
    assert adjusted(judged, 0, "holm") == [("supported", 0.02, ""), judged[1]]
    (word, p, reason), other = adjusted(judged, 2, "holm")
    assert word == "undetermined"
    assert p == pytest.approx(0.06)
    assert "3 claims" in reason
    assert other == judged[1]


@pytest.mark.parametrize(
    ("provisional", "method", "expected"),
    [(False, "", 0.03), (True, "", 0.06), (False, "paired t", 0.06)],
)
def test_a_claim_counts_if_it_was_tested_or_may_still_be(
    provisional: bool, method: str, expected: float
) -> None:
    sure = Verdict(statement="a", measure="m", verdict="supported", p=0.03, method="paired t")
    other = Verdict(statement="b", measure="m", provisional=provisional, method=method)  # type: ignore[arg-type]
    first, second = together([sure, other], "holm")
    assert first.p == 0.03
    assert first.p_adjusted == pytest.approx(expected)
    assert second.p_adjusted is None


def test_a_sweep_with_a_claim_that_missed_targets_counts_it() -> None:
    values = [
        (configuration(8, seeds=5, target_accuracy=0.8), [0.90, 0.91, 0.92, 0.93, 0.94]),
        (configuration(64, seeds=5, target_accuracy=0.8), [0.85, 0.86, 0.86, 0.87, 0.7]),
    ]
    claims = (comparison("greater"), comparison("less", measure="steps_to_target"))
    sure, missed = judge(sweep(values, *claims))
    assert (missed.verdict, missed.p, missed.method) == ("undetermined", None, "rank sum")
    assert sure.p is not None
    assert sure.p_adjusted == pytest.approx(2 * sure.p)


def test_how_often_some_claim_errs() -> None:
    assert familywise(1, "none") == familywise(5, "holm") == 0.05
    assert familywise(5, "none") == pytest.approx(1 - 0.95**5)
