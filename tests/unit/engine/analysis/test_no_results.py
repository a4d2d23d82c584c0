"""Whether a sweep has results, and what is said if it has none."""

from collections.abc import Iterator

import pytest

from batchscope.engine.analysis.no_results import no_results
from batchscope.engine.findings.recommendation import recommendation
from batchscope.engine.journal import events as ev
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    THREE,
    TWO,
    epochs,
    folded,
    started,
    trial_ended,
)

ALL = (ONE, TWO, THREE, FOUR)
LOST: list[ev.TrialStatus] = ["diverged"] * 4
WHY = "the gradient was not finite at or before step 14"


def ended(*statuses: ev.TrialStatus, reason: str = "") -> Iterator[ev.AnyEvent]:
    for trial, status in zip(ALL, statuses, strict=True):
        yield started(trial)
        yield trial_ended(trial, status, reason=reason)


def test_all_diverged_with_the_step_and_what_to_try() -> None:
    state = folded(*ended(*LOST, reason=WHY))
    found = no_results(state)
    assert found is not None
    assert found.short == "all diverged"
    assert f"all 4 trials diverged ({ONE}: {WHY})" in found.text
    assert "--set train.lr=0.01" in found.text, "a tenth of the preset's rate"
    assert found.text in recommendation(state)


@pytest.mark.parametrize(
    ("statuses", "short", "what"),
    [
        (["failed"] * 4, "all failed", "all 4 trials failed"),
        (["skipped"] * 4, "all skipped", "all 4 trials were skipped"),
        (["finished"] * 4, "no figures", "all 4 trials left no figures"),
        (
            ["diverged", "failed", "diverged", "diverged"],
            "no results",
            "of 4 trials 3 diverged, 1 failed",
        ),
    ],
)
def test_other_endings_without_figures(
    statuses: list[ev.TrialStatus], short: str, what: str
) -> None:
    found = no_results(folded(*ended(*statuses)))
    assert found is not None
    assert (found.short, found.what) == (short, what)


def test_a_trial_with_figures_or_one_to_come_is_enough() -> None:
    lost = list(ended(*LOST))
    assert no_results(folded()) is None
    assert no_results(folded(*lost[:6])) is None, "one waits"
    assert no_results(folded(*lost[:7])) is None, "one runs"
    assert no_results(folded(*lost[:7], trial_ended(FOUR, "stopped"))) is None
    with_figures = epochs(FOUR, 1, 1), trial_ended(FOUR, "finished")
    assert no_results(folded(*lost[:7], *with_figures)) is None
