"""Means with intervals, ratios to the smallest batch, and the recommendation."""

import json
import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scipy import stats

from batchscope.engine.analysis import tables
from batchscope.engine.analysis.ratio_estimate import ratio_limits
from batchscope.engine.export import bundle
from batchscope.engine.findings import findings
from batchscope.engine.findings.claim_verdicts import Verdict
from batchscope.engine.findings.comparison_sides import Side
from batchscope.engine.findings.configuration_summary import (
    bars,
    figures,
    left_out_text,
    mean_of,
)
from batchscope.engine.findings.recommendation import (
    UNDETERMINED,
    non_inferior,
    recommendation,
    recommended,
)
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.bias_variance import ErrorDecomposition
from batchscope.engine.metrics.registry import (
    MEASURES,
    NAMED,
    PROBED,
    TRIAL,
    TRIAL_COLUMNS,
    value_of,
)
from batchscope.engine.metrics.rounding_variance import rounding_variance
from batchscope.engine.spec import Judging
from batchscope.tui.headless.summary import findings_text
from batchscope.tui.viewmodel import status_signs
from tests.unit.engine.findings_fixtures import (
    TEST_SIZE,
    Ended,
    comparison,
    configuration,
    sweep,
    trend,
)

DIVERGED = Ended(status="diverged")


def noisy(trace: float, signal: float) -> Ended:
    """A trial that measured tr(Σ) and |G|² once."""
    return Ended(figures={"noise_trace": trace, "noise_signal": signal, "noise_draws": 1})


def timed(accuracy: float, seconds: float) -> Ended:
    return Ended(accuracy, figures={"seconds": seconds})


def three_sizes() -> SweepState:
    return sweep(
        [
            (configuration(64), [timed(0.90, 1.0), timed(0.92, 1.0), timed(0.91, 1.0)]),
            (configuration(8), [timed(0.95, 4.0), timed(0.96, 4.0), timed(0.97, 4.0)]),
            (configuration(16), [timed(0.95, 2.0), DIVERGED, timed(0.93, 3.0)]),
        ],
        trend("decreasing"),
        comparison("less"),
    )


# ---- measures


def test_every_numeric_column_of_the_trials_is_a_measure_and_no_other() -> None:
    state = three_sizes()
    for column in TRIAL_COLUMNS:
        for row in tables.trial_rows(state):
            if isinstance(row.get(column), str):
                assert column not in MEASURES
    assert {name for name in TRIAL_COLUMNS if not TRIAL[name].text} < set(MEASURES)
    for trial in state.trials.values():
        row = tables.trial_row(state, trial)
        for measure in MEASURES:
            if measure in row:
                assert value_of(state, trial, measure) == row[measure]


def test_named_findings_by_hand() -> None:
    slices = tuple(ev.NormSlice(at, 2, mean, 0.0, 201, (2,)) for at, mean in ((0, 1.0), (2, 3.0)))
    state = sweep([(configuration(8), [Ended(figures={"norms": slices, "seconds": 5.0})])])
    trial = state.trials["b8-s0"]
    assert value_of(state, trial, "step_seconds") == 0.5
    assert value_of(state, trial, "training_seconds") == 5
    assert value_of(state, trial, "weight_norm") == 3
    assert value_of(state, trial, "grad_norm_mean") == 2
    cv = value_of(state, trial, "grad_norm_cv")
    assert cv == pytest.approx(float(np.std([1, 1, 3, 3], ddof=1)) / 2)
    assert all(value_of(state, state.trials["b8-s1"], name) is None for name in NAMED)


def test_figures_that_come_in_steps_say_how_coarse_they_are() -> None:
    state = sweep([(configuration(8, target_accuracy=0.9), [0.9]), (configuration(64), [0.9])])
    to_target, plain = state.trials["b8-s0"], state.trials["b64-s0"]
    image = 1 / TEST_SIZE**2 / 4
    for trial, measure, variance in (
        (plain, "test_accuracy", image),
        (plain, "generalization_gap", 2 * image),
        (plain, "test_loss", 0),
        (plain, "steps", 0),
        (plain, "epoch_seconds", 0),
        (plain, "training_seconds", 0),
        (to_target, "epochs", 1 / 4),
        (to_target, "steps", 100 / 4),
        (to_target, "samples", 80**2 / 4),
    ):
        assert rounding_variance(state, trial, measure, 5.0) == pytest.approx(variance)


def test_norms_distances_and_probes_are_rounded_as_float32_is() -> None:
    state = sweep([(configuration(8), [0.9])])
    rounded = {
        measure
        for measure in MEASURES
        if rounding_variance(state, state.trials["b8-s0"], measure, -5.0)
        == pytest.approx(25e-12, rel=1e-9, abs=0)
    }
    assert rounded == {"init_norm", "distance_from_init", "path_length", "sharpness"} | (
        {*NAMED, *PROBED}
        - {"step_seconds", "training_seconds", "collapsed"}
        - {*ErrorDecomposition._fields}
    )


# ---- figures


def test_means_have_intervals_over_finished_seeds() -> None:
    found = mean_of(three_sizes(), "b8", "test_accuracy")
    assert found is not None
    values = [0.95, 0.96, 0.97]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((0.96, low, high, 3))
    one = mean_of(sweep([(configuration(8), [0.9, DIVERGED])]), "b8", "test_accuracy")
    assert one is not None
    assert (one.mean, one.low, one.high, one.n) == (0.9, None, None, 1)
    assert mean_of(sweep([(configuration(8), [DIVERGED])]), "b8", "test_accuracy") is None


def test_a_mean_says_how_many_finished_seeds_it_leaves_out() -> None:
    aims = configuration(8, seeds=5, target_accuracy=0.85)
    ends: list[float | Ended] = [0.9, 0.8, 0.9, DIVERGED, 0.7]
    found = mean_of(sweep([(aims, ends)]), "b8", "steps_to_target")
    assert found is not None
    assert (found.n, found.without_value) == (2, 2)
    assert left_out_text({"b8": found}, {"b8": "8"}) == "8: 2 without a value"
    whole = mean_of(three_sizes(), "b8", "test_accuracy")
    assert whole is not None
    assert whole.without_value == 0


def test_a_mean_noise_scale_is_the_ratio_of_means_of_all_seeds() -> None:
    """Two of five seeds have no noise scale of their own; the mean of the others would be 20."""
    pairs = [(2.0, 0.1), (2.1, 0.105), (1.9, 0.095), (2.2, -0.02), (1.8, -0.01)]
    state = sweep([(configuration(8, seeds=5), [noisy(*pair) for pair in pairs])])
    found = mean_of(state, "b8", "noise_scale")
    assert found is not None
    assert found.mean == pytest.approx(10.0 / 0.27)
    assert (found.n, found.without_value) == (5, 2)
    low, high = ratio_limits(pairs, 0.05)
    assert found.low == pytest.approx(low)
    assert math.isinf(high)
    assert found.high is None


def test_bars_are_measured_in_the_smallest_batch() -> None:
    found = bars(three_sizes(), "epoch_seconds")
    assert {name: mean.normalized for name, mean in found.items()} == {
        "b8": 1.0,
        "b16": 2.5 / 4,
        "b64": 0.25,
    }
    zero = sweep([(configuration(8), [Ended(figures={"distance_from_init": 0.0})] * 3)])
    assert bars(zero, "distance_from_init")["b8"].normalized is None


def test_times_have_ratios_and_say_whether_other_trials_ran() -> None:
    large_one, small_one = (configuration(size, timing="alone") for size in (64, 8))
    state = sweep([(large_one, [timed(0.9, 1.0)]), (small_one, [timed(0.9, 4.0)])])
    small, large = figures(state)
    assert (small.timing, large.timing) == ("alone", "alone")
    assert (small.ratios, large.ratios["epoch_seconds"]) == ({}, 4.0)
    assert large.ratios["step_seconds"] == pytest.approx((4.0 / 10) / (1.0 / 2))
    assert (large.seeds, large.finished, large.excluded) == (3, 1, 0)


def test_two_of_one_size_are_both_compared_with_the_next_smaller() -> None:
    twin = configuration(64, lr=0.2, id="b64-lr0.2")
    values = [
        (configuration(8), [timed(0.9, 8.0)]),
        (configuration(64), [timed(0.9, 4.0)]),
        (twin, [timed(0.9, 2.0)]),
    ]
    assert [of.ratios.get("epoch_seconds") for of in figures(sweep(values))] == [None, 2.0, 4.0]


def test_a_measure_is_only_compared_with_its_kin() -> None:
    """Two optimizers: each is measured in its own smallest batch."""
    adam = [
        configuration(size, optimizer="adam", id=f"a{size}", label=f"a{size}") for size in (16, 64)
    ]
    state = sweep(
        [
            (configuration(8), [timed(0.9, 8.0)]),
            (configuration(64), [timed(0.9, 4.0)]),
            (adam[0], [timed(0.9, 6.0)]),
            (adam[1], [timed(0.9, 3.0)]),
        ]
    )
    found = {each.configuration: each for each in figures(state)}
    assert list(found) == ["b8", "a16", "b64", "a64"]
    ratios = [each.ratios.get("epoch_seconds") for each in found.values()]
    assert ratios == [None, None, 2.0, 2.0]
    normalized = [each.figures["epoch_seconds"].normalized for each in found.values()]
    assert normalized == [1.0, 1.0, 0.5, 0.5]


def test_without_the_smallest_batch_nothing_is_measured_in_it() -> None:
    values = [
        (configuration(8), [DIVERGED] * 3),
        (configuration(16), [timed(0.9, 4.0)]),
        (configuration(64), [timed(0.9, 2.0)]),
    ]
    found = figures(sweep(values))[1:]
    assert [of.figures["epoch_seconds"].normalized for of in found] == [None, None]
    assert [of.ratios.get("epoch_seconds") for of in found] == [None, 2.0]


def test_a_twin_of_the_smallest_batch_may_stand_in_for_it() -> None:
    values = [
        (configuration(8), [DIVERGED] * 3),
        (configuration(8, lr=0.01, id="cool"), [timed(0.9, 4.0)]),
        (configuration(64), [timed(0.9, 2.0)]),
    ]
    found = bars(sweep(values), "epoch_seconds")
    assert {name: mean.normalized for name, mean in found.items()} == {"cool": 1.0, "b64": 0.5}


def test_nothing_is_measured_in_what_may_be_zero() -> None:
    def gaps(*values: float) -> list[Ended]:
        return [Ended(0.9, figures={"train_accuracy": 0.9 + value}) for value in values]

    large = (configuration(64), gaps(0.05, 0.051, 0.052))
    vague = sweep([(configuration(8), gaps(0.004, -0.003, 0.002)), large])
    assert [each.normalized for each in bars(vague, "generalization_gap").values()] == [None, None]
    clear = sweep([(configuration(8), gaps(0.010, 0.011, 0.012)), large])
    assert bars(clear, "generalization_gap")["b64"].normalized == pytest.approx(0.051 / 0.011)


# ---- the recommendation


def test_the_best_is_recommended_if_it_differs_significantly_from_all() -> None:
    state = sweep(
        [
            (configuration(8), [timed(0.95, 4.0), timed(0.96, 4.0), timed(0.97, 4.0)]),
            (configuration(64), [timed(0.90, 1.0), timed(0.92, 1.0), timed(0.91, 1.0)]),
        ]
    )
    low, high = stats.t.interval(0.95, 2, 0.96, stats.sem([0.95, 0.96, 0.97]))
    found = recommended(state)
    assert found.configuration == state.configurations["b8"]
    assert found.sentence.startswith("Use batch size 8: ")
    for word in (f"96.00 % [{low * 100:.2f}, {high * 100:.2f}]", "3 seeds", "4 s"):
        assert word in found.sentence


def test_of_several_that_hold_the_fastest_is_recommended() -> None:
    state = sweep(
        [
            (configuration(8), [timed(0.951, 4.0), timed(0.952, 4.0), timed(0.953, 4.0)]),
            (configuration(16), [timed(0.950, 2.0), timed(0.951, 2.0), timed(0.952, 2.0)]),
            (configuration(64), [timed(0.50, 1.0), timed(0.51, 1.0), timed(0.52, 1.0)]),
        ]
    )
    found = recommended(state)
    assert found.configuration == state.configurations["b16"]
    shortest = "shortest mean training time"
    for word in ("Use batch size 16", "0.5 points", shortest, "8 and 16", "2 s"):
        assert word in found.sentence


def test_what_is_only_not_told_apart_is_not_recommended() -> None:
    """Means half a point apart with a spread of one point show nothing."""
    values = [
        (configuration(8), [0.95, 0.96, 0.97]),
        (configuration(16), [0.96, 0.94, 0.97]),
    ]
    found = recommended(sweep(values))
    assert found.configuration is None
    assert found.sentence.startswith(UNDETERMINED)
    for word in ("0.5 points", "95.67 to 96.00 %", "3 seeds"):
        assert word in found.sentence


NO_RESULTS = "No results: "
NONE_YET = f"So far, {UNDETERMINED[0].lower()}{UNDETERMINED[1:]}: "


@pytest.mark.parametrize(
    ("values", "start", "words"),
    [
        ([(8, []), (64, [])], NONE_YET, ["no configuration has 3 finished seeds"]),
        ([(8, [0.9, 0.8, 0.7])], UNDETERMINED, ["only batch size 8"]),
        ([(8, [DIVERGED] * 3)], NO_RESULTS, ["all 3 trials diverged", "smaller learning rate"]),
        ([(8, [0.9, 0.91, 0.92]), (64, [0.5, 0.51, 0.53])], "Use batch size 8: ", ["91.00 %"]),
        ([(8, [0.9, 0.91, 0.92]), (64, [0.5, 0.51])], NONE_YET, ["only batch size 8"]),
        ([(8, [0.9, 0.91]), (64, [0.5, 0.51])], NONE_YET, ["no configuration has 3"]),
    ],
)
def test_a_recommendation_says_when_there_is_none(
    values: list[Any], start: str, words: list[str]
) -> None:
    found = recommended(sweep([(configuration(size), ends) for size, ends in values]))
    assert found.sentence.startswith(start)
    assert all(word in found.sentence for word in words)
    assert (found.configuration is not None) == found.sentence.startswith("Use ")


def test_what_lost_a_seed_is_neither_recommended_nor_compared() -> None:
    """Where 1024 survives it is the best by far."""
    lucky = [0.95, 0.951, DIVERGED, DIVERGED, Ended(status="failed")]
    values: list[tuple[Any, list[Any]]] = [
        (configuration(8, seeds=5), [0.90, 0.901, 0.902, 0.903, 0.904]),
        (configuration(1024, seeds=5), lucky),
    ]
    lost = "1024 is left out: 3 of its 5 trials"
    found = recommended(sweep(values))
    assert found.configuration is None
    assert found.sentence.startswith(f"{UNDETERMINED}: only batch size 8 ")
    assert lost in found.sentence
    values.append((configuration(16, seeds=5), [0.80, 0.801, 0.802, 0.803, 0.804]))
    found = recommended(sweep(values))
    assert found.configuration == values[0][0]
    assert found.sentence.startswith("Use batch size 8: ")
    assert lost in found.sentence
    values.append((configuration(2048, seeds=5), [0.7, DIVERGED]))
    sentence = recommendation(sweep(values))
    assert sentence.startswith("So far: use batch size 8: ")
    assert "1024 and 2048 are left out: 4 of their 10 trials" in sentence


def test_configurations_left_out_are_counted() -> None:
    values: list[tuple[Any, list[Any]]] = [
        (configuration(8), [0.95, 0.96, 0.97]),
        (configuration(16), [0.96, 0.94, 0.97]),
        *((configuration(size), [DIVERGED] * 3) for size in range(32, 39)),
    ]
    found = recommended(sweep(values))
    assert found.sentence.startswith(UNDETERMINED)
    assert "7 configurations are left out: all 21 of their trials" in found.sentence


@pytest.mark.parametrize(("target", "named"), [(None, False), (0.99, True)])
def test_none_is_the_fastest_where_all_train_equally_long(
    target: float | None, named: bool
) -> None:
    budget: dict[str, Any] = {"epochs": None, "seconds": 2.0, "target_accuracy": target}
    values = [
        (configuration(8, **budget), [0.951, 0.952, 0.953]),
        (configuration(16, **budget), [0.951, 0.952, 0.953]),
    ]
    found = recommended(sweep(values))
    assert found.sentence.startswith("Use")
    assert ("shortest mean training time" in found.sentence) == named
    assert ("ends when it reaches its target" in found.sentence) == named


MARGIN = 0.005


@pytest.mark.parametrize("n", [3, 5])
def test_a_size_worse_by_the_margin_is_seldom_recommended(n: int) -> None:
    """One size is best, and six are worse by exactly the margin: the hardest case."""
    random = np.random.default_rng([5, n])
    wrong, rounds = 0, 2000
    for _ in range(rounds):
        luck = random.normal(0, 0.003, n)
        means = [0.98, *[0.98 - MARGIN] * 6]
        sides = [_side(mean + luck + random.normal(0, 0.002, n)) for mean in means]
        wrong += any(non_inferior(sides, MARGIN)[1:])
    assert wrong / rounds <= 0.065


@pytest.mark.parametrize(("spread", "n", "share"), [(0.001, 5, 0.9), (0.002, 10, 0.9)])
def test_sizes_that_are_alike_are_found_to_be(spread: float, n: int, share: float) -> None:
    random = np.random.default_rng([6, n])
    found, rounds = 0, 200
    for _ in range(rounds):
        sides = [_side(0.98 + random.normal(0, spread, n)) for _ in range(3)]
        found += any(non_inferior(sides, MARGIN))
    assert found / rounds >= share


def test_the_margin_is_a_setting() -> None:
    values = [
        (configuration(8, seeds=5), [0.95, 0.951, 0.952, 0.953, 0.954]),
        (configuration(64, seeds=5), [0.960, 0.962, 0.961, 0.962, 0.963]),
    ]
    state = sweep(values)
    assert recommended(state).configuration == values[1][0]
    assert state.opened is not None
    state.opened = replace(state.opened, judging=Judging(within=0.02))
    found = recommended(state)
    assert "2 points" in found.sentence
    assert "8 and 64" in found.sentence


def _side(values: Any) -> Side:
    found = {seed: float(value) for seed, value in enumerate(values)}
    size = len(found)
    return Side("x", "m", found, size, size, frozenset(), 0, frozenset({b""}), 0.0)


# ---- what is written and said


def test_the_document_has_the_contract_and_the_same_bytes_every_time() -> None:
    state = three_sizes()
    text = bundle._json(findings.document(state))
    assert text == bundle._json(findings.document(three_sizes()))
    found = json.loads(text)
    held = ["complete", "claims", "judging", "findings", "recommendation", "pareto", "noise_scale"]
    assert list(found) == held
    assert found["complete"] is True
    for claim in found["claims"]:
        assert list(claim)[:2] == ["statement", "verdict"]
        assert {"effect", "low", "high", "level", "n"} < set(claim)
    sizes = [each["batch_size"] for each in found["findings"]["configurations"]]
    assert sizes == [8, 16, 64]
    assert found["recommendation"].startswith(recommendation(state))


def test_an_empty_sweep_has_findings_too() -> None:
    assert findings.document(SweepState()) == {
        "complete": False,
        "claims": [],
        "judging": "",
        "findings": {"configurations": []},
        "recommendation": "",
    }
    assert findings_text(findings.find(SweepState())) == []


def test_the_summary_names_verdicts_with_their_marks() -> None:
    lines = findings_text(findings.find(three_sizes()))
    assert lines[1] == "? decreasing over train.batch_size"
    assert lines[2].startswith("  undetermined  −5.00 points [−")
    assert "batch_size 16: trials diverged" in lines[2]
    assert lines[2].endswith("1 trial that diverged or failed is left out")
    assert lines[3] == "✗ 8 is less to 64"
    assert lines[4].startswith("  contradicted  +5.00 points [+")
    assert "n=3  p = 0." in lines[4]
    assert lines[6].startswith("2 claims, judged together (Holm): ")
    assert lines[-1].startswith("Use batch size 8: ")
    for word in (
        "16 is left out: 1 of its 3 trials",
        "sgd at a learning rate of 0.1",
        "10 steps and 80 samples",
    ):
        assert word in lines[-1]


@pytest.mark.parametrize(
    ("measure", "effect", "shown"),
    [
        ("test_accuracy", -0.019, "−1.90 points"),
        ("generalization_gap", 0.0004, "+0.04 points"),
        ("epoch_seconds", -0.0159, "−15.9 ms"),
        ("epoch_seconds", 3.25, "+3.25 s"),
        ("peak_memory_bytes", 2.0**21, "+2.00 MiB"),
        ("distance_from_init", -5.05, "−5.05"),
        ("steps", 0.0, "0.00"),
    ],
)
def test_effects_have_the_units_that_a_person_reads(
    measure: str, effect: float, shown: str
) -> None:
    verdict = Verdict(statement="s", measure=measure, effect=effect, low=effect, high=effect, n=4)
    text = status_signs.effect_text(verdict)
    assert text.startswith(f"{shown} [")
    assert text.endswith("], n=4")
    assert math.isfinite(effect)
