"""What a person writes wrong in `Task(…)` is named by its argument."""

import copy
import dataclasses
from typing import Any

import pytest

from batchscope.engine.task import Task, TaskProblem

GIVEN: dict[str, Any] = {"model": 1, "train": 2, "loss": len}


@pytest.mark.parametrize(
    ("unnamed", "named", "words"),
    [
        ((1, 2), {"loss": len}, ("by name", "model=")),
        ((), {**GIVEN, "metric": {}}, ("metric=", "'metrics'")),
        ((), {**GIVEN, "optimiser": len}, ("optimiser=", "'optimizer'")),
    ],
)
def test_an_argument_that_does_not_exist_is_named(
    unnamed: tuple[Any, ...], named: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(TaskProblem) as caught:
        Task(*unnamed, **named)
    assert all(word in str(caught.value) for word in words)


def test_a_task_can_be_copied_and_changed() -> None:
    task = Task(**GIVEN)
    assert copy.copy(task) == task == copy.deepcopy(task)
    assert dataclasses.replace(task, train=3).train == 3
