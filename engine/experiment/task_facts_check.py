"""Refuses what a task turns out not to have, once its function has run and before the first step.

The names of its metrics and layers, and whether it brings test or validation data, are not known
when a preset is read: reading a preset runs no code.
"""

from collections.abc import Iterator

from batchscope.engine.errors import UsageProblem, nearest
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.metrics.registry import TRIAL
from batchscope.engine.metrics.task_metrics import is_task_metric
from batchscope.engine.schedule.target import ACCURACY, LOSS, judged_on, stated
from batchscope.engine.spec import Claim, Selection, Settings, informed
from batchscope.engine.task_table import TaskFacts

VALIDATION = "validation_"
COUNTED = "steps_to_target"
OF_CLASSES = ("bias", "variance", "variance_unbiased", "variance_biased", "net_variance")
"""Measures of the class that is predicted for each test sample."""
TARGET_KEYS = {ACCURACY: "train.target_accuracy", LOSS: "train.target_loss"}


def refuse_unknown(preset: Preset, name: str, facts: TaskFacts) -> None:
    """Refuse a preset that names a metric or a layer which its task does not have.

    Args:
        preset: the preset of the sweep.
        name: the name of the task, as in `data.name`.
        facts: what running it has shown.

    Raises:
        UsageProblem: it does; the message names the preset, the key and the nearest valid name.
    """
    of_task = [each.settings for each in preset.configurations if each.settings.data.name == name]
    problems = [
        *(_settings_problem(informed(each, facts), facts) for each in of_task),
        *(_selection_problem(each, facts) for each in _selections(preset)),
    ]
    if all(each.settings.data.name == name for each in preset.configurations):
        problems += [_claim_problem(at, each, facts) for at, each in enumerate(preset.claims)]
    found = next((each for each in problems if each), None)
    if found:
        raise UsageProblem(f"{preset.name}: {found}")


def _selections(preset: Preset) -> Iterator[Selection]:
    if preset.selection is not None:
        yield preset.selection


def _settings_problem(settings: Settings, facts: TaskFacts) -> str | None:
    """Return why the target cannot be compared, as `key: reason`; None if it can."""
    target = stated(settings.train)
    if target is None:
        return None
    metric = target[0]
    key = "train.target_metric" if settings.train.target_metric else TARGET_KEYS[metric]
    if metric not in _names(facts):
        return f"{key}: {_no_metric(metric, facts)}"
    if judged_on(settings) == "test" and not facts.test:
        return (
            f"{key}: the task brings neither validation nor test data to compare with the target; "
            "set task.validation = 0.1 to hold training data out"
        )
    return None


def _selection_problem(selection: Selection, facts: TaskFacts) -> str | None:
    metric = selection.by.removeprefix(VALIDATION)
    if selection.by == COUNTED or metric in _names(facts):
        return None
    return f"select.by: {_no_metric(metric, facts, VALIDATION)}"


def _claim_problem(at: int, claim: Claim, facts: TaskFacts) -> str | None:
    """Return which name of a claim the task does not have, as `key: reason`."""
    if claim.layer is not None and facts.layers and claim.layer not in facts.layers:
        return (
            f"claims[{at}].layer: the task's model has no layer {claim.layer!r}"
            f"{nearest(claim.layer, facts.layers)}"
        )
    if claim.measure in OF_CLASSES:
        return _classes_problem(f"claims[{at}].measure: {claim.measure}", facts)
    if claim.measure in TRIAL or not is_task_metric(claim.measure):
        return None
    part, _, metric = claim.measure.partition("_")
    if metric in _names(facts):
        return None
    return f"claims[{at}].measure: {_no_metric(metric, facts, f'{part}_')}"


def _classes_problem(what: str, facts: TaskFacts) -> str | None:
    """Return why bias and variance cannot be measured; None if they can."""
    if not facts.classes:
        return (
            f"{what} needs the class that is predicted for each test sample; give Task a function "
            "scores=…, (model, batch) -> (scores of the classes, right classes), or choose another "
            "measure"
        )
    return None if facts.test else f"{what} needs test data; give them to Task as test=…"


def _names(facts: TaskFacts) -> tuple[str, ...]:
    return (LOSS, *(name for name, _ in facts.metrics))


def _no_metric(metric: str, facts: TaskFacts, prefix: str = "") -> str:
    names = [prefix + name for name in _names(facts)]
    return f"the task has no metric {metric!r}{nearest(prefix + metric, names)}"
