"""The critical batch size: its value, what it leaves out, and when it is undetermined."""

import dataclasses
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscope.engine.findings.critical_batch_size import (
    Critical,
    above_linear_by,
    critical_batch_size,
    regime_at,
    regime_within,
)
from batchscope.engine.findings.critical_batch_text import figure
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration, Model
from tests.unit.engine.findings.critical_fixtures import (
    CRITICAL,
    SIZES,
    STEPS_MIN,
    TARGET,
    hyperbola,
    reached,
    swept,
    wobbled,
)
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep


def found(state: SweepState) -> Critical:
    """Return the critical batch size of a sweep that has a target."""
    told = critical_batch_size(state)
    assert told is not None
    return told


def test_it_recovers_what_was_planted() -> None:
    told = found(swept(wobbled))
    assert told.value == pytest.approx(CRITICAL, rel=0.1)
    assert told.low is not None
    assert told.high is not None
    assert told.low < CRITICAL < told.high
    assert told.steps_min == pytest.approx(STEPS_MIN, rel=0.05)
    assert told.samples_min == pytest.approx(STEPS_MIN * CRITICAL, rel=0.05)
    assert told.target == TARGET
    assert told.n == 3
    assert told.method == "t over the seeds"
    assert told.reason == ""
    assert not told.provisional
    assert not told.left_out


def test_seconds_of_a_stack_count_once_and_name_its_size() -> None:
    """Two replicates in a stack and one alone: its time does not compare."""

    def ends(size: int, seed: int) -> Ended:
        told = reached(wobbled(size, seed), size, seconds=(4.0, 4.0, 1.0)[seed])
        return dataclasses.replace(told, stacked=(2, 2, 1)[seed])

    told = found(swept(ends))
    assert {(each.stacked, each.seconds, each.n) for each in told.sizes} == {(2, 4.0, 3)}
    assert {each.stacked for each in found(swept(wobbled)).sizes} == {1}


def test_each_size_has_its_costs_and_its_regime() -> None:
    told = found(swept(wobbled))
    assert [each.batch_size for each in told.sizes] == list(SIZES)
    assert [each.regime for each in told.sizes] == [
        "perfect scaling",
        "perfect scaling",
        "diminishing returns",
        "diminishing returns",
        "maximal data parallelism",
    ]
    for each in told.sizes:
        assert each.steps == pytest.approx(hyperbola(each.batch_size), rel=0.04)
        assert each.samples == pytest.approx(each.steps * each.batch_size)
        assert each.seconds == pytest.approx(each.steps * 1e-3)
        assert each.n == 3
        assert each.lr == 0.1


def test_a_step_of_ragged_epochs_sees_fewer_samples() -> None:
    """With 100 images, a batch of 64 has 50 images a step on average; the curve is over these."""

    def half(size: int, seed: int) -> Ended:
        steps = round(wobbled(size // 2, seed))
        return reached(steps, size, samples=steps * size // 2)

    told = found(swept(half, [size * 2 for size in SIZES]))
    assert told.value == pytest.approx(found(swept(wobbled)).value)


def test_without_a_target_there_is_no_critical_batch_size() -> None:
    assert critical_batch_size(sweep([(configuration(8), [0.9, 0.9, 0.9])])) is None


def test_a_size_with_a_trial_that_missed_the_target_is_left_out_and_named() -> None:
    def lost(size: int, seed: int) -> float | Ended:
        short = reached(5000, size, TARGET - 0.01)
        return short if (size, seed) == (2048, 1) else wobbled(size, seed)

    told = found(swept(lost))
    assert [each.batch_size for each in told.sizes] == list(SIZES[:-1])
    (out,) = told.left_out
    assert out.batch_size == 2048
    assert out.reason.startswith("b2048-s1 ")
    assert "target" in out.reason
    assert told.value == pytest.approx(CRITICAL, rel=0.15)


def test_the_reason_says_how_a_trial_ended_instead() -> None:
    def lost(size: int, seed: int) -> float | Ended:
        return Ended(0.95, "diverged") if size == 8 and seed < 2 else wobbled(size, seed)

    (out,) = found(swept(lost)).left_out
    assert "b8-s0 and b8-s1" in out.reason
    assert "diverged" in out.reason


def test_many_that_ended_alike_are_counted() -> None:
    def lost(size: int, seed: int) -> float | Ended:
        return Ended(0.95, "diverged") if size == 8 else wobbled(size, seed)

    (out,) = found(swept(lost)).left_out
    assert "b8-s0 and 2 more" in out.reason
    assert "diverged" in out.reason


def test_trials_to_come_make_it_provisional() -> None:
    def some(size: int, seed: int) -> float | Ended:
        return Ended(0.95, "queued") if (size, seed) == (8, 2) else wobbled(size, seed)

    told = found(swept(some))
    assert told.provisional
    assert [each.batch_size for each in told.left_out] == [8]
    assert "not ended" in told.left_out[0].reason


def test_three_sizes_are_too_few() -> None:
    told = found(swept(wobbled, SIZES[:3]))
    assert (told.value, told.low, told.high) == (None, None, None)
    assert "3 batch sizes" in told.reason
    assert all(each.regime == "undetermined" for each in told.sizes)


def test_one_seed_is_too_few() -> None:
    told = found(swept(wobbled, seeds=1))
    assert told.value is None
    assert "seeds = 2" in told.reason


def test_what_differs_otherwise_is_not_on_one_curve() -> None:
    values: list[tuple[Configuration, list[float]]] = []
    for size in SIZES:
        for n in (5, 6):
            model = Model(name="mlp", hidden=(n,))
            each = configuration(size, id=f"{size}-{n}", target_accuracy=TARGET, model=model)
            values.append((each, []))
    told = found(sweep(values))
    assert told.value is None
    assert told.reason.startswith("the configurations differ")


def test_a_curve_that_falls_throughout_gives_a_lower_bound() -> None:
    told = found(swept(lambda size, seed: 1e6 / size * (1 + 0.02 * math.sin(size + seed))))
    assert told.value is None
    assert told.above is not None
    assert told.below is None
    assert told.high is None
    assert 512 <= told.above <= 2048
    assert "1/B" in told.reason
    assert told.sizes[0].regime == "perfect scaling"
    assert told.sizes[-1].regime == "undetermined"
    assert told.steps_min is None
    assert told.above_linear is None


def test_a_flat_curve_gives_an_upper_bound() -> None:
    told = found(swept(lambda size, seed: 2000 * (1 + 0.02 * math.sin(size + seed))))
    assert told.value is None
    assert told.below is not None
    assert told.above is None
    assert told.low is None
    assert 8 <= told.below <= 32
    assert told.sizes[-1].regime == "maximal data parallelism"


def test_a_wide_spread_over_the_seeds_gives_no_value() -> None:
    told = found(
        swept(lambda size, seed: 3000 * math.exp(2 * math.sin(5 * seed + size)), SIZES[:4])
    )
    assert told.value is None
    assert told.reason


def test_of_several_rates_the_one_with_the_fewest_steps_is_taken() -> None:
    values = []
    for size in SIZES:
        for lr, factor in ((0.01, 3.0), (0.1, 1.0), (1.0, 1.5)):
            each = configuration(size, lr=lr, id=f"b{size}-{lr}", target_accuracy=TARGET, epochs=9)
            values.append((each, [reached(factor * wobbled(size, s), size) for s in range(3)]))
    told = found(sweep(values))
    assert {each.lr for each in told.sizes} == {0.1}
    assert told.value == found(swept(wobbled)).value
    assert len(told.remarks) == 1
    assert "several learning rates" in told.remarks[0]
    slow = critical_batch_size(sweep(values), {size: f"b{size}-0.01" for size in SIZES})
    assert slow is not None
    assert {each.lr for each in slow.sizes} == {0.01}
    assert slow.remarks == ()


def test_a_rate_that_misses_the_target_does_not_remove_its_batch_size() -> None:
    values = []
    for size in SIZES:
        for lr, accuracy in ((0.1, TARGET), (3.0, 0.2)):
            each = configuration(size, lr=lr, id=f"b{size}-{lr}", target_accuracy=TARGET)
            ends = [reached(wobbled(size, seed), size, accuracy) for seed in range(3)]
            values.append((each, ends))
    told = found(sweep(values))
    assert len(told.sizes) == 5
    assert not told.left_out


def test_zhangs_is_a_fifth_over_linear_scaling_from_the_smallest() -> None:
    told = found(swept(wobbled))
    assert told.value
    assert told.steps_min
    assert told.above_linear
    critical, least = told.value, told.steps_min

    def steps(size: float) -> float:
        return least * (1 + critical / size)

    ideal = steps(8) * 8 / told.above_linear
    assert steps(told.above_linear) == pytest.approx(1.2 * ideal)
    assert told.above_linear_low is not None
    assert told.above_linear_high is not None
    assert told.above_linear_low < told.above_linear < told.above_linear_high


def test_a_target_that_is_checked_seldom_has_a_remark() -> None:
    told = found(swept(lambda size, seed: max(1, round(wobbled(size, seed) / 400))))
    assert any("target" in each and "2048" in each for each in told.remarks)


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e6))
def test_regimes_are_a_fifth_above_the_least(batch_size: float, critical: float) -> None:
    steps, samples = 1 + critical / batch_size, 1 + batch_size / critical
    regime = regime_at(batch_size, critical)
    if abs(steps - 1.2) > 1e-9 and abs(samples - 1.2) > 1e-9:
        assert (regime == "perfect scaling") == (samples <= 1.2)
        assert (regime == "maximal data parallelism") == (steps <= 1.2)


def test_a_regime_is_sure_where_the_interval_leaves_no_other() -> None:
    assert regime_within(10, 100, 60, 200) == ("perfect scaling", True)
    assert regime_within(10, 100, 40, 200) == ("perfect scaling", False)
    assert regime_within(10, None, 100, math.inf) == ("perfect scaling", True)
    assert regime_within(500, None, 100, math.inf) == ("undetermined", False)
    assert regime_within(500, None, 0, 90) == ("maximal data parallelism", True)


def test_zhangs_closed_form() -> None:
    assert above_linear_by(100, 8) == pytest.approx(0.2 * 100 + 1.2 * 8)


def test_it_is_written_with_the_names_of_the_paper() -> None:
    told = msgspec.to_builtins(found(swept(wobbled)))
    assert told["S_min"] == pytest.approx(STEPS_MIN, rel=0.05)
    assert told["E_min"] == pytest.approx(told["S_min"] * told["value"])


def test_a_count_is_rounded_once() -> None:
    shown = [figure(value) for value in (8.254, 30.96, 96.51, 204.6, 999.6, 206_912.0)]
    assert shown == ["8.25", "31", "97", "205", "1,000", "207,000"]
