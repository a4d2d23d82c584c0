"""A training ends at a target on any metric, in the direction in which that metric is better."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.journal.events import SweepOpened
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.registry import value_of
from batchscope.engine.schedule.target import target_of
from batchscope.engine.spec import Configuration, Train, trials_of
from batchscope.engine.task import Task
from batchscope.engine.task_table import TaskFacts
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import (
    regression_task,
    squared,
    task_trial,
)
from tests.unit.training_fixtures import CPU, Run

FACTS = TaskFacts(train=40, test=7, metrics=(("mse", "lower"), ("close", "higher")))
BUDGET: dict[str, Any] = {"batch_size": 4, "lr": 0.02, "epochs": 30}


def close(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
    x, y = batch
    return ((model(x).squeeze(1) - y).abs() < 1.0).sum(), len(y)


def task() -> Task:
    plain = regression_task()
    return Task(
        model=plain.model,
        train=plain.train,
        test=plain.test,
        loss=squared,
        metrics={"mse": squared, "close": close},
        better={"mse": "lower"},
    )


def run(**target: Any) -> Run:
    trial = task_trial(Train(**BUDGET, **target), facts=FACTS)
    return Run(trial, TaskDataset(task(), 0, CPU))


def known(record: Any, metric: str) -> float:
    value: float = record.test_loss if metric == "loss" else record.metrics[f"test_{metric}"]
    return value


@pytest.mark.parametrize(
    ("metric", "value"), [("mse", 0.5), ("close", 0.8), ("loss", 0.5)], ids=str
)
def test_it_ends_after_the_first_epoch_that_reaches_the_target(metric: str, value: float) -> None:
    whole = run().records
    sign = -1.0 if metric == "close" else 1.0
    first = next(each.epoch for each in whole if sign * known(each, metric) <= sign * value)
    assert 1 < first < len(whole)
    ended = run(target_metric=metric, target_value=value)
    assert ended.records[-1].epoch == first
    assert ended.ended.reason == f"reached a test {metric} of {value:g}"


def test_a_loss_is_a_metric_like_any_other() -> None:
    one, other = run(target_metric="loss", target_value=0.5), run(target_loss=0.5)
    assert one.records[-1].steps == other.records[-1].steps
    assert torch.equal(one.flat.weights, other.flat.weights)
    assert one.ended.reason == other.ended.reason


def test_it_is_checked_within_an_epoch_too() -> None:
    whole = run(target_metric="mse", target_value=0.5)
    often = run(target_metric="mse", target_value=0.5, target_checks=10)
    assert often.records[-1].steps < whole.records[-1].steps
    assert known(often.records[-1], "mse") <= 0.5


def test_the_direction_of_a_metric_is_that_of_the_task() -> None:
    train = Train(**BUDGET, target_metric="mse", target_value=0.5)
    assert target_of(task_trial(train, facts=FACTS).settings) == ("mse", 0.5, "lower")
    train = Train(**BUDGET, target_metric="close", target_value=0.5)
    assert target_of(task_trial(train, facts=FACTS).settings) == ("close", 0.5, "higher")


@pytest.mark.parametrize("value", [0.5, 0.0])
def test_the_steps_to_a_target_are_those_of_the_training(value: float) -> None:
    train = Train(**BUDGET, target_metric="mse", target_value=value)
    settings = task_trial(train, facts=FACTS).settings
    of = Configuration(id="b4", label="4", settings=settings, seeds=(0,))
    found = Run(trials_of(of)[0], TaskDataset(task(), 0, CPU))
    opened = SweepOpened(id="s", preset="p", title="", question="", source="", configurations=(of,))
    state = SweepState().fold([opened, *found.events])
    steps = value_of(state, state.trials["b4-s0"], "steps_to_target")
    assert steps == (found.records[-1].steps if value else None)
