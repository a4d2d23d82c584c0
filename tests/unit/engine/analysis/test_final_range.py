"""The best and the worst mean of a sweep, in the direction of its metric."""

import pytest

from batchscope.engine.analysis.final_range import final_range
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep
from tests.unit.engine.task_fixtures import MAE, ended, of_task


def test_of_included_networks_it_is_the_accuracy() -> None:
    state = sweep([(configuration(8), (0.9, 0.92)), (configuration(64), (0.8, 0.8))])
    found = final_range(state)
    assert found
    assert found.measure == "test_accuracy"
    assert (found.best, found.worst) == pytest.approx((0.91, 0.8))


@pytest.mark.parametrize(("better", "best"), [("lower", 0.2), ("higher", 0.5)])
def test_the_best_of_a_task_depends_on_the_direction(better: str, best: float) -> None:
    metrics = (("mae", better),)
    values = {8: (0.2, 0.2), 32: (0.3, 0.3), 64: (0.5, 0.5)}
    state = sweep(
        [(of_task(size, metrics), ended("test_mae", each)) for size, each in values.items()]
    )
    found = final_range(state)
    assert found
    assert found.measure == "test_mae"
    assert (found.best, found.worst) == pytest.approx((best, 0.7 - best))


def test_there_is_none_without_a_finished_seed_or_of_what_cannot_be_compared() -> None:
    assert final_range(sweep([(of_task(), [Ended(status="failed")])])) is None
    one, other = (
        of_task(metrics=of, arguments=(("kind", kind),))
        for kind, of in (("a", MAE), ("b", (("rmse", "lower"),)))
    )
    state = sweep([(one, ended("test_mae", (0.1,))), (other, ended("test_rmse", (5.0,)))])
    assert final_range(state) is None


def test_the_largest_values_have_a_mean_and_infinite_ones_do_not_count() -> None:
    huge, infinite = ended("test_mae", (1e308, 1e308)), ended("test_mae", (float("inf"), 1e308))
    found = final_range(sweep([(of_task(8), huge), (of_task(64), infinite)]))
    assert found
    assert (found.best, found.worst) == pytest.approx((1e308, 1e308))
