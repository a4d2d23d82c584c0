"""What a sweep does while no trial trains, and whether time is left to be estimated."""

from typing import Literal

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import trials_of
from batchscope.tui.theme.palette import BARE
from batchscope.tui.viewmodel.activity import activity
from batchscope.tui.viewmodel.journal_follower import JournalUpdate
from batchscope.tui.viewmodel.view import View
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    PRESET,
    THREE,
    conductor,
    folded,
    opened,
    progress,
    started,
    sweep_ended,
    trial_ended,
    worker,
)

DATA = ev.DataReady(name="digits", train=1437, test=360, shape=(1, 8, 8), digest="d")
PLANS = [
    ev.Planned(plan=make_plan(trial, 1437, 1))
    for configuration in PRESET.configurations
    for trial in trials_of(configuration)
]


def measuring(
    what: Literal["workers", "micro-batches", "stacks"], trial: str = ONE
) -> ev.Measuring:
    return ev.Measuring(what=what, trial=trial)


def test_from_the_data_to_the_first_step() -> None:
    assert activity(SweepState()) == "Reading the experiment"
    assert activity(folded()) == "Preparing the data of digits"
    fetched = ev.DataProgress(name="mnist", received=1, total=2)
    assert activity(folded(fetched)) == "Downloading mnist"
    assert activity(folded(DATA)) == "Starting the workers"
    survey = measuring("workers", THREE)
    assert activity(folded(DATA, worker(), survey)).endswith("workers: timing steps of b64")
    first = measuring("micro-batches")
    assert activity(folded(DATA, worker(), survey, first)) == "Measuring micro-batches of b8"
    both = first, measuring("micro-batches", THREE)
    assert activity(folded(DATA, worker(), *both)) == "Measuring micro-batches of b8, b64"
    assert "stacks" in activity(folded(DATA, worker(), *both, measuring("stacks")))
    assert "b64" in activity(folded(DATA, worker(), *both, PLANS[0]))
    assert activity(folded(DATA, worker(), survey, PLANS[0])) == "Planning the trials"
    assert activity(folded(DATA, worker(), first, started(FOUR, size=64))) == ""


@pytest.mark.parametrize(
    "after",
    [
        [PLANS[0]],
        [trial_ended(ONE, "failed")],
        [conductor(at=9.0), DATA, worker()],
        [sweep_ended("stopped", 130)],
    ],
)
def test_a_measurement_ends(after: list[ev.AnyEvent]) -> None:
    state = folded(DATA, worker(), measuring("micro-batches"), *after)
    assert not state.measuring
    assert "micro" not in activity(state)


@pytest.mark.parametrize(
    ("events", "estimated"),
    [
        ([DATA], False),
        ([DATA, worker()], False),
        ([DATA, worker(), measuring("workers")], False),
        ([DATA, worker(), started(ONE), progress(ONE, 1, 50)], True),
        ([DATA, worker(), started(ONE), trial_ended(ONE, "finished")], True),
        (
            [
                *(DATA, worker(), started(ONE), trial_ended(ONE, "finished")),
                measuring("micro-batches", THREE),
            ],
            False,
        ),
    ],
)
def test_time_left_is_shown_only_while_something_is_trained(
    events: list[ev.AnyEvent], estimated: bool
) -> None:
    view = View(lambda: 60.0, BARE)
    state = folded()
    view.adopt(state, JournalUpdate([opened(), *events], alive=True, damaged=0, problem=""))
    assert (view.remaining() is not None) == estimated
