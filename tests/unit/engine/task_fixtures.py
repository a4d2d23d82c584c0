"""Configurations of a person's task, and trials that ended with values of its metrics."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from batchscope.engine.networks.task import TASK
from batchscope.engine.spec import Configuration, Data, Model
from batchscope.engine.task_table import TaskFacts, TaskTable
from tests.unit.engine.findings_fixtures import Ended, configuration

MAE = (("mae", "lower"),)


def of_task(
    size: int = 8,
    metrics: tuple[tuple[str, str], ...] = MAE,
    use: str = "mine:make",
    arguments: tuple[tuple[str, Any], ...] = (),
    **facts: Any,
) -> Configuration:
    """A configuration of a task whose function has been run once."""
    known = TaskFacts(metrics=metrics, **{"train": 80, "test": 20, **facts})
    task = TaskTable(use=use, arguments=arguments, facts=known)
    given = "".join(f", {name} {value}" for name, value in arguments)
    plain = configuration(size, id=f"b{size}{given}", label=f"{size}{given}")
    settings = replace(
        plain.settings, data=Data(name=task.name), model=Model(name=TASK.name), task=task
    )
    return replace(plain, settings=settings)


def ended(metric: str, values: Sequence[float]) -> list[Ended]:
    """Trials with these values of a metric, such as `test_mae`, and twice as large losses."""
    return [
        Ended(
            figures={
                "train_accuracy": None,
                "test_accuracy": None,
                "test_loss": 2 * value,
                "metrics": {metric: value},
            }
        )
        for value in values
    ]
