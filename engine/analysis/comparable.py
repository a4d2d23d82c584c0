"""Says why configurations of a sweep are not compared by their results: data or losses differ."""

from collections.abc import Sequence

from batchscope.engine.errors import printable
from batchscope.engine.journal.headline import LOSS
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.primary_metric import PrimaryMetric, primary_metric
from batchscope.engine.spec import Settings
from batchscope.engine.task_table import TaskFacts, TaskTable

NAMED = 4
"""How many values of an argument are named; the others are counted."""


def incomparable(state: SweepState) -> str:
    """Return why the results of a sweep's configurations cannot be compared; empty if they can.

    Arguments of a task's function are what a sweep compares, unless its tasks have other metrics or
    numbers of samples: then losses, or the samples that they are measured on, may be others too.
    """
    settings = [each.settings for each in state.configurations.values()]
    metric = primary_metric(state)
    sources = sorted({_source(each) for each in settings})
    if len(sources) > 1:
        what = "accuracies" if metric.is_accuracy else f"values of {metric.title}"
        return f"{what} on {' and '.join(map(printable, sources))} cannot be compared"
    tasks = list(dict.fromkeys(each.task for each in settings if each.task and each.task.facts))
    facts = [task.facts for task in tasks if task.facts]
    differs = _difference(facts, metric)
    return f"tasks with {_told_apart(tasks)} {differs}" if differs else ""


def _source(settings: Settings) -> str:
    """Return what configurations must share to be compared: a data set, or a function."""
    return settings.task.use if settings.task else settings.data.name


def _difference(facts: Sequence[TaskFacts], metric: PrimaryMetric) -> str:
    """Return how tasks differ so that they cannot be compared; empty if they do not."""
    if metric.name == LOSS and len({frozenset(each.metrics) for each in facts}) > 1:
        return (
            "have no metric in common, so their losses may be of different kinds and cannot be "
            "compared"
        )
    if len({dict(each.metrics).get(metric.name) for each in facts}) > 1:
        return f"do not agree whether a higher {metric.word} is better"
    counts = {getattr(each, metric.part) for each in facts}
    if len(counts) > 1:
        named = ", ".join(f"{count:,}" for count in sorted(counts))
        return (
            f"have different numbers of {metric.part_word} samples ({named}), so their results "
            "cannot be compared"
        )
    return ""


def _told_apart(tasks: Sequence[TaskTable]) -> str:
    """Return the arguments in which tasks differ, with their values: `kind = 'a' and 'b'`."""
    names = dict.fromkeys(name for task in tasks for name, _ in task.arguments)
    varied = []
    for name in names:
        values = list(dict.fromkeys(dict(task.arguments).get(name) for task in tasks))
        if len(values) > 1:
            varied.append(
                f"{name} = {_listed(['not set' if v is None else repr(v) for v in values])}"
            )
    return printable("; ".join(varied)) or "different settings"


def _listed(values: Sequence[str]) -> str:
    if len(values) > NAMED:
        return f"{', '.join(values[:NAMED])} and {len(values) - NAMED} others"
    *others, last = values
    return f"{', '.join(others)} and {last}" if others else last
