"""Refuses a target that cannot be meant: two of them, half of one, or a metric that is not there.

Which metrics a task has is known once its function has run (`task_facts_check`).
"""

from batchscope.engine.errors import nearest, shown
from batchscope.engine.schedule.target import ACCURACY, KEYS, LOSS, has_target
from batchscope.engine.spec import Settings, Train

STATING = KEYS[:-1]
"""The keys of which a preset may give one."""
WANTED = "train.target_accuracy or train.target_loss, or train.target_metric"
PARTS = ("train_", "test_", "validation_")


def target_problem(settings: Settings) -> str | None:
    """Return why the target is invalid, as `key: reason`; None if it is valid or not set."""
    train = settings.train
    names = [key.split(".")[1] for key in STATING]
    given = [name for name in names if getattr(train, name) is not None]
    if len(given) > 1:
        rest = "one" if len(given) == 2 else "all but one"
        return f"train: expected one target, got {' and '.join(given)}; remove {rest}"
    if train.target_metric is None and train.target_value is not None:
        return "train.target_metric: required by target_value: the metric that it is a value of"
    if train.target_metric is not None:
        problem = _metric_problem(train, train.target_metric, own=settings.task is not None)
        if problem:
            return problem
    if train.target_checks > 1 and not has_target(train):
        return f"train.target_checks: needs {WANTED}"
    return None


def _metric_problem(train: Train, metric: str, own: bool) -> str | None:
    if train.target_value is None:
        return "train.target_value: required by target_metric: the value that ends a training"
    if not own and metric not in (ACCURACY, LOSS):
        return (
            f"train.target_metric: expected {ACCURACY} or {LOSS}, got {shown(metric)}"
            f"{nearest(_bare(metric), (ACCURACY, LOSS))}; only a task has other metrics"
        )
    if not metric.isidentifier():
        return (
            f"train.target_metric: expected the name of a metric of the task, got {shown(metric)}"
        )
    value = train.target_value
    if not own and metric == ACCURACY and not 0 < value <= 1:
        fraction = f": {value / 100:g} for {value:g} %" if 1 < value <= 100 else ""
        return f"train.target_value: accuracy is a fraction above 0{fraction}, got {value:g}"
    if not own and metric == LOSS and value <= 0:
        return f"train.target_value: the loss is above 0, got {value:g}"
    return None


def _bare(metric: str) -> str:
    """Return the name of a column without the data that it is measured on: accuracy."""
    part = next((part for part in PARTS if metric.startswith(part)), "")
    return metric.removeprefix(part)
