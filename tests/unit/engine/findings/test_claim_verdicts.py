"""Comparisons and trends are judged; what cannot be judged is undetermined."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.metrics.metric import Rounding
from batchscope.engine.metrics.registry import TRIAL
from batchscope.engine.spec import Claim, Model
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    sweep,
    trend,
    verdict,
)

DIVERGED, FAILED = Ended(status="diverged"), Ended(status="failed")
B8, B64 = configuration(8), configuration(64)
HIGH, LOW = [0.95, 0.96, 0.97], [0.90, 0.92, 0.91]


@pytest.mark.parametrize(
    ("relation", "left", "expected"),
    [
        ("greater", HIGH, "supported"),
        ("greater", LOW, "contradicted"),
        ("less", HIGH, "contradicted"),
        ("less", LOW, "supported"),
    ],
)
def test_a_side_that_is_higher_is_seen_to_be(
    relation: str, left: list[float], expected: str
) -> None:
    right = LOW if left is HIGH else HIGH
    found = verdict(sweep([(B8, left), (B64, right)], comparison(relation)))
    reference = stats.ttest_rel(left, right)
    low, high = reference.confidence_interval(0.95)
    assert found.verdict == expected
    assert found.effect == pytest.approx(np.mean(left) - np.mean(right))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.n, found.level, found.method) == (3, 0.05, "paired t")
    assert (found.excluded, found.provisional) == (0, False)


def test_another_network_is_compared_by_welch() -> None:
    other = configuration(64, model=Model(name="mlp", hidden=(9, 9)))
    found = verdict(sweep([(B8, HIGH), (other, LOW)], comparison("greater")))
    low, high = stats.ttest_ind(HIGH, LOW, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.method, found.verdict) == ("Welch's t", "supported")


def test_pairs_are_those_of_the_seeds_that_both_finished() -> None:
    found = verdict(
        sweep(
            [(configuration(8, seeds=4), [0.5, DIVERGED, 0.9, 0.7]), (B64, [0.4, 0.1, 0.8])],
            comparison("greater"),
        )
    )
    assert found.n == 2
    assert found.effect == pytest.approx(0.1)
    assert found.excluded == 1


def test_several_configurations_are_averaged_seed_by_seed() -> None:
    twice = configuration(8, lr=0.2, id="b8-lr0.2")
    state = sweep(
        [(B8, [0.5, 0.6, 0.7]), (twice, [0.7, 0.8, DIVERGED]), (B64, [0.5, 0.6, 0.1])],
        comparison("greater"),
    )
    found = verdict(state)
    assert found.effect == pytest.approx(0.1)
    assert (found.n, found.excluded) == (2, 1), "a seed that one of them lost is no mean of both"


def test_an_average_without_one_of_its_configurations_is_not_judged() -> None:
    """The rate that diverges would be averaged on one side only."""
    hot = configuration(8, lr=9.0, id="b8-lr9", label="8, lr 9")
    state = sweep(
        [(B8, HIGH), (hot, [DIVERGED, FAILED, DIVERGED]), (B64, LOW)], comparison("greater")
    )
    found = verdict(state)
    assert (found.verdict, found.effect, found.excluded) == ("undetermined", None, 3)
    assert "“8, lr 9” diverged or failed" in found.reason


def test_of_many_that_are_lost_a_few_are_named() -> None:
    hot = [configuration(8, lr=9.0 + at, id=f"h{at}", label=f"h{at}") for at in range(5)]
    lost = [(each, [DIVERGED] * 3) for each in hot]
    found = verdict(sweep([(B8, HIGH), *lost, (B64, LOW)], comparison("greater")))
    assert all(label in found.reason for label in ("h0", "h1", "h2", "2 more"))
    assert "h3" not in found.reason.rpartition(":")[2]


@pytest.mark.parametrize(
    ("right", "within", "expected"),
    [
        ([0.951, 0.959, 0.970], 0.02, "supported"),
        ([0.951, 0.959, 0.970], 0.0001, "undetermined"),
        ([0.90, 0.92, 0.91], 0.01, "contradicted"),
        (HIGH, 0.005, "supported"),
    ],
)
def test_equality_needs_to_be_shown(right: list[float], within: float, expected: str) -> None:
    found = verdict(sweep([(B8, HIGH), (B64, right)], comparison("equal", within)))
    assert found.verdict == expected
    assert bool(found.reason) == (expected != "supported")


# ---- what cannot be judged is undetermined


@pytest.mark.parametrize(
    ("left", "right", "reason", "excluded"),
    [
        ([0.9], LOW, ["8: 1 of 3 seeds"], 0),
        ([], [], ["8: 0 of 3 seeds", "64: 0 of 3 seeds"], 0),
        ([DIVERGED, DIVERGED, FAILED], LOW, ["every trial of batch size 8 diverged or failed"], 3),
        ([Ended(status="skipped")] * 3, LOW, ["every trial of batch size 8 was skipped"], 0),
        ([0.9, DIVERGED, FAILED], LOW, ["8: 1 of 3 seeds"], 2),
        ([0.9, 0.9, DIVERGED], [DIVERGED, 0.8, 0.8], ["fewer than 2 seeds"], 2),
    ],
)
def test_too_few_seeds(left: list[Any], right: list[Any], reason: list[str], excluded: int) -> None:
    found = verdict(sweep([(B8, left), (B64, right)], comparison("greater")))
    assert (found.verdict, found.excluded) == ("undetermined", excluded)
    clauses = found.reason.split("; ")
    assert len(clauses) == len(reason)
    assert all(word in clause for word, clause in zip(reason, clauses, strict=True))
    assert (found.effect, found.low, found.high) == (None, None, None)


def test_one_seed_is_too_few() -> None:
    one = [(configuration(8, seeds=1), [0.9]), (configuration(64, seeds=1), [0.8])]
    for claim in (comparison("less"), trend("decreasing")):
        found = verdict(sweep(one, claim))
        assert found.verdict == "undetermined"
        assert "one seed has no spread" in found.reason


def test_the_same_values_everywhere_are_undetermined() -> None:
    for claim in (comparison("less"), trend("decreasing")):
        found = verdict(sweep([(B8, [0.9] * 3), (B64, [0.9] * 3)], claim))
        assert (found.verdict, found.effect) == ("undetermined", 0)
        assert "zero" in found.reason
        assert "p =" not in found.reason


def test_an_effect_within_the_noise_is_undetermined_with_its_p_value() -> None:
    near = [0.94, 0.97, 0.96]
    found = verdict(sweep([(B8, HIGH), (B64, near)], comparison("greater")))
    assert found.verdict == "undetermined"
    p = stats.ttest_rel(HIGH, near).pvalue
    assert f"p = {p:.2g}" in found.reason


def test_a_measure_that_no_trial_has() -> None:
    state = sweep([(B8, HIGH), (B64, LOW)], comparison("less", measure="peak_memory_bytes"))
    assert verdict(state).reason.startswith("8: no seed")
    assert "peak_memory_bytes" in verdict(state).reason


def test_two_seeds_that_agree_on_a_coarse_figure_prove_nothing() -> None:
    """Of 1,000 test images one more is right, in both seeds."""
    state = sweep([(B8, [0.901, 0.911]), (B64, [0.900, 0.910])], comparison("greater"))
    assert verdict(state).verdict == "undetermined"


def test_a_count_that_no_seed_changes_is_certain() -> None:
    def steps(count: int) -> list[Ended]:
        return [Ended(figures={"steps": count})] * 3

    state = sweep([(B8, steps(100)), (B64, steps(20))], comparison("greater", measure="steps"))
    assert (verdict(state).verdict, verdict(state).low) == ("supported", 80)


def test_a_verdict_is_provisional_while_trials_are_to_come() -> None:
    state = sweep([(B8, HIGH), (configuration(64, seeds=4), LOW)], comparison("greater"))
    assert (verdict(state).verdict, verdict(state).provisional) == ("supported", True)


# ---- trends


def ladder_of(*columns: list[Any]) -> list[tuple[Any, list[Any]]]:
    """Batch sizes 8, 16, 32 and so on with these values."""
    return [(configuration(8 << at), values) for at, values in enumerate(columns)]


def test_a_trend_is_that_of_its_ends() -> None:
    columns = [[0.95, 0.96, 0.97], [0.93, 0.95, 0.94], [0.90, 0.92, 0.91]]
    for way, expected in (("decreasing", "supported"), ("increasing", "contradicted")):
        found = verdict(sweep(ladder_of(*columns), trend(way)))
        low, high = stats.ttest_rel(columns[2], columns[0]).confidence_interval(0.95)
        assert found.verdict == expected
        assert (found.low, found.high) == pytest.approx((low, high))


def test_a_step_back_leaves_a_trend_undetermined() -> None:
    columns = [[0.95, 0.96, 0.97], [0.80, 0.81, 0.8201], [0.90, 0.91, 0.9203]]
    found = verdict(sweep(ladder_of(*columns), trend("decreasing")))
    assert found.verdict == "undetermined"
    assert "from batch_size 16 to 32" in found.reason


def test_a_step_back_within_the_noise_does_not() -> None:
    columns = [[0.95, 0.96, 0.97], [0.90, 0.95, 0.91], [0.92, 0.91, 0.95], [0.80, 0.82, 0.81]]
    assert verdict(sweep(ladder_of(*columns), trend("decreasing"))).verdict == "supported"


def test_one_level_is_no_trend() -> None:
    found = verdict(sweep(ladder_of(HIGH), trend("decreasing")))
    assert found.verdict == "undetermined"
    assert found.reason.startswith("batch_size has only one level")
    found = verdict(sweep(ladder_of(HIGH, LOW), trend("decreasing", over="train.lr")))
    assert found.reason.startswith("lr has only one level")


def test_a_step_back_over_several_levels_leaves_a_trend_undetermined() -> None:
    """Each step down is within the noise; both of them together are not."""
    columns = [
        [0.900, 0.901, 0.902], [0.990, 0.992, 0.991], [0.980, 0.991, 0.975],
        [0.970, 0.969, 0.971], [0.995, 0.996, 0.994],
    ]  # fmt: skip
    for lower, upper in pairwise(columns[1:4]):
        assert stats.ttest_rel(lower, upper).pvalue > 0.05
    found = verdict(sweep(ladder_of(*columns), trend("increasing")))
    assert found.verdict == "undetermined"
    assert "from batch_size 16 to 64" in found.reason


def test_a_trend_without_a_complete_series_is_undetermined() -> None:
    for columns in ((HIGH, [DIVERGED] * 3, LOW), (HIGH, [DIVERGED] * 3)):
        found = verdict(sweep(ladder_of(*columns), trend("decreasing")))
        assert (found.verdict, found.excluded, found.n) == ("undetermined", 3, 0)
        assert found.reason.startswith("every trial of batch size 16 diverged; ")


def rates(worse: list[Any]) -> list[tuple[Any, list[Any]]]:
    """At rate 0.1 accuracy falls with the batch, at 0.2 it is low throughout."""
    return [
        (configuration(8, id="a"), [0.97, 0.971, 0.972]),
        (configuration(64, id="b"), [0.96, 0.961, 0.962]),
        (configuration(8, id="c", lr=0.2), [0.80, 0.801, 0.802]),
        (configuration(64, id="d", lr=0.2, label="64, lr 0.2"), worse),
    ]


def test_a_series_that_lost_a_level_is_left_out_at_every_level() -> None:
    """With the low rate at the small batch only, accuracy would seem to rise."""
    for way, expected in (("decreasing", "supported"), ("increasing", "contradicted")):
        found = verdict(sweep(rates([DIVERGED] * 3), trend(way)))
        assert (found.verdict, found.excluded) == (expected, 3)
        assert found.effect == pytest.approx(-0.01)
        assert "“64, lr 0.2” diverged" in found.reason


def test_a_series_that_diverged_where_it_speaks_against_a_trend_holds_it_back() -> None:
    """Where all trials of the low rate diverge at the small batch, accuracy may rise with it."""
    values = rates([0.80, 0.801, 0.802])
    values[2] = (values[2][0], [DIVERGED] * 3)
    for way in ("decreasing", "increasing"):
        found = verdict(sweep(values, trend(way)))
        assert (found.verdict, found.excluded, found.p) == ("undetermined", 3, None)
        assert "diverged" in found.reason


def test_a_series_that_may_still_finish_is_waited_for() -> None:
    found = verdict(sweep(rates([DIVERGED, DIVERGED]), trend("decreasing")))
    assert (found.verdict, found.provisional) == ("undetermined", True)
    assert found.reason.startswith("batch_size 64: 0 of 3 seeds")


def test_averages_at_two_rates_are_not_compared_without_one_of_them() -> None:
    claim = Claim(
        statement="s", measure="test_accuracy",
        left={"train.lr": 0.1}, relation="greater", right={"train.lr": 0.2},
    )  # fmt: skip
    found = verdict(sweep(rates([DIVERGED, FAILED, DIVERGED]), claim))
    assert found.verdict == "undetermined"
    assert "“64, lr 0.2” diverged or failed" in found.reason


# ---- rounding, and what ran beside


@pytest.mark.parametrize("measure", ["distance_from_init", "weight_norm", "path_length"])
def test_the_same_draw_summed_in_another_order_is_no_effect(measure: str) -> None:
    """A few units in the last place of float32 that go one way in every seed."""
    assert TRIAL[measure].rounding is Rounding.FLOAT32

    def side(shift: float) -> list[Ended]:
        values = [(5.0 + at) * (1 + shift * (1 + at / 100)) for at in range(3)]
        return [Ended(figures={measure: value}) for value in values]

    state = sweep([(B8, side(0.0)), (B64, side(3e-7))], comparison("less", measure=measure))
    assert verdict(state).verdict == "undetermined"
    state = sweep([(B8, side(0.0)), (B64, side(1e-3))], comparison("less", measure=measure))
    assert verdict(state).verdict == "supported"


@pytest.mark.parametrize(
    ("left", "right", "measure", "expected"),
    [
        ("alone", "alone", "epoch_seconds", "alone"),
        ("alone", "shared", "step_seconds", "shared"),
        ("shared", "alone", "training_seconds", "shared"),
        ("shared", "shared", "samples_per_second", "shared"),
        ("shared", "shared", "test_accuracy", ""),
    ],
)
def test_a_verdict_on_times_says_whether_other_trials_ran(
    left: str, right: str, measure: str, expected: str
) -> None:
    sides = [configuration(8, timing=left), configuration(64, timing=right)]
    state = sweep([(each, HIGH) for each in sides], comparison("less", measure=measure))
    assert verdict(state).timing == expected


def test_a_trend_of_times_says_whether_other_trials_ran() -> None:
    state = sweep(ladder_of(HIGH, LOW), trend("decreasing", "epoch_seconds"))
    assert verdict(state).timing == "shared"
    assert verdict(sweep(ladder_of(HIGH), trend("decreasing"))).timing == ""


def test_a_level_still_to_come_is_waited_for() -> None:
    found = verdict(sweep(ladder_of(HIGH, LOW, [0.8]), trend("decreasing")))
    assert (found.verdict, found.provisional) == ("undetermined", True)
    assert found.reason.startswith("batch_size 32: 1 of 3 seeds")


def test_a_configuration_that_differs_in_more_is_left_out_with_a_remark() -> None:
    raised = configuration(16, lr=0.5, id="raised")
    found = verdict(sweep([*ladder_of(HIGH, LOW), (raised, HIGH)], trend("decreasing")))
    assert found.verdict == "supported"
    assert found.reason.startswith("1 configuration ")
    assert "more than batch_size" in found.reason
