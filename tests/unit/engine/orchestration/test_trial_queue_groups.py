"""Replicates that are handed out, stored and counted as one group."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis.time_estimate import remaining, trial_seconds
from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.trial_queue import Group, TrialQueue
from batchscope.engine.planning.plan import Plan, for_members, make_plan, reusable
from batchscope.engine.planning.stacking import StackTiming
from batchscope.engine.spec import Memory, Run, trials_of
from tests.unit.engine.conductor_fixtures import DATA, RAW, House
from tests.unit.training_fixtures import (
    TRAIN_SIZE,
    conductor,
    configuration,
    ended,
    opened,
    progress,
    started,
    worker,
)

STACKED: dict[str, Any] = {**RAW, "seeds": 3, "run": {}}
OF = configuration(64, seeds=3)
TRIALS = trials_of(OF)
NAMES = [trial.id for trial in TRIALS]
PLAN = for_members(make_plan(TRIALS[0], TRAIN_SIZE, 1), TRIALS)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, STACKED)
    yield made
    made.ledger.close()


def names(group: Group | None) -> list[str]:
    return [trial.id for trial in group.trials] if group else []


def planned(house: House, group: Group, *sizes: int) -> list[Plan]:
    """Record plans for a group without plans, as stacks of these sizes."""
    made, left = [], list(group.trials)
    for size in sizes:
        members, left = left[:size], left[size:]
        made.append(for_members(make_plan(members[0], 1437, 1), members))
        house.ledger.heard(ev.Planned(plan=made[-1]))
    return made


# ---- plans


def test_a_group_has_the_name_of_its_first_member() -> None:
    assert (PLAN.group, PLAN.members) == ("b64-s0+2", tuple(NAMES))
    alone = for_members(PLAN, TRIALS[1:2])
    assert (alone.group, alone.members) == ("b64-s1", ("b64-s1",))


@pytest.mark.parametrize(
    ("run", "again"),
    [
        (Run(), True),
        (Run(stack=3), True),
        (Run(stack=5), True),
        (Run(stack=2), False),
        (Run(stack="never"), False),
        (Run(timing="alone"), False),
    ],
)
def test_a_recorded_group_is_used_again_if_possible(run: Run, again: bool) -> None:
    members = [replace(t, settings=replace(t.settings, run=run)) for t in TRIALS]
    assert reusable([PLAN], members, TRAIN_SIZE) == (PLAN if again else None)


def test_a_recorded_group_needs_all_its_members_in_order() -> None:
    assert reusable([PLAN], TRIALS[:2], TRAIN_SIZE) is None
    assert reusable([PLAN], [*TRIALS[1:], TRIALS[0]], TRAIN_SIZE) is None
    other = replace(TRIALS[2], settings=replace(TRIALS[2].settings, memory=Memory(limit=9)))
    assert reusable([PLAN], [*TRIALS[:2], other], TRAIN_SIZE) is None


# ---- the queue


def test_replicates_without_plans_are_one_group(house: House) -> None:
    assert house.rest() == ["b8-s0 b8-s1 b8-s2", "b64-s0 b64-s1 b64-s2"]


def test_after_planning_the_first_stack_is_taken_and_the_rest_waits(house: House) -> None:
    group = house.take()
    planned(house, group, 2, 1)
    first = house.queue.settled(group)
    assert first is not None
    assert (first.key, names(first)) == ("b8-s0+1", ["b8-s0", "b8-s1"])
    assert house.queue.is_out("b8-s1")
    assert not house.queue.is_out("b8-s2")
    assert house.rest() == ["b64-s0 b64-s1 b64-s2", "b8-s2"], "the first seed of all comes first"


def test_members_of_a_group_are_those_of_its_plan(house: House) -> None:
    group = house.take()
    (plan,) = planned(house, group, 3)
    house.ledger.heard(ev.TrialEnded(trial="b8-s1", attempt=0, status="skipped"))
    first = house.queue.settled(group)
    assert names(first) == ["b8-s0", "b8-s2"]
    assert [trial.id for trial in house.queue.members(plan)] == ["b8-s0", "b8-s1", "b8-s2"]


def test_an_unplanned_group_waits_again_without_ended_trials(house: House) -> None:
    group = house.take()
    house.ledger.heard(ev.TrialEnded(trial="b8-s0", attempt=1, status="failed"))
    assert house.queue.settled(group) is None
    assert house.rest() == ["b64-s0 b64-s1 b64-s2", "b8-s1 b8-s2"], "its first seed is later now"


def test_a_group_that_is_put_back_comes_first_without_ended_trials(house: House) -> None:
    group = house.take()
    planned(house, group, 3)
    first = house.queue.settled(group)
    assert first is not None
    house.ledger.heard(ev.TrialEnded(trial="b8-s1", attempt=1, status="diverged"))
    house.queue.put_back(first)
    assert house.rest() == ["b8-s0 b8-s2", "b64-s0 b64-s1 b64-s2"]


def in_hand(house: House) -> Group:
    """A group of three that a worker has."""
    group = house.take()
    planned(house, group, 3)
    first = house.queue.settled(group)
    assert first is not None
    return first


def test_a_failed_trial_waits_while_a_worker_has_its_group(house: House) -> None:
    first = in_hand(house)
    house.ledger.heard(ev.TrialEnded(trial="b8-s1", attempt=1, status="failed"))
    house.ledger.write(ev.TrialRetried(trial="b8-s1", attempt=1))
    house.queue.line_up()
    assert house.rest() == ["b64-s0 b64-s1 b64-s2"]
    for name in ("b8-s0", "b8-s2"):
        house.ledger.heard(ev.TrialEnded(trial=name, attempt=1, status="finished"))
    house.queue.give_back(first)
    assert house.rest() == ["b8-s1"]


def test_a_skipped_trial_is_retried_in_its_own_job(house: House) -> None:
    """The checkpoint of its group does not hold it; its own job may start at once."""
    first = in_hand(house)
    house.ledger.heard(ev.TrialEnded(trial="b8-s1", attempt=1, status="skipped"))
    house.ledger.write(ev.TrialRetried(trial="b8-s1", attempt=1))
    house.queue.line_up()
    assert not house.queue.is_out("b8-s1")
    again = house.queue.take(lambda key: key == "b8-s1")
    assert again is not None
    assert (names(again), again.plan) == (["b8-s1"], first.plan)
    house.queue.put_back(first)
    assert house.queue.is_out("b8-s1"), "by whoever has it now"
    assert names(house.take()) == ["b8-s0", "b8-s2"]


def test_recorded_groups_form_again(tmp_path: Path) -> None:
    recorded = [for_members(make_plan(t[0], TRAIN_SIZE, 1), t) for t in (TRIALS[:2], TRIALS[2:])]
    raw = {**STACKED, "grid": {"batch_size": [64]}}
    made = parse_preset(raw, "made-up", "made-up.toml")
    members = trials_of(made.configurations[0])
    plans = [
        for_members(make_plan(members[0], 1437, 1), members[:2]),
        for_members(make_plan(members[2], 1437, 1), members[2:]),
    ]
    assert [plan.members for plan in plans] == [plan.members for plan in recorded]
    house = House(tmp_path, raw)
    queue = TrialQueue(replace(made, plans=tuple(plans)), house.ledger)
    queue.fill(DATA)
    house.ledger.close()
    assert [names(queue.take()) for _ in range(2)] == [["b64-s0", "b64-s1"], ["b64-s2"]]
    assert {plan.group for plan in house.ledger.state.plans.values()} == {"b64-s0+1", "b64-s2"}


def test_a_timed_stack_is_expected_to_take_less_time(house: House) -> None:
    alone = house.queue.seconds(house.take())
    stacks = (StackTiming(1, 0.1), StackTiming(3, 0.15))
    timed = ev.Paced(
        trial="b8-s0",
        worker=0,
        device_name="cpu",
        batch_size=8,
        micro_batch_size=8,
        threads=1,
        asked=3,
        stacks=stacks,
        seconds=0.1,
    )
    house.ledger.heard(timed)
    house.queue.line_up()
    group = Group("b8-s0", tuple(house.queue.members(_plan_of(house, "b8"))), None)
    assert house.queue.seconds(group) == pytest.approx(alone / 2)


def _plan_of(house: House, configuration_: str) -> Plan:
    members = trials_of(house.ledger.state.configurations[configuration_])
    return for_members(make_plan(members[0], 1437, 1), members)


# ---- who is apart from its group


def fold(*events: ev.AnyEvent) -> SweepState:
    return SweepState().fold([*opened([OF]), ev.Planned(plan=PLAN), *events])


def apart(state: SweepState) -> list[str]:
    return [name for name in NAMES if state.job_of(name) == name]


def test_replicates_are_one_job_until_one_is_skipped() -> None:
    assert {fold().job_of(name) for name in NAMES} == {"b64-s0+2"}
    state = fold(*(started(OF, seed) for seed in range(3)), ended(OF, 1, status="skipped"))
    assert apart(state) == ["b64-s1"]
    assert state.members_of("b64-s0+2", "b64-s1") == ["b64-s0", "b64-s2"]


@pytest.mark.parametrize("status", ["failed", "stopped"])
def test_an_unfinished_trial_continues_with_its_group_unless_left_behind(
    status: ev.TrialStatus,
) -> None:
    began = [started(OF, seed) for seed in range(3)]
    ends = [ended(OF, seed, status=status) for seed in range(3)]
    state = fold(*began, *ends)
    assert apart(state) == []
    state.apply(ev.TrialRetried(trial="b64-s0", attempt=1))
    state.apply(ev.TrialRetried(trial="b64-s2", attempt=1))
    assert apart(state) == []
    for seed in (0, 2):
        state.apply(started(OF, seed, attempt=2))
    assert apart(state) == ["b64-s1"]


def test_a_new_conductor_continues_all_together() -> None:
    began = [started(OF, seed) for seed in range(3)]
    state = fold(*began, *(ended(OF, seed, status="stopped") for seed in range(3)))
    state.apply(conductor(at=5.0))
    for seed in range(3):
        state.apply(started(OF, seed, attempt=2))
    assert apart(state) == []


def test_a_trial_skipped_before_planning_belongs_to_its_group() -> None:
    state = SweepState().fold([*opened([OF]), ended(OF, 1, status="skipped", attempt=0)])
    state.apply(ev.TrialRetried(trial="b64-s1", attempt=0))
    state.apply(ev.Planned(plan=PLAN))
    assert apart(state) == []


# ---- checkpoints


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path)
    for event in [*opened([OF]), ev.Planned(plan=PLAN), *(started(OF, seed) for seed in range(3))]:
        made.heard(event)
    yield made
    made.close()


def test_the_checkpoint_is_kept_until_all_are_done(ledger: JournalWriter) -> None:
    folder = ledger.checkpoints_of(NAMES[0])
    assert {ledger.checkpoints_of(name) for name in NAMES} == {folder}
    checkpoints.write(folder, 1, 7, b"payload")
    assert ledger.kept_steps("b64-s0+2") == 7
    ledger.heard(ended(OF, 0))
    ledger.heard(ended(OF, 1, status="diverged"))
    assert folder.exists()
    ledger.heard(ended(OF, 2, status="failed"))
    assert folder.exists()
    ledger.write(ev.TrialRetried(trial=NAMES[2], attempt=1))
    ledger.heard(started(OF, 2, attempt=2))
    ledger.heard(ended(OF, 2, attempt=2))
    assert not folder.exists()


def test_skipping_the_last_trial_removes_the_checkpoint(ledger: JournalWriter) -> None:
    folder = ledger.checkpoints_of(NAMES[0])
    checkpoints.write(folder, 1, 7, b"payload")
    for seed in (0, 1):
        ledger.heard(ended(OF, seed))
    ledger.heard(ended(OF, 2, status="skipped"))
    assert not folder.exists()
    ledger.write(ev.TrialRetried(trial=NAMES[2], attempt=1))
    own = ledger.checkpoints_of(NAMES[2])
    assert own != folder
    checkpoints.write(own, 2, 7, b"payload")
    ledger.heard(started(OF, 2, attempt=2))
    ledger.heard(ended(OF, 2, attempt=2))
    assert not own.exists()


def test_an_attempt_is_later_than_the_attempts_of_all_members(ledger: JournalWriter) -> None:
    assert ledger.next_attempt("b64-s0+2", *NAMES) == 2
    ledger.heard(started(OF, 1, attempt=4))
    assert ledger.next_attempt("b64-s0+2", *NAMES) == 5
    checkpoints.write(ledger.checkpoints_of(NAMES[0]), 9, 7, b"payload")
    assert ledger.next_attempt("b64-s0+2", NAMES[0]) == 10


# ---- the time left


def stacked(seed: int, at: float = 0.0) -> ev.AnyEvent:
    event = started(OF, seed, at=at)
    assert isinstance(event, ev.TrialStarted)
    return replace(event, stacked=3)


def test_the_remaining_time_of_a_stack_is_that_of_one_member() -> None:
    """92 steps; half of them took ten seconds for all three."""
    begun = [worker(0), *(stacked(seed) for seed in range(3))]
    state = fold(*begun, *(progress(OF, seed, at=10.0, steps=46, seconds=9.0) for seed in range(3)))
    found = remaining(state, 10.0)
    assert found is not None
    assert found.seconds == pytest.approx(10.0)


def test_a_waiting_stack_takes_as_long_as_one_that_ran() -> None:
    more = configuration(64, name="more", seeds=3)
    plan = for_members(make_plan(trials_of(more)[0], TRAIN_SIZE, 1), trials_of(more))
    state = SweepState().fold(
        [
            *(*opened([OF, more]), worker(0), ev.Planned(plan=PLAN), ev.Planned(plan=plan)),
            *(stacked(seed) for seed in range(3)),
            *(ended(OF, seed, at=12.0) for seed in range(3)),
        ]
    )
    found = remaining(state, 12.0)
    assert found is not None
    assert found.seconds == pytest.approx(12.0)


def test_each_replicate_counts_before_anything_ran() -> None:
    found = remaining(fold(worker(0)), 0.0)
    assert found is not None
    assert found.seconds == pytest.approx(3 * trial_seconds(OF.settings, TRAIN_SIZE))
