"""Finds settings of one configuration that do not go together."""

from collections.abc import Callable, Iterator

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.validation_split import problem as split_problem
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.target_check import target_problem
from batchscope.engine.experiment.task_settings import task_problem
from batchscope.engine.networks.architectures import has_batch_norm, misfit
from batchscope.engine.planning.batch_norm import setting_problem
from batchscope.engine.spec import Settings

ADAM_SQRT_LIMIT = 10  # 1 / (1 - beta1) for Adam's usual beta1 of 0.9


def contradictions(settings: Settings) -> Iterator[str]:
    """Yield why the settings of one configuration do not go together, as `key: reason`."""
    data = DATASETS[settings.data.name] if settings.task is None else None
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: misfit(settings.model, data) if data else None,
        lambda: task_problem(settings),
        lambda: _momentum_problem(settings),
        lambda: _rate_problem(settings),
        lambda: _pair_problem(settings),
        lambda: _box_problem(settings),
        lambda: _limit_problem(settings),
        lambda: setting_problem(settings),
        lambda: _parallel_problem(settings),
        lambda: target_problem(settings),
        lambda: split_problem(settings.data, data.train_size) if data else None,
    )
    for check in checks:
        problem = check()
        if problem:
            yield problem


def _parallel_problem(settings: Settings) -> str | None:
    """Return why several workers cannot train the network together; None if they can."""
    if settings.run.data_parallel == 1 or not has_batch_norm(settings.model):
        return None
    return (
        "run.data_parallel: not possible with batch norm, which would normalize each worker's "
        "share of the batch separately; choose a model without batch norm, or data_parallel = 1"
    )


def _limit_problem(settings: Settings) -> str | None:
    """Return why the memory limit is invalid; None if it is valid or not set."""
    try:
        settings.memory.limit_bytes  # noqa: B018 (the property parses the text)
    except UsageProblem as problem:
        return f"memory.limit: {problem}"
    return None


def _pair_problem(settings: Settings) -> str | None:
    """Return why a pair of batch sizes is invalid; None if it is valid."""
    for small, large in settings.probe.pairs:
        if large <= small or large % small:
            return (
                f"probe.pairs: [{small}, {large}]: the second batch size must be a multiple of "
                "the first, because one of its steps is compared with several of the first"
            )
    return None


def _box_problem(settings: Settings) -> str | None:
    """Return which half-width of a box is given twice; None if none is."""
    sizes = settings.sharpness.epsilon
    twice = next((size for size in sizes if sizes.count(size) > 1), None)
    return None if twice is None else f"sharpness.epsilon: {twice:g} is given twice"


def _momentum_problem(settings: Settings) -> str | None:
    """Return why the optimizer cannot have this momentum; None if it can."""
    if settings.train.optimizer == "nesterov" and settings.train.momentum == 0:
        return "train.momentum: must be above 0 with optimizer nesterov"
    return None


def _rate_problem(settings: Settings) -> str | None:
    """Return why optimizer and scaling rule cannot be combined; None if they can."""
    scaling, train = settings.scaling, settings.train
    if scaling.rule == "none":
        return None
    if scaling.base_batch_size is None:
        return (
            f"scaling.base_batch_size: required by rule {scaling.rule!r}: "
            "the batch size that train.lr is meant for"
        )
    if scaling.rule != "adam-sqrt":
        return None
    if train.optimizer not in ("adam", "adamw"):
        return (
            "scaling.rule: adam-sqrt needs optimizer adam or adamw, "
            f"but train.optimizer is {train.optimizer}"
        )
    factor = train.batch_size / scaling.base_batch_size
    if factor >= ADAM_SQRT_LIMIT:
        return (
            f"scaling.rule: adam-sqrt needs a batch size below {ADAM_SQRT_LIMIT} times "
            f"base_batch_size, or beta1 would not be positive; {train.batch_size} is {factor:g} "
            f"times {scaling.base_batch_size}"
        )
    return None
