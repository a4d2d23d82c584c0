"""The difference between two sweeps, against scipy's tests and by hand."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy import stats

from batchscope.engine.analysis.statistics import holm
from batchscope.engine.comparison.comparison import Comparison, compare
from batchscope.engine.comparison.metric_difference import MetricDifference
from batchscope.engine.comparison.sources import Opened
from batchscope.engine.errors import UsageProblem
from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Data, Model
from tests.unit.engine.comparison_fixtures import ONE, OTHER, aimed, images, side
from tests.unit.engine.findings_fixtures import TEST_SIZE, Ended, configuration
from tests.unit.engine.tuning_fixtures import confirm, tuned

LOW, HIGH = [0.80, 0.81, 0.80], [0.90, 0.91, 0.90]


def found(
    one: Sequence[float | Ended], other: Sequence[float | Ended], **settings: Any
) -> Comparison:
    """Eight images a step on both sides; B with these settings."""
    a, b = side((configuration(), one)), side((configuration(**settings), other), id="b")
    return compare(a, b)


def accuracy(of: Comparison) -> MetricDifference:
    return of.rows[0].test_accuracy


def test_seeds_that_share_their_start_are_paired() -> None:
    of = accuracy(found(ONE, OTHER, optimizer="adam"))
    wanted = stats.ttest_rel(OTHER, ONE)
    low, high = wanted.confidence_interval(0.95)
    assert (of.method, of.n) == ("paired t", 3)
    assert of.difference == pytest.approx(0.08 / 3)
    assert [of.low, of.high] == pytest.approx([low, high])
    assert of.p == pytest.approx(wanted.pvalue)
    assert (of.a and of.a.mean, of.b and of.b.mean) == pytest.approx((2.75 / 3, 2.83 / 3))


def test_another_network_is_compared_by_welch() -> None:
    of = accuracy(found(ONE, OTHER, model=Model(name="mlp", hidden=(7,))))
    wanted = stats.ttest_ind(OTHER, ONE, equal_var=False)
    low, high = wanted.confidence_interval(0.95)
    assert of.method == "Welch's t"
    assert [of.low, of.high] == pytest.approx([low, high])
    assert of.p == pytest.approx(wanted.pvalue)


def test_other_initial_weights_are_not_paired_whatever_the_settings_say() -> None:
    a, b = side((configuration(), ONE)), side((configuration(), OTHER), id="b")
    for trial in b.state.trials.values():
        assert trial.started
        trial.started = replace(trial.started, init_norm=1.6)
    assert accuracy(compare(a, b)).method == "Welch's t"


def test_only_common_seeds_pair_and_the_means_are_of_them() -> None:
    of = accuracy(found(ONE, (*OTHER, 0.5), seeds=4))
    assert of.n == 3
    assert of.b
    assert of.b.mean == pytest.approx(2.83 / 3)
    assert of.difference == pytest.approx(of.b.mean - 2.75 / 3)


def test_equal_accuracies_prove_no_more_than_an_image() -> None:
    of = accuracy(found(ONE, ONE))
    step = 1 / TEST_SIZE
    error = (2 * step**2 / 4 / 3) ** 0.5
    half = stats.t.ppf(0.975, 2) * error
    assert of.difference == 0
    assert [of.low, of.high] == pytest.approx([-half, half])
    assert (of.p, of.adjusted, of.verdict) == (1.0, 1.0, "undetermined")


def test_one_seed_has_a_difference_and_no_interval() -> None:
    of = accuracy(found(ONE[:1], OTHER[:1]))
    assert of.difference == pytest.approx(0.03)
    assert (of.low, of.high, of.n, of.p, of.verdict) == (None, None, 1, None, "undetermined")


def test_accuracies_on_other_images_are_shown_and_not_judged() -> None:
    many = (0.9, 0.901, 0.902), (0.95, 0.951, 0.952)
    a, b = side((configuration(), many[0])), side((configuration(), many[1]), id="b")
    assert accuracy(compare(a, b)).verdict == "higher"
    of = compare(a, images(b, "another"))
    assert (accuracy(of).verdict, accuracy(of).method) == ("not judged", "Welch's t")
    assert (accuracy(of).p, accuracy(of).adjusted) == (None, None)
    assert accuracy(of).difference == pytest.approx(0.05)
    assert any("both digits, but not the same" in each for each in of.remarks)


def test_different_held_out_shares_are_not_paired_and_have_a_remark() -> None:
    one, other = configuration(), configuration()
    held = replace(other, settings=replace(other.settings, data=Data("digits", 0.2)))
    of = compare(side((one, ONE)), side((held, OTHER), id="b"))
    assert accuracy(of).method == "Welch's t"
    assert any("hold out" in each for each in of.remarks)
    assert [change.key for change in of.settings] == ["data.validation"]


def test_verdicts_are_adjusted_for_their_number() -> None:
    clear, faint = ((0.90, 0.901, 0.902), (0.95, 0.951, 0.953)), (ONE, OTHER)
    values = {8: clear, 16: faint, 32: faint, 64: faint}
    a = side(*((configuration(size), each[0]) for size, each in values.items()))
    b = side(*((configuration(size), each[1]) for size, each in values.items()), id="b")
    rows = [row.test_accuracy for row in compare(a, b).rows]
    ps = [row.p for row in rows if row.p is not None]
    assert [row.adjusted for row in rows] == holm(ps)
    assert rows[0].adjusted == pytest.approx(4 * ps[0])
    assert [row.verdict for row in rows] == ["higher", *["undetermined"] * 3]
    back = [row.test_accuracy.verdict for row in compare(b, a).rows]
    assert back == ["lower", *["undetermined"] * 3]


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        (LOW, HIGH, "higher"),
        (LOW, [*HIGH, Ended(status="failed")], "higher"),
        (LOW, [*HIGH, Ended(status="diverged")], "undetermined"),  # B loses what might lower it
        ([*LOW, Ended(status="diverged")], HIGH, "higher"),  # A would be lower still
        ([*HIGH, Ended(status="diverged")], LOW, "undetermined"),
        (HIGH, [*LOW, Ended(status="diverged")], "lower"),
    ],
)
def test_a_trial_that_diverged_may_undo_a_difference(
    one: Sequence[float | Ended], other: Sequence[float | Ended], word: str
) -> None:
    a, b = (
        side((configuration(seeds=4), each), id=name) for name, each in (("a", one), ("b", other))
    )
    of = accuracy(compare(a, b))
    assert of.verdict == word
    assert of.adjusted is not None
    assert of.adjusted < 0.05
    assert ("diverged" in of.reason) is (word == "undetermined")


def test_collapsed_seeds_are_named_on_their_side() -> None:
    row = found([0.9, 0.1, 0.9], [0.9, 0.9, 0.9]).rows[0]
    assert row.collapsed == ((1,), ())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_steps_of_holm_do(ps: list[float]) -> None:
    for level in (0.01, 0.05, 0.5):
        wanted, left = [False] * len(ps), sorted(range(len(ps)), key=ps.__getitem__)
        while left and ps[left[0]] * len(left) <= level:
            wanted[left.pop(0)] = True
        assert [p <= level for p in holm(ps)] == wanted


def test_times_are_ratios_and_stacks_have_a_remark() -> None:
    slow, fast = ({"seconds": 2.0}, {"seconds": 0.5})
    a = [Ended(0.9, figures=slow, stacked=3)] * 3
    of = found(a, [Ended(0.9, figures=fast)] * 3)
    (row,) = of.rows
    assert row.epoch_seconds == type(row.epoch_seconds)(2.0, 0.5, 0.25)
    assert row.stacked == (3, 1)
    assert any("(marked !)" in each for each in of.remarks)
    same = found(a, [Ended(0.9, figures=fast, stacked=3)] * 3)
    assert any(each.startswith("×") for each in same.remarks)
    assert not any("(marked !)" in each for each in same.remarks)


def test_memory_is_the_highest_of_any_trial() -> None:
    peaks = [Ended(0.9, figures={"peak_memory_bytes": size}) for size in (100, 300, 200)]
    (row,) = found(peaks, [Ended(0.9, figures={"peak_memory_bytes": 450})] * 3).rows
    assert row.peak_memory_bytes == type(row.peak_memory_bytes)(300, 450, 1.5)


def test_steps_to_a_target_where_all_reached_it() -> None:
    (row,) = compare(side(aimed((10, 20, 30))), side(aimed((5, 5, 20)), id="b")).rows
    assert row.steps_to_target == type(row.epoch_seconds)(20, 10, 0.5)
    (row,) = compare(side(aimed((10, 20, 30))), side(aimed((5, 0, 20)), id="b")).rows
    assert row.steps_to_target == type(row.epoch_seconds)(20, None, None)
    assert row.missed == (0, 1)
    (row,) = compare(side(aimed((10, 20, 30))), side(aimed((5, 5, 20), 0.81), id="b")).rows
    assert row.steps_to_target is None


def test_unfinished_and_lost_trials_are_counted() -> None:
    of = found((0.9, Ended(status="diverged"), 0.9), (0.9, 0.9))
    assert of.rows[0].lost == (1, 0)
    assert (of.a.lost, of.b.pending) == (1, 1)
    assert any(each.startswith("B is unfinished: 1 of 3 trials") for each in of.remarks)


def machine(of: Opened, **facts: Any) -> Opened:
    of.state.conductor = ev.ConductorStarted(pid=1, machine=facts)
    return of


def test_versions_and_machines_are_compared() -> None:
    a, b = side((configuration(), ONE)), side((configuration(), OTHER), id="b")
    b = replace(b, versions={"torch": "2.14", "python": "3.12"}, damaged=2)
    of = compare(machine(a, cores=2, system="x"), machine(b, cores=8, system="x"))
    told = [msgspec.to_builtins(change) for change in (*of.versions, *of.machine)]
    assert told == [
        {"key": "torch", "a": "2.13", "b": "2.14"},
        {"key": "python", "a": None, "b": "3.12"},
        {"key": "cores", "a": 2, "b": 8},
    ]
    assert any(each.endswith(": cores") for each in of.remarks)
    assert any("2 damaged lines of B's" in each for each in of.remarks)


def test_a_rate_that_only_one_configuration_changes_is_in_its_row() -> None:
    a = side((configuration(8), ONE), (configuration(16), ONE))
    b = side((configuration(8), ONE), (configuration(16, lr=0.2), ONE), id="b")
    of = compare(a, b)
    assert of.rows[0].changes == ()
    (change,) = of.rows[1].changes
    assert (change.key, change.a, change.b) == ("train.lr", 0.1, 0.2)
    assert [(each.key, each.a, each.b) for each in of.settings] == [("train.lr", 0.1, [0.1, 0.2])]


def test_more_seeds_are_a_difference() -> None:
    of = found(ONE, (*OTHER, 0.9), seeds=4)
    assert [(each.key, each.a, each.b) for each in of.settings] == [("seeds", 3, 4)]


@pytest.mark.parametrize(
    ("b", "told"),
    [
        (side((configuration(), ONE)), "sweep a"),
        (side((configuration(16), ONE), id="b"), "A has 8; B has 16"),
    ],
)
def test_what_cannot_be_compared(b: Opened, told: str) -> None:
    with pytest.raises(UsageProblem, match=told):
        compare(side((configuration(), ONE)), b)


def chosen_from(best: float, id: str) -> Opened:
    """A sweep with this best rate at a batch of 8, and 0.1 at a batch of 64."""
    held = {(8, lr): (0.9 if lr == best else 0.5,) * 2 for lr in (0.1, 0.2)}
    held |= {(64, 0.1): (0.9, 0.9), (64, 0.2): (0.5, 0.5)}
    return Opened(written=id, id=id, state=tuned(held), phase="finished", versions={}, damaged=0)


def test_fresh_seeds_are_compared_with_those_of_a_choice_as_independent_ones() -> None:
    """A was chosen on seeds 0 to 2 and is compared on them; B on its fresh seeds 3 to 5."""
    held = {(8, lr): (0.9 if lr == 0.1 else 0.5,) * 3 for lr in (0.1, 0.2)}
    a, b = tuned(held, test={(8, 0.1): 0.9}), tuned(held, after=3)
    confirm(b, [0.9] * 3)
    more: dict[str, Any] = {"phase": "finished", "versions": {}, "damaged": 0}
    of = compare(*(Opened(written=i, id=i, state=s, **more) for i, s in (("a", a), ("b", b))))
    (row,) = of.rows
    assert (row.label, row.a, row.b) == ("8", "b8-lr0.1", "b8-chosen")
    assert (row.test_accuracy.method, row.test_accuracy.n) == ("Welch's t", 3)
    wanted = stats.ttest_ind([0.503, 0.504, 0.505], [0.9, 0.901, 0.902], equal_var=False)
    assert row.test_accuracy.p == pytest.approx(wanted.pvalue, rel=0.05), "rounding adds a little"
    (said,) = (each for each in of.remarks if "flatters" in each)
    assert said.startswith("A ")


def test_of_candidates_the_chosen_ones_are_compared() -> None:
    of = compare(chosen_from(0.1, "a"), chosen_from(0.2, "b"))
    assert [(row.label, row.a, row.b) for row in of.rows] == [
        ("8", "b8-lr0.1", "b8-lr0.2"),
        ("64", "b64-lr0.1", "b64-lr0.1"),
    ]
    assert [(each.key, each.a, each.b) for each in of.rows[0].changes] == [("train.lr", 0.1, 0.2)]
    assert (of.rows[1].changes, of.only_a, of.only_b) == ((), (), ())
