"""Random numbers in the forward pass, such as dropout, under gradient accumulation."""

from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Settings


def drawn_in_parts(settings: Settings, plan: Plan) -> str:
    """Return in words that a cut batch is exact in distribution only; empty if it is exact.

    Each part of a batch draws its own random numbers. Their distribution does not depend on the
    cut, but their values do.
    """
    facts = settings.task.facts if settings.task else None
    if facts is None or not facts.random or plan.micro_batch_size >= plan.largest:
        return ""
    return (
        "the forward pass draws random numbers, and each micro-batch its own: exact in distribution"
    )
