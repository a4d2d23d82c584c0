"""Claims: how they are read, how they are judged, and how seldom they are supported by chance."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from engine import events as ev
from engine import journal
from engine.catalog import find_preset
from engine.findings.claims import Verdict, climb, direction, equality, judge, steps_of
from engine.findings.sides import Side, difference
from engine.findings.statistics import Estimate
from engine.problems import UsageProblem
from engine.reading import Preset, parse_preset
from engine.selecting import ladder
from engine.spec import Claim, Model
from engine.state import SweepState
from tests.unit.findings_fixtures import Ended, comparison, configuration, sweep, trend

DIVERGED, FAILED = Ended(status="diverged"), Ended(status="failed")
QUEUED = Ended(status="queued")


def verdict(state: SweepState) -> Verdict:
    (only,) = judge(state)
    return only


# ---- reading

BASE: dict[str, Any] = {
    "title": "t",
    "seeds": 2,
    "data": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [4]},
    "train": {"lr": 0.01, "epochs": 1},
    "grid": {"batch_size": [64, 1024]},
    "cells": [{"batch_size": 1024, "lr": 0.1, "label": "1024, raised rate"}],
}
TREND = {
    "statement": "It falls",
    "measure": "test_accuracy",
    "trend": "decreasing",
    "over": "batch_size",
}
PAIR = {
    "statement": "It mends it",
    "measure": "test_accuracy",
    "left": {"label": "1024, raised rate"},
    "relation": "greater",
    "right": {"batch_size": 1024, "lr": 0.01},
}


def parsed(*claims: Any, **changes: Any) -> Preset:
    return parse_preset({**BASE, **changes, "claims": list(claims)}, "mine", "x.toml")


def without(claim: dict[str, Any], *keys: str, **changes: Any) -> dict[str, Any]:
    return {**{key: value for key, value in claim.items() if key not in keys}, **changes}


def test_both_kinds_of_claim_are_read() -> None:
    fall, mend = parsed(TREND, PAIR).claims
    assert fall == Claim(
        statement="It falls", measure="test_accuracy", trend="decreasing", over="train.batch_size"
    )
    assert mend.left == {"label": "1024, raised rate"}
    assert mend.right == {"train.batch_size": 1024, "train.lr": 0.01}
    assert parse_preset(BASE, "mine", "x.toml").claims == ()


def test_keys_are_bare_or_dotted_and_texts_are_tidied() -> None:
    dotted = without(PAIR, statement=" It \n mends it ", right={"train": {"batch_size": 64}})
    (claim,) = parsed(dotted).claims
    assert claim.statement == "It mends it"
    assert claim.right == {"train.batch_size": 64}
    (claim,) = parsed(without(PAIR, left={"hidden": [4], "lr": 0.1}, right={"lr": 0.01})).claims
    assert claim.left == {"model.hidden": [4], "train.lr": 0.1}


@pytest.mark.parametrize("measure", ["test_accuracy", "epoch_seconds", "steps", "step_seconds"])
def test_any_number_can_be_measured(measure: str) -> None:
    assert parsed(without(TREND, measure=measure)).claims[0].measure == measure


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (3, "claims: expected tables, written [[claims]]"),
        (without(TREND, mesure="x"), "claims[0]: unknown key 'mesure'; did you mean 'measure'?"),
        (without(TREND, "statement"), "claims[0].statement: required"),
        (without(TREND, statement=" "), "claims[0].statement: expected a text, got an empty one"),
        (without(TREND, statement=3), "claims[0].statement: expected a text, got 3"),
        (without(TREND, "measure"), "claims[0].measure: required"),
        (
            without(TREND, measure="test_acuracy"),
            "claims[0].measure: unknown measure 'test_acuracy'; did you mean 'test_accuracy'?",
        ),
        (without(TREND, measure="status"), "claims[0].measure: unknown measure 'status'"),
        (without(TREND, "over"), "claims[0].over: required"),
        (without(TREND, "trend"), "claims[0].trend: required"),
        (
            without(TREND, trend="decresing"),
            "claims[0].trend: expected one of decreasing, increasing, got 'decresing'; "
            "did you mean 'decreasing'?",
        ),
        (
            without(TREND, over="batchsize"),
            "claims[0].over: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            without(TREND, over="optimizer"),
            "claims[0].over: a trend needs numbers, and train.optimizer is 'sgd' in "
            "configuration '64, lr 0.01'",
        ),
        (
            without(TREND, over="max_lr"),
            "claims[0].over: a trend needs numbers, and scaling.max_lr is not set in "
            "configuration '64, lr 0.01'",
        ),
        (without(TREND, over="hidden"), "claims[0].over: a trend needs numbers, and model.hidden"),
        (
            {**TREND, **PAIR},
            "claims[0]: trend and left exclude each other: a claim is a trend over a setting, or "
            "left and right in a relation",
        ),
        (
            {"statement": "s", "measure": "steps"},
            "claims[0]: needs trend and over, or left, relation and right",
        ),
        (without(PAIR, "relation"), "claims[0].relation: required"),
        (without(PAIR, "right"), "claims[0].right: required"),
        (
            without(PAIR, relation="less then"),
            "claims[0].relation: expected one of equal, greater, less, got 'less then'",
        ),
        (
            without(PAIR, relation="equal"),
            "claims[0].within: required by equal: how far apart still counts as it",
        ),
        (without(PAIR, within=0.1), "claims[0].within: belongs to the relation equal alone"),
        (without(TREND, within=0.1), "claims[0].within: belongs to the relation equal alone"),
        (
            without(PAIR, relation="equal", within=0),
            "claims[0].within: expected a number (above 0), got 0",
        ),
        (
            without(PAIR, relation="equal", within=float("inf")),
            "claims[0].within: must be a finite number, not inf",
        ),
        (
            without(PAIR, left={}),
            "claims[0].left: expected what to pick, for example { batch_size = 64 }, got {}",
        ),
        (without(PAIR, left=64), "claims[0].left: expected what to pick, for example"),
        (
            without(PAIR, left={"batchsize": 64}),
            "claims[0].left: unknown key 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            without(PAIR, left={"batch_size": "64"}),
            "claims[0].left.batch_size: expected an integer (at least 1), got '64'",
        ),
        (without(PAIR, left={"label": 64}), "claims[0].left.label: expected a text, got 64"),
        (
            without(PAIR, left={"lr": 1, "train": {"lr": 1}}),
            "claims[0].left.train.lr: train.lr is there twice",
        ),
        (
            without(PAIR, left={"label": "1024 raised rate"}),
            "claims[0].left: no configuration has label = '1024 raised rate'; "
            "did you mean '1024, raised rate'?",
        ),
        (
            without(PAIR, right={"batch_size": 128, "lr": 0.01}),
            "claims[0].right: no configuration has train.batch_size = 128 and train.lr = 0.01; "
            "the labels are '64, lr 0.01', '1024, lr 0.01', '1024, raised rate'",
        ),
        (
            without(PAIR, right={"batch_size": 1024}),
            "claims[0]: left and right both pick '1024, raised rate': nothing can be compared "
            "with itself",
        ),
    ],
)
def test_each_mistake_is_one_sentence(claim: Any, message: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(claim)
    assert str(caught.value).startswith(f"x.toml: {message}")
    assert str(caught.value).isprintable()


def test_the_claim_is_counted_and_foreign_text_is_printable() -> None:
    with pytest.raises(UsageProblem) as caught:
        parsed(TREND, {**TREND, "\x1b[2J": 1})
    assert str(caught.value).startswith("x.toml: claims[1]: unknown key '�[2J'")


def test_shipped_presets_ask_what_they_claim() -> None:
    for name in ("quickstart", "mnist-epochs"):
        claims = find_preset(name).claims
        assert [claim.measure for claim in claims][:2] == ["test_accuracy", "epoch_seconds"]


def test_claims_survive_the_journal_and_old_journals_are_read() -> None:
    preset = parsed(TREND, without(PAIR, left={"hidden": [4], "lr": 0.1}, right={"lr": 0.01}))
    opened = ev.SweepOpened(
        id="s",
        preset="p",
        title="t",
        question="",
        source="",
        configurations=preset.configurations,
        claims=preset.claims,
    )
    assert journal.decode(journal.encode(opened)) == opened
    written = msgspec.json.decode(journal.encode(opened))
    del written["claims"]
    old = journal.decode(msgspec.json.encode(written))
    assert isinstance(old, ev.SweepOpened)
    assert judge(SweepState().fold([old])) == []
    assert all(v.verdict == "undetermined" for v in judge(SweepState().fold([opened])))


# ---- like with like


def test_a_ladder_leaves_aside_what_differs_in_more() -> None:
    found = ladder("train.batch_size", parsed().configurations)
    assert [(level, [c.label for c in of]) for level, of in found.levels.items()] == [
        (64, ["64, lr 0.01"]),
        (1024, ["1024, lr 0.01"]),
    ]
    assert [each.label for each in found.aside] == ["1024, raised rate"]


def test_a_grid_of_two_keys_has_all_its_series() -> None:
    grid = {"batch_size": [64, 8], "lr": [0.1, 0.2]}
    found = ladder("train.batch_size", parsed(grid=grid, cells=[]).configurations)
    assert [(level, len(of)) for level, of in found.levels.items()] == [(8, 2), (64, 2)]
    assert found.aside == ()


# ---- comparisons

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


def test_a_configuration_that_always_diverges_does_not_silence_the_others() -> None:
    hot = configuration(8, lr=9.0, id="b8-lr9")
    state = sweep(
        [(B8, HIGH), (hot, [DIVERGED, FAILED, DIVERGED]), (B64, LOW)], comparison("greater")
    )
    assert (verdict(state).verdict, verdict(state).excluded) == ("supported", 3)


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
        ([0.9], LOW, "8: 1 of 3 seeds finished", 0),
        ([], [], "8: 0 of 3 seeds finished; 64: 0 of 3 seeds finished", 0),
        ([DIVERGED, DIVERGED, FAILED], LOW, "8: every trial diverged or failed", 3),
        ([0.9, DIVERGED, FAILED], LOW, "8: 1 of 3 seeds finished", 2),
        ([0.9, 0.9, DIVERGED], [DIVERGED, 0.8, 0.8], "the two sides share fewer than 2 seeds", 2),
    ],
)
def test_too_few_seeds(left: list[Any], right: list[Any], reason: str, excluded: int) -> None:
    found = verdict(sweep([(B8, left), (B64, right)], comparison("greater")))
    assert (found.verdict, found.reason, found.excluded) == ("undetermined", reason, excluded)
    assert (found.effect, found.low, found.high) == (None, None, None)


def test_one_seed_is_told_to_be_too_few() -> None:
    one = [(configuration(8, seeds=1), [0.9]), (configuration(64, seeds=1), [0.8])]
    for claim in (comparison("less"), trend("decreasing")):
        found = verdict(sweep(one, claim))
        assert found.verdict == "undetermined"
        assert "one seed says nothing of the spread" in found.reason


def test_the_same_values_everywhere_tell_nothing() -> None:
    for claim in (comparison("less"), trend("decreasing")):
        found = verdict(sweep([(B8, [0.9] * 3), (B64, [0.9] * 3)], claim))
        assert (found.verdict, found.effect) == ("undetermined", 0)
        assert found.reason == "the means do not differ at all"


def test_what_no_trial_measures() -> None:
    state = sweep([(B8, HIGH), (B64, LOW)], comparison("less", measure="peak_memory_bytes"))
    assert verdict(state).reason.startswith("8: no seed has a value of peak_memory_bytes")


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
    assert found.reason == "the ends differ as claimed, but from batch_size 16 to 32 it turns back"


def test_a_step_back_within_the_noise_does_not() -> None:
    columns = [[0.95, 0.96, 0.97], [0.90, 0.95, 0.91], [0.92, 0.91, 0.95], [0.80, 0.82, 0.81]]
    assert verdict(sweep(ladder_of(*columns), trend("decreasing"))).verdict == "supported"


def test_one_level_is_no_trend() -> None:
    found = verdict(sweep(ladder_of(HIGH), trend("decreasing")))
    assert (found.verdict, found.reason) == ("undetermined", "batch_size has one level only")
    found = verdict(sweep(ladder_of(HIGH, LOW), trend("decreasing", over="train.lr")))
    assert found.reason == "lr has one level only"


def test_a_level_that_diverged_is_left_out_and_said() -> None:
    lost = [DIVERGED, DIVERGED, DIVERGED]
    found = verdict(sweep(ladder_of(HIGH, lost, LOW), trend("decreasing")))
    assert (found.verdict, found.excluded) == ("supported", 3)
    assert found.reason == "batch_size 16: every trial diverged or failed"
    found = verdict(sweep(ladder_of(HIGH, lost), trend("decreasing")))
    assert (found.verdict, found.excluded) == ("undetermined", 3)


def test_a_level_still_to_come_is_waited_for() -> None:
    found = verdict(sweep(ladder_of(HIGH, LOW, [0.8]), trend("decreasing")))
    assert (found.verdict, found.provisional) == ("undetermined", True)
    assert found.reason == "batch_size 32: 1 of 3 seeds finished"


def test_what_differs_in_more_is_left_aside_and_said() -> None:
    raised = configuration(16, lr=0.5, id="raised")
    found = verdict(sweep([*ladder_of(HIGH, LOW), (raised, HIGH)], trend("decreasing")))
    assert found.verdict == "supported"
    assert found.reason == "1 configuration differs in more than batch_size and left aside"


# ---- no effect, and how often it is taken for one

SEEDS = range(2, 21)
SIMULATED = 2500
LEVEL = 0.05


def most(simulated: int = SIMULATED) -> int:
    """Supported that often by chance once in ten thousand, if at the level."""
    return int(stats.binom.ppf(1 - 1e-4, simulated, LEVEL))


def side(values: Any, start: bytes = b"", floor: float = 0.0) -> Side:
    found = {seed: float(value) for seed, value in enumerate(values)}
    size = len(found)
    return Side("x 1", "m", found, size, size, 0, 0, frozenset({start}), floor)


def estimated(left: Side, right: Side) -> Estimate:
    found = difference(left, right)
    assert found is not None
    return found


def paired_sides(random: np.random.Generator, n: int) -> str:
    """What a seed does to both sides is much; what is left is noise."""
    luck = random.normal(0, 0.02, n)
    left, right = (side(0.9 + luck + random.normal(0, 0.01, n)) for _ in range(2))
    return direction(estimated(left, right), 1)[0]


def welch_sides(random: np.random.Generator, n: int) -> str:
    left = side(random.normal(0.9, 0.03, n), b"a")
    right = side(random.normal(0.9, 0.005, n), b"b")
    return direction(estimated(left, right), -1)[0]


def coarse_sides(random: np.random.Generator, n: int) -> str:
    """Accuracies on 360 images, whose spread is little more than one of them."""
    image = 1 / 360
    drawn = (np.round(random.normal(345, 1.3, n)) * image for _ in range(2))
    left, right = (side(values, b"", image**2 / 12) for values in drawn)
    return direction(estimated(left, right), 1)[0]


def flat_trend(random: np.random.Generator, n: int) -> str:
    luck = random.normal(0, 0.02, n)
    levels = [side(0.9 + luck + random.normal(0, 0.01, n)) for _ in range(5)]
    return climb(estimated(levels[-1], levels[0]), steps_of(levels), -1)[0]


def just_unequal(random: np.random.Generator, n: int) -> str:
    """As far apart as would no longer count as equal."""
    left, right = side(random.normal(0.91, 0.004, n)), side(random.normal(0.90, 0.004, n))
    return equality(estimated(left, right), 0.01)[0]


@pytest.mark.parametrize(
    "draw", [paired_sides, welch_sides, coarse_sides, flat_trend, just_unequal]
)
def test_without_an_effect_support_is_no_oftener_than_the_level(
    draw: Callable[[np.random.Generator, int], str],
) -> None:
    for n in SEEDS:
        random = np.random.default_rng([2018, n])
        words = [draw(random, n) for _ in range(SIMULATED)]
        decided = SIMULATED - words.count("undetermined")
        assert words.count("supported") <= most(), f"{n} seeds"
        if draw is not just_unequal:
            assert decided <= most(), f"{n} seeds, both ways together"


def test_without_an_effect_whole_sweeps_are_seldom_decided() -> None:
    """The same through sweeps, tables and selectors, over all numbers of seeds together."""
    random = np.random.default_rng(7)
    claims = (comparison("greater"), trend("increasing", "test_loss"))
    counts = dict.fromkeys(range(len(claims)), 0)
    rounds = 25
    for n in [*SEEDS] * rounds:
        luck = random.normal(0, 0.02, n)
        drawn = []
        for size in (8, 16, 64):
            values = 0.9 + luck + random.normal(0, 0.01, n)
            ends = [Ended(round(v, 3), figures={"test_loss": 1 - float(v)}) for v in values]
            drawn.append((configuration(size, seeds=n), ends))
        for at, found in enumerate(judge(sweep(drawn, *claims))):
            counts[at] += found.verdict == "supported"
    assert max(counts.values()) <= most(len(SEEDS) * rounds)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_planted_effects_are_found(n: int) -> None:
    random = np.random.default_rng(11)
    luck = random.normal(0, 0.02, n)
    levels = [0.95, 0.93, 0.90, 0.86]
    columns = [level + luck + random.normal(0, 0.002, n) for level in levels]
    drawn = [
        (configuration(8 << at, seeds=n), [round(float(v), 3) for v in column])
        for at, column in enumerate(columns)
    ]
    claims = (
        trend("decreasing"),
        trend("increasing"),
        comparison("greater"),
        comparison("less"),
        comparison("equal", 0.02),
        comparison("equal", 0.5),
    )
    assert [found.verdict for found in judge(sweep(drawn, *claims))] == [
        "supported",
        "contradicted",
        "supported",
        "contradicted",
        "contradicted",
        "supported",
    ]
