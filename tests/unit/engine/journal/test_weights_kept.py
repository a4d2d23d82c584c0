"""What the fold knows of final weights that were kept."""

import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from tests.unit.state_fixtures import ONE, folded, started, trial_ended


def kept(attempt: int = 1, reason: str = "") -> ev.WeightsKept:
    return ev.WeightsKept(trial=ONE, attempt=attempt, bytes=8, digest="ab", reason=reason)


def test_they_belong_to_the_attempt_that_finished() -> None:
    state = folded(started(ONE), kept(), started(ONE, 2), kept(1))
    assert state.trials[ONE].weights is None, "another attempt has begun"
    state.fold([kept(2), trial_ended(ONE, "finished", 2)])
    assert state.trials[ONE].weights == kept(2)


def test_a_loss_is_a_warning_and_no_loss_is_not_said() -> None:
    quiet, loud = folded(started(ONE), kept()), folded(started(ONE), kept(reason="No space left"))
    assert quiet.said == folded(started(ONE)).said
    line = loud.log[-1]
    assert line.level == "warning"
    assert line.text.startswith(f"{ONE}: ")
    assert "No space left" in line.text
    assert loud.trials[ONE].status == "running", "its training is not lost"


@pytest.mark.parametrize("reason", ["", "No space left"])
def test_a_journal_has_them_as_they_were(reason: str) -> None:
    event = kept(reason=reason)
    assert journal.decode(journal.encode(event)) == event


def test_without_the_event_there_are_none() -> None:
    assert folded(started(ONE), trial_ended(ONE, "finished")).trials[ONE].weights is None
