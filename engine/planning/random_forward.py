"""Random numbers in the forward pass, such as dropout, under gradient accumulation.

Each part of a batch draws its own random numbers. Their distribution does not depend on the cut,
but their values do, so another cut gives other figures. Such a batch is therefore divided only
where memory requires it: the cut then follows from the memory limit, not from measured times.
"""

from batchscope.engine.planning.batch_norm import exact_in_parts
from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Settings


def draws(settings: Settings) -> bool:
    """Return whether the forward pass of a task is known to draw random numbers."""
    facts = settings.task.facts if settings.task else None
    return facts is not None and facts.random


def same_in_parts(settings: Settings) -> bool:
    """Return whether accumulation gives the gradient of the whole batch, so any cut will do."""
    return exact_in_parts(settings) and not draws(settings)


def drawn_in_parts(settings: Settings, plan: Plan) -> str:
    """Return in words what random numbers in the forward pass mean for a plan.

    Empty if there are none, or if the preset says that the whole batch is one part.
    """
    if not draws(settings):
        return ""
    named = settings.memory.micro_batch_size != "auto"
    if plan.micro_batch_size >= plan.largest:
        return "" if named else "never divided for speed, because the forward pass is random"
    inexact = (
        "the forward pass draws random numbers, and each micro-batch its own: exact in distribution"
    )
    return inexact if named else f"{inexact}, so divided only because memory requires it"
