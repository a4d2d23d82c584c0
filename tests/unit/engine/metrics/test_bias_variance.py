"""Bias and variance against a naive computation, image by image, and as claims use them."""

import math
from collections import Counter
from fractions import Fraction
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchscope.engine.analysis.bias_variance import FEW, bias_variances, part_lines
from batchscope.engine.export.bundle import bias_variance_csv
from batchscope.engine.findings import findings
from batchscope.engine.findings.configuration_summary import figures
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.bias_variance import (
    ErrorDecomposition,
    decompose,
    decomposed_over,
)
from batchscope.engine.metrics.prediction_codec import pack, unpack
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.metrics.rounding_variance import rounding_variance
from batchscope.engine.spec import Claim, Configuration
from batchscope.tui.headless.summary import findings_text
from tests.unit.engine.findings_fixtures import TEST_SIZE, configuration, sweep, trend, verdict

CLASSES = 4
Table = list[list[int]]  # of each seed, what it is off by on each image


def tables(classes: int = CLASSES, least: int = 1) -> st.SearchStrategy[Table]:
    def of(images: int) -> st.SearchStrategy[Table]:
        row = st.lists(st.integers(0, classes - 1), min_size=images, max_size=images)
        return st.lists(row, min_size=least, max_size=6)

    return st.integers(1, 8).flatmap(of)


def packed(table: Table) -> tuple[bytes, ...]:
    return tuple(pack(bytes(row)) for row in table)


def naive(table: Table) -> list[Fraction]:
    """Domingos' theorem 2 with labels, image by image, averaged over tied main predictions."""
    seeds, images, nought = len(table), len(table[0]), Fraction(0)
    sums = [nought] * 6
    for image in range(images):
        label = image % CLASSES  # which one does not matter
        said = [(row[image] + label) % CLASSES for row in table]
        counts = Counter(said)
        modes = [one for one, count in counts.items() if count == max(counts.values())]
        for main in modes:
            share = Fraction(1, len(modes))
            stray = [one for one in said if one != main]
            v = Fraction(len(stray), seeds)
            bias = int(main != label)
            if bias:
                hits = sum(one == label for one in stray)
                c2 = Fraction(-hits, len(stray) or 1)
            else:
                c2 = Fraction(1)
            assert c2 == 2 * (main == label) - 1 or len(set(said) | {label}) > 2 or not stray
            strays = (v, c2 * v if c2 > 0 else nought, -c2 * v if c2 < 0 else nought, c2 * v)
            parts = (bias + c2 * v, Fraction(bias), *strays)
            sums = [total + share * part for total, part in zip(sums, parts, strict=True)]
    return [total / images for total in sums]


@given(tables())
def test_it_is_what_the_definition_says_image_by_image(table: Table) -> None:
    if len(table) < 2:
        table = [*table, table[0]]
    whole = decompose(packed(table), CLASSES).whole
    assert whole == pytest.approx([float(part) for part in naive(table)], abs=1e-12)


@given(tables(least=2))
def test_bias_and_net_variance_are_the_mean_error(table: Table) -> None:
    whole = decompose(packed(table), CLASSES).whole
    error = fmean(value != 0 for row in table for value in row)
    assert whole.error == pytest.approx(error, abs=1e-12)
    assert whole.bias + whole.variance_unbiased - whole.variance_biased == pytest.approx(
        error, abs=1e-12
    )
    assert whole.net_variance == pytest.approx(error - whole.bias, abs=1e-12)


@given(tables(classes=2, least=2))
def test_of_two_classes_all_variance_moves_the_error(table: Table) -> None:
    whole = decompose(packed(table), 2).whole
    both = whole.variance_unbiased + whole.variance_biased
    assert both == pytest.approx(whole.variance, abs=1e-12)


@given(tables(least=3))
def test_the_seeds_stand_for_the_jackknife(table: Table) -> None:
    found = decompose(packed(table), CLASSES)
    n = len(table)
    for at, name in enumerate(ErrorDecomposition._fields):
        left = [float(naive(table[:one] + table[one + 1 :])[at]) for one in range(n)]
        middle = fmean(left)
        error = math.sqrt((n - 1) / n * sum((each - middle) ** 2 for each in left))
        values = [seed[at] for seed in found.seeds]
        assert fmean(values) == pytest.approx(found.whole[at], abs=1e-12)
        assert stdev(values) / math.sqrt(n) == pytest.approx(error, abs=1e-12)
        assert getattr(found.errors, name) == pytest.approx(error, abs=1e-12)


def test_of_a_mean_the_seeds_stand_for_themselves() -> None:
    table = [[0, 1, 0, 2], [0, 0, 0, 0], [1, 1, 1, 0], [0, 3, 3, 3]]
    found = decompose(packed(table), CLASSES)
    assert [seed.error for seed in found.seeds] == pytest.approx([0.5, 0.0, 0.75, 0.75])


def test_a_tie_counts_half_for_each() -> None:
    found = decompose(packed([[0, 0, 2], [1, 0, 1]]), CLASSES).whole
    third = 1 / 3
    assert found.bias == pytest.approx(third * (0.5 + 1))
    assert found.variance == pytest.approx(third * (0.5 + 0.5))
    assert found.variance_unbiased == pytest.approx(third * 0.25)
    assert found.variance_biased == pytest.approx(third * 0.25)


def test_where_all_are_right_there_is_nothing() -> None:
    found = decompose(packed([[0, 0], [0, 0]]), CLASSES)
    assert found.whole == found.errors == ErrorDecomposition(0, 0, 0, 0, 0, 0)


def test_few_bytes_are_kept_of_ten_thousand_images() -> None:
    random = np.random.default_rng(0)
    missed = np.where(random.random(10_000) < 0.02, random.integers(1, 10, 10_000), 0)
    row = missed.astype(np.uint8)
    assert len(pack(row.tobytes())) < 700
    assert np.array_equal(unpack([pack(row.tobytes())]), row[None])


# In a sweep


def predicted(trial: str, row: list[int]) -> ev.Predicted:
    whole = bytes(row) + bytes(TEST_SIZE - len(row))
    return ev.Predicted(
        trial=trial, attempt=1, steps=20, classes=10, images=TEST_SIZE, packed=pack(whole)
    )


def predicting(of: Configuration, table: Table, state: SweepState) -> None:
    """Hand the predictions to trials that have finished."""
    for seed, row in enumerate(table):
        trial = state.trials[f"{of.id}-s{seed}"]
        trial.predicted = predicted(trial.id, row)


def two_sizes(*claims: Claim) -> SweepState:
    small, large = configuration(8), configuration(64)
    state = sweep([(large, [0.9] * 3), (small, [0.9] * 3)], *claims)
    predicting(small, [[1] * 10 + [0] * 9, [1] * 10 + [2] * 9, [1] * 10], state)
    predicting(large, [[1] * 50, [1] * 50 + [2], [1] * 52], state)
    return state


def four_seeds(*claims: Claim, seeds: int = 4) -> SweepState:
    """The same with a seed more, of which so many ended."""
    small, large = configuration(8, seeds=4), configuration(64, seeds=4)
    state = sweep([(large, [0.9] * seeds), (small, [0.9] * seeds)], *claims)
    tables = [[1] * 10 + [0] * 9, [1] * 10 + [2] * 9, [1] * 10, [1] * 9 + [3]]
    predicting(small, tables[:seeds], state)
    predicting(large, [[1] * 50, [1] * 50 + [2], [1] * 52, [1] * 51][:seeds], state)
    return state


def test_three_seeds_have_parts_without_errors_and_no_values_of_their_own() -> None:
    """Left one out, two remain, whose net variance is 0 whatever they say."""
    state = two_sizes(trend("increasing", "net_variance"))
    small, _ = bias_variances(state)
    for part in ErrorDecomposition._fields[1:]:
        assert getattr(small, f"{part}_se") is None
        assert value_of(state, state.trials["b8-s0"], part) is None
    errors = [19 / TEST_SIZE if seed == 1 else 10 / TEST_SIZE for seed in range(3)]
    assert small.error_se == pytest.approx(stdev(errors) / math.sqrt(3))
    (by_size, _) = figures(state, ["net_variance", "bias"])
    for part in ("net_variance", "bias"):
        mean = by_size.figures[part]
        assert (mean.low, mean.high, mean.n) == (None, None, 3)
        assert mean.mean == getattr(small, part)
    found = verdict(state)
    assert (found.verdict, found.effect, found.n) == ("undetermined", None, 0)
    assert found.reason == FEW
    header, row, _ = bias_variance_csv(state).splitlines()
    told = dict(zip(header.split(","), row.split(","), strict=True))
    assert told["net_variance"]
    assert [key for key, value in told.items() if not value] == [
        f"{part}_se" for part in ErrorDecomposition._fields[1:]
    ]


def test_four_seeds_have_errors_and_are_judged() -> None:
    state = four_seeds(trend("increasing", "bias"))
    small, large = bias_variances(state)
    told = [state.trials[f"b8-s{seed}"].predicted for seed in range(4)]
    errors = decompose(tuple(each.packed for each in told if each), 10).errors
    assert errors.net_variance > 0
    assert [getattr(small, f"{part}_se") for part in ErrorDecomposition._fields] == [*errors]
    found = verdict(state)
    assert (found.verdict, found.n) == ("supported", 4)
    assert found.effect == pytest.approx(large.bias - small.bias)


def test_each_configuration_has_its_parts() -> None:
    small, large = bias_variances(two_sizes())
    assert (small.batch_size, small.seeds, large.batch_size) == (8, 3, 64)
    assert small.bias == pytest.approx(10 / TEST_SIZE)
    assert small.variance == pytest.approx(9 / 3 / TEST_SIZE)  # one stray of three on nine images
    assert small.error == pytest.approx((10 + 19 + 10) / 3 / TEST_SIZE)
    header, first, *_ = bias_variance_csv(two_sizes()).splitlines()
    assert header.startswith("configuration,label,batch_size,seeds,error,bias,variance,")
    assert first.split(",")[:4] == ["b8", "8", "8", "3"]


def test_without_three_seeds_it_is_not_known() -> None:
    """Of two that disagree each is half of a tie, so that nothing would be left for variance."""
    two = decompose(packed([[0, 1, 2, 0], [0, 0, 1, 3]]), CLASSES).whole
    assert two.error == two.bias
    of = configuration(8)
    state = sweep([(of, [0.9, 0.9])])
    predicting(of, [[1], [0]], state)
    assert bias_variances(state) == []
    assert value_of(state, state.trials["b8-s0"], "bias") is None
    assert bias_variance_csv(state).count("\n") == 1


def test_images_of_another_number_do_not_compare() -> None:
    state = two_sizes()
    short = replace(predicted("b8-s0", []), images=2, packed=pack(b"\0\1"))
    state.trials["b8-s0"].predicted = short
    assert [each.batch_size for each in bias_variances(state)] == [64]


def test_a_figure_is_the_mean_of_what_seeds_stand_for() -> None:
    state = four_seeds()
    small, _ = bias_variances(state)
    by_size = {each.batch_size: each for each in figures(state, ["bias"])}
    assert by_size[8].figures["bias"].mean == pytest.approx(small.bias)
    assert rounding_variance(state, state.trials["b8-s0"], "bias", 0.1) == 1 / TEST_SIZE**2 / 4


def test_the_fold_takes_the_same_twice_as_once_and_forgets_what_is_trained_again() -> None:
    of = configuration(8, seeds=1)
    state = sweep([(of, [])])
    state.apply(
        ev.TrialStarted(
            trial="b8-s0",
            attempt=1,
            worker=0,
            device="cpu",
            batch_size=8,
            micro_batch_size=8,
            total_steps=20,
            steps_per_epoch=10,
            parameters=5,
            init_norm=1.0,
            lr=0.1,
        )
    )
    event = predicted("b8-s0", [1])
    assert not state.repeats(event)
    state.fold([event, event])
    trial = state.trials["b8-s0"]
    assert trial.predicted == event
    assert state.repeats(event)
    trial.go_back(2, 20)
    assert trial.predicted == event
    trial.go_back(1, 10)
    assert trial.predicted is None
    state.apply(event)
    trial.forget()
    assert trial.predicted is None


def test_the_summary_tells_of_it_where_a_claim_asks() -> None:
    assert findings.find(two_sizes()).bias_variance == ()
    assert "bias_variance" in findings.document(two_sizes())
    asked = findings.find(two_sizes(trend("increasing", "variance")))
    head, small, large = part_lines(asked.bias_variance)
    assert (
        head == "batch size          error           bias + net variance     (variance)  in %, n=3"
    )
    assert small == "         8    1.30 ± 0.30           1.00           0.30           0.30"
    assert large.split()[0] == "64"
    assert {small, large} <= set(findings_text(asked))
    assert part_lines([]) == []


def test_seeds_with_test_data_of_their_own_have_no_bias() -> None:
    state = two_sizes()
    alike = [each for name, each in state.trials.items() if name.startswith("b8-")]
    assert decomposed_over(alike) is not None
    for number, each in enumerate(alike):
        assert each.predicted is not None
        each.predicted = replace(each.predicted, labels=100 + number)
    assert decomposed_over(alike) is None
