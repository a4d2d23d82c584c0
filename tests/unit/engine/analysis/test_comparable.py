"""Which configurations are not compared by their results, and the words that say why."""

import pytest

from batchscope.engine.analysis.comparable import incomparable
from batchscope.engine.findings.comparison_sides import gather
from batchscope.engine.findings.pareto import pareto
from batchscope.engine.findings.recommendation import recommendation
from batchscope.engine.journal import events as ev
from batchscope.engine.spec import Configuration
from tests.unit.engine.findings_fixtures import Ended, configuration, sweep
from tests.unit.engine.task_fixtures import MAE, ended, of_task

RMSE = (("rmse", "lower"),)


def kinds(**metrics: tuple[tuple[str, str], ...]) -> list[Configuration]:
    return [
        of_task(metrics=of, arguments=(("kind", kind), ("width", 8)))
        for kind, of in metrics.items()
    ]


def told(*of: Configuration) -> str:
    return incomparable(sweep([(each, ()) for each in of]))


def test_arguments_alone_are_what_a_sweep_compares() -> None:
    assert told(*kinds(narrow=MAE, wide=MAE)) == ""
    assert told(of_task(metrics=()), of_task(64, metrics=())) == ""
    assert told(configuration(8), configuration(64)) == ""


def test_a_metric_that_all_have_is_compared() -> None:
    assert told(*kinds(one=MAE, two=(*RMSE, *MAE))) == ""


def test_tasks_without_a_common_metric_are_named_by_their_arguments() -> None:
    text = told(*kinds(absolute=MAE, squared=RMSE, plain=()))
    assert "kind = 'absolute', 'squared' and 'plain'" in text
    assert "losses" in text
    assert "width" not in text


def test_many_values_are_counted() -> None:
    text = told(*kinds(**{f"k{at}": ((f"m{at}", "lower"),) for at in range(7)}))
    assert "'k3' and 3 others" in text
    assert "'k4'" not in text


def test_other_numbers_of_samples_are_not_compared() -> None:
    few, many = (of_task(arguments=(("share", at),), test=test) for at, test in ((1, 20), (2, 40)))
    assert "20, 40" in told(few, many)
    assert "share = 1 and 2" in told(few, many)


def test_a_metric_with_two_directions_is_not_compared() -> None:
    assert "mae" in told(*kinds(one=MAE, two=(("mae", "higher"),)))


def test_other_functions_are_named() -> None:
    text = told(of_task(use="mine:one"), of_task(64, use="mine:two"))
    assert "mine:one and mine:two" in text
    assert "accuracies" not in text


@pytest.mark.parametrize("metrics", [(MAE, RMSE), (MAE, MAE)])
def test_nothing_is_the_best_of_what_cannot_be_compared(
    metrics: tuple[tuple[tuple[str, str], ...], ...],
) -> None:
    one, other = kinds(small=metrics[0], large=metrics[1])
    values = ("test_mae", (0.1, 0.11, 0.1)), (f"test_{metrics[1][0][0]}", (5.0, 5.1, 5.0))
    state = sweep([(one, ended(*values[0])), (other, ended(*values[1]))])
    alike = metrics[0] == metrics[1]
    text = recommendation(state)
    assert text.startswith("Use “8, kind small" if alike else "No clear winner")
    assert bool(pareto(state)) is alike


def test_a_claim_over_tasks_of_which_one_lacks_the_measure_says_it_once() -> None:
    named = kinds(absolute=MAE, squared=RMSE)
    state = sweep(
        [(named[0], ended("test_mae", (0.1, 0.2, 0.3))), (named[1], ended("test_rmse", (1.0,) * 3))]
    )
    side = gather(state, "test_mae", named)
    assert "3 of 6 trials have no test_mae" in side.lack()
    assert side.omissions() == []
    assert len(gather(state, "test_mae", named[:1]).values) == 3


@pytest.mark.parametrize(("better", "where"), [("lower", "above"), ("higher", "below")])
def test_a_training_that_diverged_is_worse_in_the_direction_of_the_metric(
    better: str, where: str
) -> None:
    of = of_task(metrics=(("mae", better),))
    state = sweep([(of, [*ended("test_mae", (0.1, 0.2)), Ended(status="diverged")])])
    assert of.settings.task
    state.apply(
        ev.DataReady(
            name=of.settings.data.name,
            train=80,
            test=20,
            shape=(0, 0, 0),
            digest="d",
            task=of.settings.task.facts,
        )
    )
    assert gather(state, "test_mae", [of]).unknown == {where}
