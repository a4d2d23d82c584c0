"""The highest learning rate that a trial used: as recorded, or from schedule and steps."""

from typing import Any

import msgspec
import pytest

from batchscope.engine.analysis.tables import trial_rows
from batchscope.engine.findings.recommendation import advice
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.reached_rate import lr_reached, short_of_all, short_of_rate
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.spec import Configuration, Scaling, Schedule
from tests.unit.engine.findings_fixtures import Ended, configuration, record, sweep


def warming(warmup: float, schedule: Schedule | None = None, **train: Any) -> Configuration:
    """Batches of 8 of 80 images: ten steps an epoch."""
    of = configuration(8, seeds=1, **train)
    settings = msgspec.structs.replace(
        of.settings,
        scaling=Scaling(warmup_epochs=warmup),
        schedule=schedule or Schedule(),
    )
    return msgspec.structs.replace(of, settings=settings)


def ended(of: Configuration, **figures: Any) -> SweepState:
    return sweep([(of, [Ended(records=(record(0.9, **figures),))])])


def test_what_a_training_recorded() -> None:
    state = ended(warming(1.5), highest_lr=0.04)
    (trial,) = state.replicates("b8")
    assert lr_reached(state, trial) == 0.04
    assert value_of(state, trial, "lr_reached") == 0.04
    (row,) = trial_rows(state)
    assert (row["lr"], row["lr_reached"]) == (0.1, 0.04)


@pytest.mark.parametrize(("steps", "expected"), [(10, 0.1 * 10 / 15), (15, 0.1), (20, 0.1)])
def test_a_journal_without_it(steps: int, expected: float) -> None:
    state = ended(warming(1.5), steps=steps)
    (trial,) = state.replicates("b8")
    assert lr_reached(state, trial) == pytest.approx(expected)


def test_a_journal_without_it_and_a_budget_in_seconds() -> None:
    state = ended(warming(1.5, epochs=None, seconds=5.0))
    (trial,) = state.replicates("b8")
    assert lr_reached(state, trial) is None
    assert short_of_rate(state, trial) == ""


def test_it_is_told_where_the_training_ended_in_the_warmup() -> None:
    state = ended(warming(1.5), steps=10)
    (trial,) = state.replicates("b8")
    assert short_of_all(state, "b8") == pytest.approx(0.1 * 10 / 15)
    told = short_of_rate(state, trial)
    assert "after 10 steps" in told
    assert "0.06667, not 0.1" in told
    assert "scaling.warmup_epochs = 1.5" in told


def test_it_is_not_told_twice_where_the_settings_determine_it() -> None:
    """Under a cosine no step has the full rate, which was a warning at the start."""
    state = ended(warming(1, Schedule(kind="cosine")), steps=20, samples=160, epoch=2)
    (trial,) = state.replicates("b8")
    assert short_of_all(state, "b8") is not None
    assert short_of_rate(state, trial) == ""


def test_nothing_is_said_without_a_warmup() -> None:
    state = ended(warming(0), steps=1)
    (trial,) = state.replicates("b8")
    assert short_of_rate(state, trial) == ""
    assert short_of_all(state, "b8") is None


@pytest.mark.parametrize(("highest", "said"), [(0.04, True), (0.1, False)])
def test_the_recommendation_says_so(highest: float, said: bool) -> None:
    def ends(*accuracies: float) -> list[Ended]:
        return [Ended(records=(record(each, highest_lr=highest),)) for each in accuracies]

    best = msgspec.structs.replace(warming(1.5), seeds=(0, 1, 2))
    state = sweep([(best, ends(0.9, 0.91, 0.92)), (configuration(16), ends(0.5, 0.51, 0.5))])
    text = advice(state)
    assert "at a learning rate of 0.1" in text
    assert ("reached 0.04" in text) == said
