"""Times that replicates of one stack share: wherever one is told, it says so."""

import csv
import io

import pytest
from scipy import stats

from batchscope.engine.analysis import tables
from batchscope.engine.analysis.figures import epoch_times, pace_of
from batchscope.engine.analysis.stack_times import (
    ONE,
    TIMED,
    stack_caution,
    stack_mark,
    stack_note,
    stacked,
)
from batchscope.engine.export import memory_table
from batchscope.engine.findings.configuration_summary import figures
from batchscope.engine.findings.pareto import pareto
from batchscope.engine.findings.recommendation import recommendation, recommended
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import TRIAL_COLUMNS
from batchscope.engine.planning.plan import Plan
from batchscope.tui.viewmodel.status_signs import remarks
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    sweep,
    trend,
    verdict,
)

SMALL, LARGE = configuration(8), configuration(64)


def ends(accuracy: float, size: int, seconds: float = 2.0) -> list[Ended]:
    """Three seeds whose epoch took about so long, as members of stacks of one size."""
    return [
        Ended(accuracy, figures={"seconds": seconds + seed / 100}, stacked=size)
        for seed in range(3)
    ]


def stacks_of(small: int, large: int, **claim: str) -> SweepState:
    """Batch sizes 8 and 64 in stacks of these sizes; 8 takes twice as long."""
    measure = claim.get("measure", "epoch_seconds")
    values = [(SMALL, ends(0.9, small, 4.0)), (LARGE, ends(0.9, large))]
    return sweep(values, comparison("greater", measure=measure))


# ---- words


def test_a_mark_for_a_stack_and_none_for_one_alone() -> None:
    assert [stack_mark(size) for size in (1, 2, 16)] == ["", "×2", "×16"]


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((), ""),
        ((1, 1), ""),
        (
            (3, 1, 3),
            "×3: 3 replicates trained as one stack; the epoch time is for the whole stack, "
            "samples/s for one replicate",
        ),
        (
            (8, 1, 3),
            "×3, ×8: that number of replicates trained as one stack; the epoch time is for "
            "the whole stack, samples/s for one replicate",
        ),
    ],
)
def test_the_note_explains_the_marks(sizes: tuple[int, ...], told: str) -> None:
    assert stack_note(sizes) == told


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((), ""),
        ((1,), ""),
        ((3, 3), "each time is that of 3 replicates trained as one stack"),
        ((3, 1), "stacks of 1 and 3 replicates were timed: such times cannot be compared"),
        ((8, 3, 1), "stacks of 1, 3 and 8 replicates were timed: such times cannot be compared"),
    ],
)
def test_the_caution_tells_whether_times_compare(sizes: tuple[int, ...], told: str) -> None:
    assert stack_caution(sizes) == told


def test_the_largest_stack_counts_and_who_never_began_is_in_none() -> None:
    state = sweep([(SMALL, [Ended(stacked=3), Ended(stacked=2)]), (LARGE, [])])
    assert stacked(state.replicates("b8")) == 3
    assert stacked(state.replicates("b64")) == 1


# ---- figures and tables


def test_epoch_times_know_their_stacks() -> None:
    times = epoch_times(stacks_of(3, 1))
    assert [(time.batch_size, time.stacked) for time in times] == [(8, 3), (64, 1)]


def test_findings_and_front_know_their_stacks() -> None:
    state = stacks_of(3, 1)
    assert [(each.batch_size, each.stacked) for each in figures(state)] == [(8, 3), (64, 1)]
    assert [(each.batch_size, each.stacked) for each in pareto(state)] == [(8, 3), (64, 1)]


def test_tables_have_the_size_of_the_stack() -> None:
    state = sweep([(SMALL, ends(0.9, 3)), (LARGE, [0.9])])
    for columns, rows in (
        (TRIAL_COLUMNS, tables.trial_rows(state)),
        (tables.EPOCH_COLUMNS, tables.epoch_rows(state)),
    ):
        assert "stacked" in columns
        read = csv.DictReader(io.StringIO(tables.to_csv(columns, rows)))
        found = {(row["batch_size"], row["seed"]): row["stacked"] for row in read}
        began = {("8", "0"): "3", ("8", "1"): "3", ("8", "2"): "3", ("64", "0"): "1"}
        never = {("64", "1"): "", ("64", "2"): ""} if columns is TRIAL_COLUMNS else {}
        assert found == {**began, **never}
    assert memory_table.MEMORY_COLUMNS[-1] == "stacked"


# ---- verdicts


@pytest.mark.parametrize("measure", TIMED)
def test_a_verdict_about_a_time_says_that_it_was_shared(measure: str) -> None:
    judged = verdict(stacks_of(3, 3, measure=measure))
    assert judged.caution == "each time is that of 3 replicates trained as one stack"


def test_a_verdict_about_times_that_do_not_compare_warns() -> None:
    judged = verdict(stacks_of(1, 3))
    assert (judged.verdict, judged.effect, judged.n) == ("undetermined", None, 1)
    told = "stacks of 1 and 3 replicates were timed: such times cannot be compared"
    assert judged.caution == told
    assert remarks(judged) == f"{ONE}; timed while other trials may have run; {told}"


def pairs_of(*seconds: float, size: int = 2) -> list[Ended]:
    """Stacks of so many, one after the other, whose epochs took so long."""
    return [
        Ended(figures={"seconds": each, "epoch_samples": 80}, stacked=size)
        for each in seconds
        for _ in range(size)
    ]


@pytest.mark.parametrize("measure", TIMED)
def test_one_stack_is_one_measurement_and_nothing_is_judged_of_it(measure: str) -> None:
    judged = verdict(stacks_of(3, 3, measure=measure))
    assert (judged.verdict, judged.effect, judged.low, judged.high) == (
        *("undetermined", None, None, None),
    )
    if measure != "seconds_to_target":  # of which there is none without a target
        assert (judged.n, judged.reason) == (1, ONE)


def test_of_several_stacks_each_counts_once() -> None:
    small, large = (4.0, 4.2, 4.1), (2.0, 2.4, 2.2)
    values = [(configuration(8, seeds=6), pairs_of(*small))]
    values += [(configuration(64, seeds=6), pairs_of(*large))]
    judged = verdict(sweep(values, comparison("greater", measure="epoch_seconds")))
    low, high = stats.ttest_rel(small, large).confidence_interval(0.95)
    assert (judged.verdict, judged.n, judged.method) == ("supported", 3, "paired t")
    assert (judged.effect, judged.low, judged.high) == pytest.approx((1.9, low, high))
    assert judged.caution == "each time is that of 2 replicates trained as one stack"
    accuracy = verdict(sweep(values, comparison("equal", within=0.1)))
    assert accuracy.n == 6  # which no stack shares


def test_stacks_of_other_sizes_are_not_compared_however_many_there_are() -> None:
    values = [(configuration(8, seeds=6), pairs_of(4.0, 4.2, 4.1))]
    values += [(configuration(64, seeds=6), pairs_of(2.0, 2.1, size=3))]
    told = "stacks of 2 and 3 replicates were timed: such times cannot be compared"
    for claim in (
        comparison("greater", measure="epoch_seconds"),
        trend("decreasing", "epoch_seconds"),
    ):
        judged = verdict(sweep(values, claim))
        assert (judged.verdict, judged.effect, judged.reason) == ("undetermined", None, told)
        assert remarks(judged) == f"{told}; timed while other trials may have run"


def test_a_trend_of_single_stacks_says_once_why_it_is_undetermined() -> None:
    values = [(configuration(2**n), ends(0.9, 3, 9.0 - n)) for n in range(3, 8)]
    judged = verdict(sweep(values, trend("decreasing", "epoch_seconds")))
    assert (judged.verdict, judged.n, judged.reason) == ("undetermined", 1, ONE)
    assert not judged.provisional


def test_figures_of_times_count_stacks_and_one_has_no_interval() -> None:
    values = [(SMALL, pairs_of(4.0, size=3)), (configuration(64, seeds=6), pairs_of(2.0, 2.4, 2.2))]
    one, three = figures(sweep(values))
    for measure in ("epoch_seconds", "step_seconds", "training_seconds", "samples_per_second"):
        found = one.figures[measure]
        assert (found.low, found.high, found.n) == (None, None, 1)
        assert three.figures[measure].n == 3
    low, high = stats.t.interval(0.95, 2, 2.2, stats.sem([2.0, 2.4, 2.2]))
    found = three.figures["epoch_seconds"]
    assert (found.mean, found.low, found.high) == pytest.approx((2.2, low, high))
    assert (one.figures["test_accuracy"].n, three.figures["test_accuracy"].n) == (3, 6)


def test_times_of_other_stacks_have_no_ratio() -> None:
    sizes = {8: 3, 16: 3, 32: 1, 64: 1}
    values = [(configuration(b), ends(0.9, k, 64 / b)) for b, k in sizes.items()]
    state = sweep(values)
    told = [of.ratios.get("epoch_seconds") for of in figures(state)]
    assert told == [None, pytest.approx(8.01 / 4.01), None, pytest.approx(2.01 / 1.01)]
    assert [time.ratio for time in epoch_times(state)] == told
    beside = [of.figures["epoch_seconds"].normalized for of in figures(state)]
    assert beside == [1.0, pytest.approx(4.01 / 8.01), None, None]
    assert all(of.figures["test_accuracy"].normalized for of in figures(state))


def test_the_plan_says_who_shares_a_time_and_a_rest_is_left_aside() -> None:
    five = configuration(8, seeds=5)
    ended = [(4.0, 2), (7.0, 2), (4.0, 2), (7.0, 2), (99.0, 1)]
    state = sweep([(five, [Ended(figures={"seconds": s}, stacked=k) for s, k in ended])])
    names = [trial.id for trial in state.replicates("b8")]
    for members in ((names[0], names[2]), (names[1], names[3])):
        plan = Plan(
            group=members[0], members=members, batch_size=8, micro_batch_size=8,
            accumulation_steps=1, evaluation_batch_size=8, threads=1,
        )  # fmt: skip
        state.plans |= dict.fromkeys(members, plan)
    assert pace_of(state, "b8") == (5.5, (80 / 4 + 80 / 7) / 2)
    (found,) = figures(state)
    assert (found.stacked, found.figures["epoch_seconds"].mean) == (2, 5.5)
    assert found.figures["epoch_seconds"].n == 2


@pytest.mark.parametrize(
    ("sizes", "word", "told"),
    [
        ((3, 3), "supported", "each peak is that of 3 replicates trained as one stack"),
        ((1, 1), "supported", ""),
        (
            *((1, 3), "undetermined"),
            "stacks of 1 and 3 replicates were measured: such peaks cannot be compared",
        ),
    ],
)
def test_memory_is_that_of_the_stack_as_well(sizes: tuple[int, int], word: str, told: str) -> None:
    def peaks(size: int, held: int) -> list[Ended]:
        return [Ended(figures={"peak_memory_bytes": held}, stacked=size) for _ in range(3)]

    values = [(SMALL, peaks(sizes[0], 2000)), (LARGE, peaks(sizes[1], 1000))]
    judged = verdict(sweep(values, comparison("greater", measure="peak_memory_bytes")))
    assert (judged.verdict, judged.caution, judged.n) == (word, told, 3)


def test_a_trend_of_times_warns_as_well() -> None:
    values = [(SMALL, ends(0.9, 3, 4.0)), (LARGE, ends(0.9, 1))]
    judged = verdict(sweep(values, trend("decreasing", "epoch_seconds")))
    assert (
        judged.caution == "stacks of 1 and 3 replicates were timed: such times cannot be compared"
    )


def test_other_verdicts_and_lonely_times_need_no_caution() -> None:
    assert verdict(stacks_of(3, 1, measure="test_accuracy")).caution == ""
    assert verdict(stacks_of(1, 1)).caution == ""


def test_a_trial_that_did_not_finish_was_not_timed() -> None:
    values = [
        (SMALL, [*ends(0.9, 1)[:2], Ended(status="diverged", stacked=3)]),
        (LARGE, ends(1, 1)),
    ]
    assert verdict(sweep(values, comparison("greater", measure="epoch_seconds"))).caution == ""


def test_none_is_the_fastest_where_the_stacks_are_of_several_sizes() -> None:
    values = [(SMALL, ends(0.9, 3, 4.0)), (LARGE, ends(0.9, 1)), (configuration(512), ends(0.9, 2))]
    found = recommended(sweep(values))
    assert found.configuration is not None
    assert "cannot be compared" in found.sentence
    assert "shortest" not in found.sentence
    assert "alone, in stacks of 2 and in stacks of 3" in found.sentence
    alike = recommended(sweep([(SMALL, ends(0.9, 3, 4.0)), (LARGE, ends(0.9, 3))]))
    assert alike.configuration == LARGE
    assert "the shortest" in alike.sentence
    assert "Training took 2.01 s for a stack of 3" in alike.sentence


def test_the_recommendation_names_the_stack_beside_its_seconds() -> None:
    told = recommendation(sweep([(SMALL, ends(0.95, 3)), (LARGE, ends(0.5, 1))]))
    assert "Training took 2.01 s" in told
    assert "stack of 3 replicates" in told
