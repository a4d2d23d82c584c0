"""The reason of a verdict names why a side has too few values."""

import pytest

from batchscope.engine.spec import Configuration
from tests.unit.engine.findings_fixtures import (
    Ended,
    comparison,
    configuration,
    sweep,
    trend,
    verdict,
)

DIVERGED = Ended(0.1, "diverged")


@pytest.mark.parametrize(
    ("reached", "count"),
    [(1, "2 of 3 finished seeds missed"), (0, "no seed reached")],
)
def test_seeds_that_finished_short_of_the_target_are_not_called_unfinished(
    reached: int, count: str
) -> None:
    small, large = (configuration(size, target_accuracy=0.8) for size in (8, 64))
    values = [(small, [0.9] * reached + [0.7] * (3 - reached)), (large, [0.9] * 3)]
    found = verdict(sweep(values, comparison("less", measure="steps_to_target")))
    assert (found.verdict, found.n, found.without_value) == ("undetermined", reached, 3 - reached)
    assert (found.effect, found.p) == (None, None)
    assert found.reason.startswith(f"8: {count}")
    assert "target" in found.reason


def test_a_level_of_which_one_seed_reached_the_target_says_so() -> None:
    seeds = {8: [0.9, 0.9, 0.9], 64: [0.9, 0.9, 0.7], 128: [0.9, 0.7, 0.7]}
    values = [(configuration(size, target_accuracy=0.8), ends) for size, ends in seeds.items()]
    found = verdict(sweep(values, trend("increasing", "samples_to_target")))
    assert "batch_size 128: 2 of 3 finished seeds missed" in found.reason
    assert found.without_value == 3


def test_seeds_that_did_not_finish_are_called_so() -> None:
    values: list[tuple[Configuration, list[float | Ended]]] = [
        (configuration(8), [0.9, DIVERGED, DIVERGED]),
        (configuration(64), [0.9, 0.9, 0.9]),
    ]
    found = verdict(sweep(values, comparison("less")))
    assert found.reason.startswith("8: 1 of 3 seeds")
    assert "target" not in found.reason
