"""What the replicates of a stack have in common is one measurement, however many they are."""

import math

import pytest

from engine.events import Planned
from engine.findings.pareto import pareto
from engine.findings.recommendation import NO_FASTEST, recommendation
from engine.findings.sides import ONE_CLOCK, gather
from engine.findings.summary import bars, figures, mean_of
from engine.plan import for_members, make_plan
from engine.shared_times import COPIED, TIMED
from engine.spec import Configuration, trials_of
from engine.state import SweepState
from tests.unit.findings_fixtures import Ended, comparison, configuration, sweep, trend, verdict
from tests.unit.test_shared_times import LARGE, SMALL, ends


def together(state: SweepState, of: Configuration, *sizes: int) -> SweepState:
    """Have the replicates of a configuration be planned as stacks of these sizes."""
    left = list(trials_of(of))
    for size in sizes:
        members, left = left[:size], left[size:]
        plan = for_members(make_plan(members[0], 100, 1), members)
        state.apply(Planned(plan=plan))
    return state


def timed(small: tuple[int, ...], large: tuple[int, ...], measure: str) -> SweepState:
    """8 in stacks of these sizes takes twice as long as 64 in those; accuracies are alike."""
    values = [(SMALL, ends(0.9, max(small), 4.0)), (LARGE, ends(0.9, max(large)))]
    state = sweep(values, comparison("greater", measure=measure))
    return together(together(state, SMALL, *small), LARGE, *large)


@pytest.mark.parametrize("measure", COPIED)
def test_one_stack_is_one_value_and_nothing_is_judged_by_it(measure: str) -> None:
    state = timed((3,), (3,), measure)
    judged = verdict(state)
    assert (judged.verdict, judged.n, judged.low) == ("undetermined", 1, None)
    assert judged.reason.count(ONE_CLOCK) == 2
    mean = mean_of(state, SMALL.id, measure)
    assert mean is not None
    assert (mean.n, mean.low, mean.high) == (1, None, None)


def test_each_stack_counts_once() -> None:
    state = timed((2, 1), (1, 1, 1), "epoch_seconds")
    assert list(gather(state, "epoch_seconds", [SMALL]).values) == [0, 2]
    assert list(gather(state, "epoch_seconds", [LARGE]).values) == [0, 1, 2]
    judged = verdict(state)
    assert (judged.verdict, judged.n) == ("supported", 2)
    assert judged.effect == pytest.approx(2.0)


def test_what_is_not_of_the_clock_has_a_value_of_every_seed() -> None:
    state = timed((3,), (3,), "test_accuracy")
    for measure in ("test_accuracy", "steps", "seconds_to_target"):
        assert measure not in COPIED
    assert set(TIMED) - set(COPIED) == {"seconds_to_target"}
    assert len(gather(state, "test_accuracy", [SMALL]).values) == 3


def test_a_trend_of_one_stack_a_size_says_what_would_help() -> None:
    values = [(SMALL, ends(0.9, 3, 4.0)), (LARGE, ends(0.9, 3))]
    state = sweep(values, trend("decreasing", "epoch_seconds"))
    judged = verdict(together(together(state, SMALL, 3), LARGE, 3))
    assert judged.verdict == "undetermined"
    assert 'run.stack = "never" gives one a seed' in judged.reason


def test_no_fastest_among_stacks_of_different_sizes() -> None:
    mixed = recommendation(timed((3,), (1, 1, 1), "test_accuracy"))
    assert NO_FASTEST in mixed
    assert "is the fastest:" not in mixed
    assert "is the fastest:" in recommendation(timed((3,), (3,), "test_accuracy"))


def test_a_front_for_each_size_of_a_stack() -> None:
    """64 is faster at the same accuracy, but alone; 8 was timed with its replicates."""
    apart = {point.batch_size: point for point in pareto(timed((3,), (1, 1, 1), "test_accuracy"))}
    assert [apart[8].front, apart[64].front] == [True, True]
    alike = {point.batch_size: point for point in pareto(timed((3,), (3,), "test_accuracy"))}
    assert [alike[8].front, alike[64].front] == [False, True]


def test_times_are_set_beside_those_of_as_many_replicates() -> None:
    alike, mixed = (timed((3,), large, "test_accuracy") for large in ((3,), (1, 1, 1)))
    assert bars(alike, "epoch_seconds")[LARGE.id].normalized == pytest.approx(0.5)
    assert bars(mixed, "epoch_seconds")[LARGE.id].normalized is None
    for state, ratio in ((alike, 4.0 / 2.0), (mixed, None)):
        ratios = {each.batch_size: each.ratios for each in figures(state)}[64]
        found = ratios.get("epoch_seconds")
        assert (found is None) == (ratio is None)
        assert ratio is None or math.isclose(found or 0.0, ratio)


def test_a_target_that_some_seeds_missed_is_not_called_unfinished() -> None:
    of = configuration(8)
    state = sweep([(of, [Ended(0.9), Ended(0.9), Ended(0.9)])])
    side = gather(state, "steps_to_target", [of])
    assert side.lack() == "8: no seed has a value of steps_to_target"
