"""Claims against a number, and trends within one training."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchscope.engine.errors import UsageProblem
from batchscope.engine.findings.comparison_sides import Side, above
from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.metrics.probe_values import PAIRS, SIZES
from batchscope.engine.spec import Claim, Configuration, Probe
from tests.unit.engine.claims_fixtures import PAIR, TREND, parsed, without
from tests.unit.engine.findings_fixtures import (
    TRAIN_SIZE,
    Ended,
    competition,
    configuration,
    draws,
    sweep,
    trend,
    verdict,
)

DIVERGED = Ended(status="diverged")
NUMBER = without(PAIR, "right", value=0.98)
PROBE = {"at": [0, 1], "batch_sizes": [1, 8], "pairs": [[1, 8], [4, 16]]}
OVER_SIZES = without(TREND, over="probe.batch_sizes", measure="probe_norm_cv")
OVER_PAIRS = without(TREND, over="pairs", measure="competition_cosine")
AT_START = without(NUMBER, measure="pairwise_cosine", at_share=0)


# ---- reading


def test_a_number_stands_for_the_right_side() -> None:
    (claim,) = parsed(NUMBER).claims
    assert (claim.value, claim.right) == (0.98, None)
    (claim,) = parsed(without(NUMBER, "left", measure="steps", value=100)).claims
    assert (claim.value, claim.left) == (100.0, None)
    assert isinstance(claim.value, float)
    opened = ev.SweepOpened(
        id="s", preset="p", title="t", question="", source="", configurations=(), claims=(claim,)
    )
    assert journal.decode(journal.encode(opened)) == opened


def test_trends_within_a_training_are_read() -> None:
    claims = parsed(OVER_SIZES, OVER_PAIRS, AT_START, probe=PROBE).claims
    assert [claim.over for claim in claims] == [SIZES, PAIRS, None]
    assert [claim.at_share for claim in claims] == [None, None, 0.0]


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (
            without(PAIR, value=0.9),
            "claims[0]: right and value exclude each other: left is compared with other "
            "configurations, or with a number",
        ),
        (
            without(PAIR, "right"),
            "claims[0].right: required, or value instead of it: a number to compare with",
        ),
        (without(PAIR, "left"), "claims[0].left: required"),
        (
            without(TREND, value=0.9),
            "claims[0]: trend and value exclude each other: a claim is a trend over a setting, or "
            "left in a relation to right or to a value",
        ),
        (without(NUMBER, "relation"), "claims[0].relation: required"),
        (without(NUMBER, value="0.9"), "claims[0].value: expected a number, got '0.9'"),
        (without(NUMBER, value=True), "claims[0].value: expected a number, got True"),
        (without(NUMBER, value=float("nan")), "claims[0].value: expected a finite number, got nan"),
        (without(NUMBER, value=10**400), "claims[0].value: expected a number, got 1000"),
        (
            without(NUMBER, value=99.8),
            "claims[0].value: test_accuracy is a fraction: 0.998 for 99.8 %, got 99.8",
        ),
        (without(NUMBER, value=1e9), "claims[0].value: test_accuracy is a fraction, got 1000"),
        (
            without(NUMBER, left={}),
            "claims[0].left: expected ",
        ),
        (
            without(NUMBER, relation="equal"),
            "claims[0].within: required by",
        ),
        (
            without(NUMBER, valeu=1),
            "claims[0]: unknown key 'valeu'; did you mean 'value'?",
        ),
        (
            without(OVER_SIZES, measure="probe_norms_cv"),
            "claims[0].measure: unknown measure 'probe_norms_cv'; did you mean 'probe_norm_cv'?",
        ),
        (
            without(OVER_SIZES, measure="grad_norm_cv"),
            "claims[0].measure: 'grad_norm_cv' has no value for each of probe.batch_sizes; "
            "did you mean 'probe_norm_cv'?",
        ),
        (
            without(OVER_SIZES, measure="test_accuracy"),
            "claims[0].measure: 'test_accuracy' has no value for each of probe.batch_sizes; "
            "known: probe_norm_mean, probe_norm_cv, probe_kurtosis, pairwise_cosine",
        ),
        (
            without(OVER_PAIRS, measure="pairwise_cosine"),
            "claims[0].measure: 'pairwise_cosine' has no value for each of probe.pairs",
        ),
        (without(OVER_SIZES, left={"lr": 0.1}), "claims[0]: trend and left exclude each other"),
        (
            without(AT_START, at_share=0.5),
            "claims[0].at_share: nothing is measured at 0.5; probe.at has 0, 1",
        ),
        (
            without(AT_START, at_share=2),
            "claims[0].at_share: expected a number (at least 0 and at most 1), got 2",
        ),
        (
            without(NUMBER, at_share=0),
            "claims[0].at_share: belongs to measures of the probe",
        ),
    ],
)
def test_each_mistake_is_one_sentence(claim: Any, message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(claim, probe=PROBE)
    assert str(caught.value).startswith(f"x.toml: {message}")


@pytest.mark.parametrize(
    ("claim", "probe", "message"),
    [
        (OVER_SIZES, {}, "over: no configuration has both probe.at and probe.batch_sizes"),
        (OVER_PAIRS, {"at": [1]}, "over: no configuration has both probe.at and probe.pairs"),
        (
            without(NUMBER, measure="probe_kurtosis"),
            {},
            "measure: probe_kurtosis needs probe.at, which no configuration has",
        ),
        (
            without(NUMBER, measure="competition_cosine"),
            {"at": [1]},
            "measure: competition_cosine needs probe.at and probe.pairs, which no configuration",
        ),
        (
            OVER_PAIRS,
            {"at": [1], "pairs": [[1, 8], [4, 8]]},
            "over: a trend over probe.pairs",
        ),
    ],
)
def test_what_is_not_probed_cannot_be_claimed(claim: Any, probe: Any, message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(claim, probe=probe)
    assert str(caught.value).startswith(f"x.toml: claims[0].{message}")


# ---- against a number

B8, B64 = configuration(8), configuration(64)


def number(value: float, relation: Any = "greater", **keys: Any) -> Claim:
    keys = {"measure": "test_accuracy", "left": {"train.batch_size": 8}, **keys}
    return Claim(statement="s", relation=relation, value=value, **keys)


@pytest.mark.parametrize(
    ("value", "relation", "expected"),
    [
        (0.90, "greater", "supported"),
        (0.90, "less", "contradicted"),
        (0.99, "less", "supported"),
        (0.961, "greater", "undetermined"),
    ],
)
def test_a_mean_against_a_number_agrees_with_scipy(
    value: float, relation: str, expected: str
) -> None:
    values = [0.95, 0.96, 0.97]
    found = verdict(sweep([(B8, values), (B64, [0.1] * 3)], number(value, relation)))
    low, high = stats.ttest_1samp(values, value).confidence_interval(0.95)
    assert found.verdict == expected
    assert found.effect == pytest.approx(0.96 - value)
    assert (found.low, found.high) == pytest.approx((low - value, high - value))
    assert (found.n, found.method, found.level) == (3, "one-sample t", 0.05)


@pytest.mark.parametrize(
    ("value", "within", "expected"),
    [(0.955, 0.03, "supported"), (0.955, 0.006, "undetermined"), (0.9, 0.01, "contradicted")],
)
def test_equality_with_a_number_is_two_one_sided_tests(
    value: float, within: float, expected: str
) -> None:
    values = [0.95, 0.96, 0.97]
    found = verdict(sweep([(B8, values)], number(value, "equal", within=within)))
    above_it = stats.ttest_1samp(values, value + within, alternative="less").pvalue
    below_it = stats.ttest_1samp(values, value - within, alternative="greater").pvalue
    assert found.verdict == expected
    assert (found.verdict == "supported") == (max(above_it, below_it) < 0.05)


def test_without_a_left_side_all_configurations_are_averaged_seed_by_seed() -> None:
    state = sweep([(B8, [0.5, 0.6, 0.7]), (B64, [0.7, 0.6, DIVERGED])], number(0.5, left=None))
    found = verdict(state)
    assert found.effect == pytest.approx(0.1)
    assert (found.n, found.excluded) == (2, 1)
    waiting = verdict(sweep([(B8, [0.5]), (B64, [])], number(0.5, left=None)))
    assert waiting.reason.startswith("all configurations: 0 of 3 seeds")
    assert (waiting.provisional, waiting.method, waiting.effect) == (True, "", None)


def test_an_average_without_one_that_was_skipped_is_not_judged() -> None:
    skipped = [Ended(status="skipped")] * 3
    found = verdict(sweep([(B8, [0.95, 0.96, 0.97]), (B64, skipped)], number(0.9, left=None)))
    assert (found.verdict, found.n, found.excluded) == ("undetermined", 0, 0)
    assert "64 was skipped" in found.reason


def test_seeds_that_agree_with_the_number_are_undetermined() -> None:
    found = verdict(sweep([(B8, [0.9] * 3)], number(0.9)))
    assert (found.verdict, found.effect) == ("undetermined", 0)


def test_one_image_more_in_both_seeds_proves_nothing() -> None:
    """One of 1,000 test images; rounding alone has a variance of step² ÷ 4."""
    found = verdict(sweep([(B8, [0.901, 0.901])], number(0.9)))
    assert found.verdict == "undetermined"
    assert found.high is not None
    half = float(stats.t.ppf(0.975, 1)) * 0.001 / 2 / np.sqrt(2)
    assert found.high == pytest.approx(0.001 + half)


def test_what_rounding_leaves_is_no_effect() -> None:
    values = dict(enumerate([0.1 + 0.2] * 4))
    found = above(Side("x", "m", values, 4, 4, frozenset(), 0, frozenset(), 0.0), 0.3)
    assert found is not None
    assert (found.effect, found.error) == (0, 0)


def test_one_seed_is_too_few_for_a_number_too() -> None:
    found = verdict(sweep([(configuration(8, seeds=1), [0.9])], number(0.5)))
    assert "one seed has no spread" in found.reason


# ---- within one training

SIZED = Probe(at=(0.0, 1.0), batch_sizes=(1, 8, 64))
PAIRED = Probe(at=(1.0,), pairs=((1, 4), (1, 16)))


def drawn(*means: float, sizes: Sequence[int] = (1, 8, 64)) -> Ended:
    """Norms at the last moment; the first moment has others."""
    last = [draws(size, mean) for size, mean in zip(sizes, means, strict=True)]
    return Ended(probes={0.0: [draws(size, 50.0 - size) for size in sizes], 1.0: last})


def held(*cosines: float) -> Ended:
    found = [competition(1, large, c) for large, c in zip((4, 16), cosines, strict=True)]
    return Ended(probes={1.0: found})


def over(kind: str, way: Any, measure: str, at_share: float | None = None) -> Claim:
    return Claim(statement="s", measure=measure, trend=way, over=kind, at_share=at_share)


FALL = [[5.0, 2.0, 1.0], [5.5, 2.4, 1.1], [5.2, 2.1, 1.4]]


def test_probed_batch_sizes_are_levels_at_the_same_weights() -> None:
    state = sweep(
        [(configuration(8, probe=SIZED), [drawn(*means) for means in FALL])],
        over(SIZES, "decreasing", "probe_norm_mean"),
    )
    first, *_, last = zip(*FALL, strict=True)
    low, high = stats.ttest_rel(last, first).confidence_interval(0.95)
    changes = np.subtract(last, first)
    skewness = float(stats.skew(changes, bias=False)) / math.sqrt(3)
    low -= (changes.mean() - low) * 1.85 * max(0, -skewness)
    high += (high - changes.mean()) * 1.85 * max(0, skewness)
    found = verdict(state)
    assert (found.verdict, found.method, found.n) == ("supported", "paired t", 3)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_another_moment_can_be_asked_for() -> None:
    state = sweep(
        [(configuration(8, probe=SIZED), [drawn(*means) for means in FALL])],
        over(SIZES, "decreasing", "probe_norm_mean", 0.0),
    )
    assert verdict(state).effect == pytest.approx(-63)


def test_pairs_are_levels_by_their_large_batch() -> None:
    state = sweep(
        [(configuration(8, probe=PAIRED), [held(0.9, 0.5), held(0.92, 0.55), held(0.91, 0.5)])],
        over(PAIRS, "increasing", "competition_cosine"),
    )
    assert verdict(state).verdict == "contradicted"
    assert verdict(state).effect == pytest.approx(np.mean([0.5, 0.55, 0.5]) - 0.91)


def test_probed_configurations_are_averaged_and_lost_trials_counted_once() -> None:
    twin = configuration(64, probe=SIZED)
    state = sweep(
        [
            (configuration(8, probe=SIZED), [drawn(5, 2, 1), drawn(6, 2, 1), DIVERGED]),
            (twin, [drawn(7, 2, 3), drawn(7, 2, 2), drawn(0, 0, 9)]),
            (configuration(32, probe=SIZED), [DIVERGED] * 3),
            (configuration(16), [0.9] * 3),
        ],
        over(SIZES, "decreasing", "probe_norm_mean"),
    )
    found = verdict(state)
    assert found.effect == pytest.approx(np.mean([1 + 3 - 5 - 7, 1 + 2 - 6 - 7]) / 2)
    assert (found.n, found.excluded) == (2, 4)
    assert "every trial of batch size 32 diverged" in found.reason


def test_configurations_probed_at_other_levels_are_left_out_with_a_remark() -> None:
    fewer = configuration(64, probe=Probe(at=(1.0,), batch_sizes=(1, 8)))
    state = sweep(
        [
            (configuration(8, probe=SIZED), [drawn(*means) for means in FALL]),
            (fewer, [drawn(9.0, 99.0, sizes=(1, 8))] * 3),
        ],
        over(SIZES, "decreasing", "probe_norm_mean"),
    )
    assert verdict(state).verdict == "supported"
    assert verdict(state).reason.startswith("1 configuration probed at other levels")


def test_no_more_images_are_drawn_than_there_are() -> None:
    large = Probe(at=(1.0,), batch_sizes=(1, 4096))
    ends = [drawn(a, b, sizes=(1, TRAIN_SIZE)) for a, b in ((5.0, 1.0), (6.0, 1.1))]
    values = [(configuration(8, probe=large, seeds=2), ends)]
    found = verdict(sweep(values, over(SIZES, "decreasing", "probe_norm_mean")))
    assert found.effect == pytest.approx(-4.45)


@pytest.mark.parametrize(
    ("probe", "ends", "reason"),
    [
        (Probe(at=(1.0,), batch_sizes=(8,)), [], ["probed batch size has only one level"]),
        (SIZED, [drawn(1, 2, 3)], ["probed batch size 1: 1 of 3 seeds"]),
        (SIZED, [0.9] * 3, [f"probed batch size {size}: no seed" for size in (1, 8, 64)]),
    ],
)
def test_what_cannot_be_judged_is_undetermined(
    probe: Probe, ends: list[Any], reason: list[str]
) -> None:
    values: list[tuple[Configuration, list[Any]]] = [(configuration(8, probe=probe), ends)]
    found = verdict(sweep(values, over(SIZES, "decreasing", "probe_norm_mean")))
    assert found.verdict == "undetermined"
    assert all(each in found.reason for each in reason)


def test_a_pair_larger_than_the_data_leaves_no_level() -> None:
    huge = Probe(at=(1.0,), pairs=((1, 4096),))
    found = verdict(
        sweep(
            [(configuration(8, probe=huge), [0.9] * 3)],
            over(PAIRS, "increasing", "competition_cosine"),
        )
    )
    assert found.reason.startswith("large batch size has no level")


def test_a_step_back_names_the_sizes() -> None:
    back = [[5.0, 1.0, 2.0], [5.5, 1.1, 2.2], [5.2, 1.05, 2.15]]
    state = sweep(
        [(configuration(8, probe=SIZED), [drawn(*means) for means in back])],
        over(SIZES, "decreasing", "probe_norm_mean"),
    )
    assert "from probed batch size 8 to 64" in verdict(state).reason


@pytest.mark.parametrize("key", ["batch_size", "lr"])
def test_at_a_trials_own_batch_size_trainings_are_compared(key: str) -> None:
    """The probe of the second has other norms at the size of the first."""
    second = {"batch_size": 64, "lr": 0.1} if key == "batch_size" else {"batch_size": 8, "lr": 0.2}
    size, lr = int(second["batch_size"]), second["lr"]
    other = configuration(size, lr=lr, id="other", probe=SIZED)
    own = {8: (9.0, 1.5, 9.0), 64: (9.0, 9.0, 1.5)}[size]
    first = [drawn(9, 2 + at, 1) for at in range(3)]
    state = sweep(
        [(configuration(8, probe=SIZED), first), (other, [drawn(*own)] * 3)],
        trend("decreasing", "probe_norm_mean", f"train.{key}"),
    )
    assert verdict(state).effect == pytest.approx(1.5 - 3)
