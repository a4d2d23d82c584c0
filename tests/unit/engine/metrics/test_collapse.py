"""A training collapsed if it ends as good as guessing, or lost most of what it had learned."""

from collections.abc import Sequence
from math import comb

import pytest

from batchscope.engine.analysis.statistics import Estimate, p_value, paired, welch
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.collapse import collapse_remark, collapsed, collapsed_seeds
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.metrics.rounding_variance import IN_STEPS
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    record,
    sweep,
    verdict,
)


def trained(*accuracies: float, status: str = "finished") -> Ended:
    """A trial with these test accuracies at the ends of its epochs."""
    records = tuple(record(each, epoch=at) for at, each in enumerate(accuracies, start=1))
    return Ended(status=status, records=records)  # type: ignore[arg-type]


def one(end: Ended) -> SweepState:
    return sweep([(configuration(8, seeds=1), [end])])


@pytest.mark.parametrize(
    ("accuracies", "fell"),
    [
        ((0.3, 0.9, 0.95), False),
        ((0.439, 0.467, 0.465, 0.517, 0.142), True),  # MNIST, batch 1,024, learning rate 0.7
        ((0.101, 0.101, 0.114, 0.114, 0.114), True),  # the same at 1.1: it never learned
        ((0.504, 0.196, 0.203, 0.597, 0.293, 0.4, 0.376), False),  # unsteady, but it knows much
        ((0.1,), True),  # too short to learn anything
        ((0.1449,), True),
        ((0.1451,), False),  # a twentieth of the way from 0.1 to 1 is 0.145
        ((0.9, 0.4999), True),  # half of the way from 0.1 to 0.9 is 0.5
        ((0.9, 0.5001), False),
    ],
)
def test_a_collapse_by_its_accuracies(accuracies: Sequence[float], fell: bool) -> None:
    state = one(trained(*accuracies))
    trial = state.trials["b8-s0"]
    assert collapsed(trial) is fell
    assert value_of(state, trial, "collapsed") == float(fell)


@pytest.mark.parametrize("status", ["diverged", "failed", "queued"])
def test_a_trial_that_did_not_finish_has_not_collapsed(status: str) -> None:
    state = one(trained(0.1, status=status))
    assert collapsed(state.trials["b8-s0"]) is None
    assert value_of(state, state.trials["b8-s0"], "collapsed") is None


def test_collapsed_seeds_are_named() -> None:
    ends = [trained(0.95 if seed not in (1, 7) else 0.1) for seed in range(10)]
    state = sweep([(configuration(8, seeds=10), ends)])
    assert collapsed_seeds(state.replicates("b8")) == (1, 7)
    assert collapse_remark((1, 7), 10) == "2 of 10 seeds collapsed or learned nothing: 1, 7"
    assert collapse_remark((), 10) == ""


def test_a_verdict_names_the_collapsed_seeds_of_its_sides() -> None:
    fine = [0.95, 0.96, 0.94, 0.97]
    pair = [(configuration(8, seeds=4), fine), (configuration(64, seeds=4), [0.1, 0.9, 0.9, 0.1])]
    found = verdict(sweep(pair, comparison("greater")))
    assert "64: 2 of 4 seeds collapsed or learned nothing: 0, 3" in found.reason
    assert [side.collapsed for side in found.sides] == [(), ("b64-s0", "b64-s3")]
    timed = verdict(sweep(pair, comparison("less", measure="epoch_seconds")))
    assert "collapsed" not in timed.reason


def test_a_claim_about_collapses_needs_more_than_a_few_seeds() -> None:
    """Three of three against none of three happen by chance; seven of seven seldom do."""

    def judged(seeds: int) -> str:
        pair = [
            (configuration(size, seeds=seeds), [at] * seeds) for size, at in ((8, 0.9), (64, 0.1))
        ]
        return verdict(sweep(pair, comparison("less", measure="collapsed"))).verdict

    assert judged(3) == "undetermined"
    assert judged(10) == "supported"


def supported(estimate: Estimate | None) -> bool:
    assert estimate is not None
    p = p_value(estimate)
    return p is not None and p < 0.05 and estimate.effect > 0


@pytest.mark.parametrize("n", [3, 5, 7, 10])
def test_without_an_effect_collapses_support_a_claim_in_at_most_2_5_percent(n: int) -> None:
    """Exact, over all outcomes: sides that are independent, and pairs of equal probability."""
    ones = [[1.0] * k + [0.0] * (n - k) for k in range(n + 1)]
    floors = (IN_STEPS, IN_STEPS)
    apart = [
        (a, b)
        for a in range(n + 1)
        for b in range(n + 1)
        if supported(welch(ones[a], ones[b], floors))
    ]
    pairs = [
        (up, down)
        for up in range(n + 1)
        for down in range(n + 1 - up)
        if supported(paired(ones[up], [0.0] * up + [1.0] * down + [0.0] * (n - up - down), floors))
    ]
    for p in (at / 20 for at in range(1, 20)):
        chance = sum(
            comb(n, a) * comb(n, b) * p ** (a + b) * (1 - p) ** (2 * n - a - b) for a, b in apart
        )
        assert chance <= 0.025
        q = p * (1 - p)  # the probability that only the left, or only the right seed collapsed
        chance = sum(
            comb(n, up) * comb(n - up, down) * q ** (up + down) * (1 - 2 * q) ** (n - up - down)
            for up, down in pairs
        )
        assert chance <= 0.025
