"""Events in any order, of any sweep, with any values: the fold never raises."""

from typing import Any, get_args

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from tests.unit.engine.journal.test_file import structs
from tests.unit.training_fixtures import configuration, ended, epochs, opened, record, started

OF = configuration(32)
WHOLE: list[ev.AnyEvent] = [
    *opened([OF]),
    started(OF),
    epochs(OF, record(1, steps=45), record(2, steps=90)),
    ended(OF, at=9.0),
    ev.SweepEnded(state="finished", seconds=1.0, trials=1, finished=1, failed=0),
]
TRIAL = f"{OF.id}-s0"


def named(event: ev.AnyEvent) -> ev.AnyEvent:
    """Let an event be about the trial of the sweep, so that it is not ignored."""
    if "trial" in type(event).__struct_fields__:
        return msgspec.structs.replace(event, trial=TRIAL)
    return event


KINDS: tuple[type[Any], ...] = get_args(ev.AnyEvent)
ANY = st.one_of(*map(structs, KINDS))
FUZZED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@FUZZED
@given(events=st.lists(ANY | ANY.map(named) | st.sampled_from(WHOLE), max_size=12))
def test_any_events_are_folded(events: list[ev.AnyEvent]) -> None:
    state = SweepState().fold(events)
    state.phase(False)
    state = SweepState().fold([WHOLE[0], *events])
    state.phase(True)


@FUZZED
@given(order=st.permutations(WHOLE), double=st.sampled_from(WHOLE))
def test_reordered_and_doubled_events_are_folded(
    order: list[ev.AnyEvent], double: ev.AnyEvent
) -> None:
    SweepState().fold([*order, double])


def test_an_event_about_an_unknown_trial_is_counted() -> None:
    state = SweepState().fold(WHOLE)
    before = state.log.copy()
    state.fold([ev.TrialEnded(trial="other-s0", attempt=1, status="failed")])
    assert (state.strange, state.lost, state.log) == (1, 1, before)


def test_the_lines_of_another_sweep_are_counted_and_ignored() -> None:
    other = [msgspec.structs.replace(WHOLE[0], id="another"), *WHOLE[1:]]
    state = SweepState().fold([*WHOLE, *other])
    assert state.strange == len(other)
    assert state.trials[TRIAL].status == "finished"
    state.fold([WHOLE[0], ev.Note(text="again")])
    assert (state.strange, state.log[-1].text) == (len(other), "again")


def test_counts_that_fit_into_no_column_are_left_out() -> None:
    wrong = ev.NormSlice(first_step=0, count=1, mean=0.0, squares=0.0, first_bin=0, counts=(-1,))
    broken = msgspec.structs.replace(record(3, steps=99), norms=(wrong,))
    before = WHOLE[: WHOLE.index(started(OF)) + 1]
    state = SweepState().fold([*before, epochs(OF, record(1, steps=45))])
    state.fold([epochs(OF, broken)])
    assert (state.strange, len(state.trials[TRIAL].records)) == (1, 1)
    state.fold([epochs(OF, record(2, steps=90))])
    assert [each.epoch for each in state.trials[TRIAL].records] == [1, 2]
