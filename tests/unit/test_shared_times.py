"""Times that replicates of one stack share: wherever one is told, it says so."""

import csv
import io

import pytest

from engine.export import memory_table, tables
from engine.figures import epoch_times
from engine.findings.pareto import pareto
from engine.findings.recommendation import recommendation
from engine.findings.summary import figures
from engine.shared_times import TIMED, stack_caution, stack_mark, stack_note, stacked
from engine.state import SweepState
from tests.unit.findings_fixtures import Ended, comparison, configuration, sweep, trend, verdict
from tui.verdicts import remarks

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
            "×3: 3 replicates trained as one stack; an epoch's time is theirs together",
        ),
        (
            (8, 1, 3),
            "×3, ×8: so many replicates trained as one stack; an epoch's time is theirs together",
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
        ((3, 1), "stacks of 1 and 3 replicates were timed: such times do not compare"),
        ((8, 3, 1), "stacks of 1, 3 and 8 replicates were timed: such times do not compare"),
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
        (tables.TRIAL_COLUMNS, tables.trial_rows(state)),
        (tables.EPOCH_COLUMNS, tables.epoch_rows(state)),
    ):
        assert "stacked" in columns
        read = csv.DictReader(io.StringIO(tables.to_csv(columns, rows)))
        found = {(row["batch_size"], row["seed"]): row["stacked"] for row in read}
        began = {("8", "0"): "3", ("8", "1"): "3", ("8", "2"): "3", ("64", "0"): "1"}
        never = {("64", "1"): "", ("64", "2"): ""} if columns is tables.TRIAL_COLUMNS else {}
        assert found == {**began, **never}
    assert memory_table.MEMORY_COLUMNS[-1] == "stacked"


# ---- verdicts


@pytest.mark.parametrize("measure", TIMED)
def test_a_verdict_about_a_time_says_that_it_was_shared(measure: str) -> None:
    judged = verdict(stacks_of(3, 3, measure=measure))
    assert judged.caution == "each time is that of 3 replicates trained as one stack"


def test_a_verdict_about_times_that_do_not_compare_warns() -> None:
    judged = verdict(stacks_of(1, 3))
    assert judged.verdict == "supported"
    told = "stacks of 1 and 3 replicates were timed: such times do not compare"
    assert judged.caution == told
    assert remarks(judged) == f"timed shared; {told}"


def test_a_trend_of_times_warns_as_well() -> None:
    values = [(SMALL, ends(0.9, 3, 4.0)), (LARGE, ends(0.9, 1))]
    judged = verdict(sweep(values, trend("decreasing", "epoch_seconds")))
    assert judged.caution == "stacks of 1 and 3 replicates were timed: such times do not compare"


def test_other_verdicts_and_lonely_times_need_no_caution() -> None:
    assert verdict(stacks_of(3, 1, measure="test_accuracy")).caution == ""
    assert verdict(stacks_of(1, 1)).caution == ""


def test_a_trial_that_did_not_finish_was_not_timed() -> None:
    values = [
        (SMALL, [*ends(0.9, 1)[:2], Ended(status="diverged", stacked=3)]),
        (LARGE, ends(1, 1)),
    ]
    assert verdict(sweep(values, comparison("greater", measure="epoch_seconds"))).caution == ""


def test_the_recommendation_names_the_stack_beside_its_seconds() -> None:
    told = recommendation(sweep([(SMALL, ends(0.95, 3)), (LARGE, ends(0.5, 1))]))
    assert "2.01 s of training as one stack of 3 replicates, timed shared" in told
