"""Checks the optimizer that a person's task brings."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from batchscope.engine.errors import shown
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.tasks.error_place import named

NEEDED = ("param_groups", "step", "state_dict", "load_state_dict")


def groups_of(task: Task, model: nn.Module, trained: list[nn.Parameter]) -> list[dict[str, Any]]:
    """Return the groups of parameters for the optimizer of a task: one, unless it makes its own.

    Raises:
        TaskProblem: its function returns no groups.
    """
    if task.parameters is None:
        return [{"params": trained}]
    groups: Any = task.parameters(model)
    found = list(groups) if isinstance(groups, Iterable) else [groups]
    for each in found:
        if not isinstance(each, Mapping) or "params" not in each:
            raise TaskProblem(
                f"{named('parameters', task.parameters)}: expected groups such as "
                f'{{"params": […], "weight_decay": 0.0}}, got {shown(each)}'
            )
    listed: list[dict[str, Any]] = [{**each, "params": _listed(each["params"])} for each in found]
    if not any(group["params"] for group in listed):
        raise TaskProblem(
            f"{named('parameters', task.parameters)}: there are no parameters in its groups, so "
            "nothing would be trained"
        )
    return listed


def _listed(parameters: Any) -> list[Any]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def refuse_optimizer(task: Task, made: Any, trained: list[nn.Parameter]) -> None:
    """Raise `TaskProblem` for an optimizer that cannot be stepped; the message says what to do."""
    assert task.optimizer is not None
    begin, kind = named("optimizer", task.optimizer), type(made).__name__
    if any(not hasattr(made, name) for name in NEEDED):
        raise TaskProblem(f"{begin}: expected a torch.optim.Optimizer, got {shown(made)}")
    if getattr(made.step, "_wrapped_by_lr_sched", False):
        raise TaskProblem(
            f"{begin}: a scheduler changes the rate of {kind}; leave it out, and say the course of "
            "the rate in [schedule] and [scaling]"
        )
    if _needs_closure(made.step):
        raise TaskProblem(
            f"{begin}: {kind} evaluates the loss several times a step (it needs a closure), which "
            "is not possible; use an optimizer that takes one gradient a step"
        )
    known = set(map(id, trained))
    held = [each for group in made.param_groups for each in group["params"] if each.requires_grad]
    if any(id(each) not in known for each in held):
        raise TaskProblem(
            f"{begin}: {kind} holds parameters that are not those of the model; make it with the "
            "groups that are its first argument"
        )


def _needs_closure(step: Any) -> bool:
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(each.default is each.empty and each.kind not in kinds for each in parameters)
