"""Refuses a preset whose learning rate or batch size is certainly never reached."""

from collections.abc import Sequence

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.errors import UsageProblem
from batchscope.engine.schedule.reached_rate import never_reached
from batchscope.engine.spec import Configuration, Settings


def unreached_problem(settings: Settings) -> str | None:
    """Return why a value of `[train]` is never reached, as `key: reason`; None if it may be.

    A budget in steps or samples is a number of epochs only for as many images as were published. A
    folder of the user may have fewer, so for data that are not included this is checked when they
    are read.
    """
    if settings.task is not None:
        facts = settings.task.facts
        return never_reached(settings, training_size(settings.data, facts.train)) if facts else None
    data = DATASETS[settings.data.name]
    included = not data.download_bytes
    if settings.train.epochs is None and not included:
        return None
    return never_reached(settings, training_size(settings.data, data.train_size))


def refuse_unreached(configurations: Sequence[Configuration], where: str) -> None:
    """Refuse configurations that never reach their learning rate or batch size.

    Raises:
        UsageProblem: one does not; the message names the file, the key and the numbers.
    """
    for each in configurations:
        problem = unreached_problem(each.settings)
        if problem:
            which = f" (configuration {each.label!r})" if len(configurations) > 1 else ""
            raise UsageProblem(f"{where}: {problem}{which}")
