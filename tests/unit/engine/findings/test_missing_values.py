"""Which side of the known values the missing ones may be on, and which verdicts that withholds."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.missing_values import unknown_values
from batchscope.engine.spec import Claim, Configuration
from tests.unit.engine.findings_fixtures import (
    TRAIN_SIZE,
    Ended,
    comparison,
    configuration,
    record,
    sweep,
    trend,
    verdict,
)

DIVERGED = Ended(0.1, "diverged")
BOTH, ABOVE, BELOW = {"below", "above"}, {"above"}, {"below"}


@pytest.mark.parametrize(
    ("measure", "diverged", "lacking", "unmeasured", "expected"),
    [
        ("test_accuracy", 1, 0, 0, BELOW),
        ("test_loss", 2, 0, 0, ABOVE),
        ("grad_norm_cv", 1, 0, 0, BOTH),
        ("grad_norm_cv_late", 0, 1, 0, BOTH),
        ("steps_to_target", 0, 1, 0, ABOVE),
        ("steps_to_target", 1, 0, 0, ABOVE),
        ("seconds_to_target", 0, 1, 0, ABOVE),
        ("epoch_seconds", 1, 0, 0, set()),
        ("peak_memory_bytes", 1, 0, 0, set()),
        ("lr", 1, 0, 0, set()),
        ("noise_scale", 0, 2, 0, set()),
        ("noise_scale", 0, 2, 1, BOTH),
        ("probe_norm_mean", 0, 1, 0, BOTH),
        ("test_accuracy", 0, 0, 0, set()),
    ],
)
def test_where_missing_values_may_be(
    measure: str, diverged: int, lacking: int, unmeasured: int, expected: set[str]
) -> None:
    assert unknown_values(measure, diverged, lacking, unmeasured) == expected


def accuracies(left: list[Any], right: list[Any], relation: str, within: Any = None) -> Verdict:
    sides = [(8, left), (64, right)]
    values = [(configuration(size, seeds=5), ends) for size, ends in sides]
    return verdict(sweep(values, comparison(relation, within)))


HIGH, LOW = [0.95, 0.951, 0.952, 0.953, 0.954], [0.5, 0.511, 0.502, 0.513, 0.504]


@pytest.mark.parametrize(
    ("left", "right", "relation", "word", "told"),
    [
        (HIGH, [*LOW[:4], DIVERGED], "greater", "supported", ""),
        ([*HIGH[:4], DIVERGED], LOW, "greater", "undetermined", "8: trials diverged"),
        (LOW, [*HIGH[:4], DIVERGED], "less", "undetermined", "64: trials diverged"),
        ([*LOW[:4], DIVERGED], HIGH, "less", "supported", ""),
        ([*HIGH[:4], DIVERGED], LOW, "less", "undetermined", "8: trials diverged"),
        (HIGH, [*LOW[:4], DIVERGED], "less", "contradicted", "opposite sign"),
    ],
)
def test_a_diverged_trial_is_worse_than_those_that_finished(
    left: list[Any], right: list[Any], relation: str, word: str, told: str
) -> None:
    found = accuracies(left, right, relation)
    assert (found.verdict, found.excluded, found.without_value) == (word, 1, 0)
    assert told in found.reason
    if word == "undetermined":
        assert (found.p, found.p_adjusted) == (None, None)


def test_equality_could_be_undone_by_any_missing_value() -> None:
    near = [value + 0.001 for value in HIGH]
    assert accuracies(HIGH, near, "equal", 0.1).verdict == "supported"
    missing: list[tuple[list[Any], list[Any]]] = [
        (HIGH, [*near[:4], DIVERGED]),
        ([*HIGH[:4], DIVERGED], near),
    ]
    for sides in missing:
        found = accuracies(sides[0], sides[1], "equal", 0.1)
        assert (found.verdict, found.p) == ("undetermined", None)
    apart = accuracies(HIGH, [*LOW[:4], DIVERGED], "equal", 0.01)
    assert apart.verdict == "contradicted", "a worse value on the right makes them differ more"


def test_failed_trials_are_left_out_because_they_say_nothing_of_the_training() -> None:
    found = accuracies([*HIGH[:4], Ended(0.1, "failed")], LOW, "greater")
    assert (found.verdict, found.excluded) == ("supported", 1)


def steps(reached: list[int | None]) -> list[Ended]:
    """Trials that took so many steps to the target, or missed it after 100."""
    return [
        Ended(records=(record(0.9 if at is not None else 0.5, steps=at or 100, samples=10),))
        for at in reached
    ]


def to_target(left: list[int | None], right: list[int | None], claim: Claim) -> Verdict:
    pairs: list[tuple[Configuration, list[Any]]] = [
        (
            configuration(size, seeds=len(each), steps=100, epochs=None, target_accuracy=0.8),
            steps(each),
        )
        for size, each in ((8, left), (64, right))
    ]
    return verdict(sweep(pairs, claim))


FAST: list[int | None] = [10, 12, 11, 13, 12]
NEVER: list[int | None] = [None] * 5


@pytest.mark.parametrize("missed", [1, 3, 5])
def test_a_missed_target_counts_as_its_budget_where_more_is_claimed(missed: int) -> None:
    slow = [*NEVER[:missed], *[90, 95, 85, 80, 99][missed:]]
    claim = comparison("greater", measure="steps_to_target")
    found = to_target(slow, FAST, claim)
    assert (found.verdict, found.without_value, found.n) == ("supported", missed, 5)
    assert found.p is not None
    assert found.p >= 2 / 252, "the order alone cannot show more with five seeds"
    assert f"{missed} of 5" in found.reason or "no seed reached" in found.reason
    assert sum(len(side.above) for side in found.sides) == missed
    assert found.sides[0].above == {str(seed): 100.0 for seed in range(missed)}


@pytest.mark.parametrize(("slow", "fast"), [(8, 64), (64, 8)])
def test_an_interval_is_unbounded_where_targets_were_missed(slow: int, fast: int) -> None:
    """The slow side is 100 or more on average: what it lacks to the target is unknown."""
    sides = {slow: NEVER, fast: FAST}
    relation = "greater" if slow == 8 else "less"
    claim = comparison(relation, measure="steps_to_target")
    found = to_target(sides[8], sides[64], claim)
    epoch = -(-TRAIN_SIZE // fast)  # the target is checked once an epoch
    half = stats.t.ppf(0.975, 4) * max(stats.sem(FAST), epoch / 2 / 5**0.5)
    nearest = 100 - 11.6 - half
    ends = (nearest, None) if slow == 8 else (None, -nearest)
    assert found.low == pytest.approx(ends[0])
    assert found.high == pytest.approx(ends[1])
    assert found.reason.endswith("no seed reached the target; they count as what they used")


def test_an_interval_beside_a_number_is_unbounded_above_if_targets_were_missed() -> None:
    claim = Claim(
        statement="s",
        measure="steps_to_target",
        left={"train.batch_size": 8},
        relation="greater",
        value=20.0,
    )
    of = configuration(8, seeds=7, steps=100, epochs=None, target_accuracy=0.8)
    found = verdict(sweep([(of, steps([90, 95, 85, 80, 99, None, None]))], claim))
    assert found.verdict == "supported"
    assert found.low == pytest.approx(stats.t.interval(0.95, 6, *_moments())[0] - 20)
    assert found.high is None


def _moments() -> tuple[float, float]:
    used = [90, 95, 85, 80, 99, 100, 100]
    return float(np.mean(used)), float(stats.sem(used))


def test_with_four_seeds_a_missed_target_leaves_it_open() -> None:
    claim = comparison("greater", measure="steps_to_target")
    found = to_target([None, 95, 90, 85], [10, 12, 11, 13], claim)
    assert (found.verdict, found.effect, found.p) == ("undetermined", None, None)
    assert to_target([99, 95, 90, 85], [10, 12, 11, 13], claim).verdict == "supported"


def test_a_missed_target_is_never_less() -> None:
    found = to_target(
        [10, 12, 11, 13, None], [90, 95, 85, 80, 99], comparison("less", measure="steps_to_target")
    )
    assert (found.verdict, found.without_value) == ("undetermined", 1)
    assert "8: 1 of 5 finished seeds missed" in found.reason
    both = to_target(NEVER, NEVER, comparison("greater", measure="steps_to_target"))
    assert (both.verdict, both.without_value) == ("undetermined", 10)


@pytest.mark.parametrize(
    ("way", "word"), [("increasing", "supported"), ("decreasing", "contradicted")]
)
def test_a_trend_may_end_where_targets_are_missed(way: Any, word: str) -> None:
    found = to_target(FAST, NEVER, trend(way, "steps_to_target"))
    assert (found.verdict, found.without_value) == (word, 5)


def test_other_values_that_are_missing_leave_it_open() -> None:
    claim = comparison("less", measure="validation_accuracy")
    ends = [
        [Ended(figures={"validation_accuracy": value}) for value in values]
        for values in (LOW, HIGH)
    ]
    ends[1][4] = Ended()
    pairs = [(configuration(size, seeds=5), each) for size, each in zip((8, 64), ends, strict=True)]
    found = verdict(sweep(pairs, claim))
    assert (found.verdict, found.n, found.without_value) == ("undetermined", 4, 1)
    assert "64: seeds without validation_accuracy" in found.reason


UP = ([0.80, 0.801, 0.802, 0.803], [0.85, 0.851, 0.852, 0.854], [0.90, 0.901, 0.903, 0.902])
FEW_LEFT: list[Any] = [0.5, DIVERGED, DIVERGED, DIVERGED]


@pytest.mark.parametrize(
    ("levels", "way", "word"),
    [
        (UP, "increasing", "supported"),
        ([*UP, FEW_LEFT], "increasing", "undetermined"),
        ([UP[0], FEW_LEFT, *UP[1:]], "increasing", "undetermined"),
        ([FEW_LEFT, *UP], "increasing", "supported"),
        ([FEW_LEFT, *UP[::-1]], "decreasing", "undetermined"),
        ([*UP, FEW_LEFT], "decreasing", "undetermined"),
        ([*UP, [0.95, *[Ended(status="skipped")] * 3]], "increasing", "supported"),
    ],
)
def test_a_level_at_which_most_trials_diverged_counts_in_a_trend(
    levels: Any, way: str, word: str
) -> None:
    """A training that diverged is worse than the others, also where too few others are left."""
    pairs = [(configuration(8 * 2**at, seeds=4), each) for at, each in enumerate(levels)]
    found = verdict(sweep(pairs, trend(way)))
    assert found.verdict == word
    assert ("trials diverged" in found.reason) == (word == "undetermined")


@pytest.mark.parametrize("missed", [1, 3])
def test_trials_of_a_stack_that_missed_their_target_are_all_counted(missed: int) -> None:
    """A stack has the time of its members that reached the target, and what all used else."""

    def stacks(seconds: float, missed: int = 0) -> list[Any]:
        return [
            Ended(
                records=(record(0.5 if at < missed else 0.9, seconds=seconds + 0.01 * (at // 3)),),
                stacked=3,
            )
            for at in range(18)
        ]

    sides = [(8, stacks(5.0, missed)), (64, stacks(1.0))]
    pairs = [
        (configuration(size, seeds=18, epochs=2, target_accuracy=0.8), each) for size, each in sides
    ]
    more = verdict(sweep(pairs, comparison("greater", measure="seconds_to_target")))
    assert (more.verdict, more.n, more.without_value) == ("supported", 6, missed)
    assert f"8: {missed} of 18 finished trials missed the target" in more.reason
    assert more.high is None, "what they lacked to the target is unknown"
    less = verdict(sweep(pairs[::-1], comparison("equal", 9.0, "seconds_to_target")))
    assert (less.verdict, less.effect) == ("undetermined", None)
