"""The learning rate that a training begins with: scaling with the batch size, then warmup.

Linear: Goyal et al. 2017 (arXiv:1706.02677). Square root: Krizhevsky 2014 (arXiv:1404.5997),
Hoffer et al. 2017 (arXiv:1705.08741). Square root for Adam, which also moves the betas and
epsilon: Malladi et al. 2022 (arXiv:2205.10287).
"""

import math
from dataclasses import dataclass

from batchscope.engine.errors import UsageProblem
from batchscope.engine.spec import Settings

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Rates:
    """What an optimizer is set up with after scaling."""

    lr: float
    betas: tuple[float, float] = ADAM_BETAS
    epsilon: float = ADAM_EPSILON


def scaled_rates(settings: Settings, batch_size: int) -> Rates:
    """Rates for a batch size; `max_lr` caps the learning rate after scaling.

    Raises:
        UsageProblem: adam-sqrt would move a beta below 0.
    """
    scaling, lr = settings.scaling, settings.train.lr
    factor = batch_size / scaling.base_batch_size if scaling.base_batch_size else 1.0
    betas, epsilon = ADAM_BETAS, ADAM_EPSILON
    match scaling.rule:
        case "linear":
            lr *= factor
        case "sqrt":
            lr *= math.sqrt(factor)
        case "adam-sqrt":
            lr *= math.sqrt(factor)
            betas = (1 - factor * (1 - betas[0]), 1 - factor * (1 - betas[1]))
            epsilon /= math.sqrt(factor)
            if min(betas) < 0:
                raise UsageProblem(
                    f"adam-sqrt: batch size {batch_size} is {factor:g} times "
                    f"base_batch_size; beyond {1 / (1 - ADAM_BETAS[0]):g} beta1 is negative"
                )
    if scaling.max_lr is not None:
        lr = min(lr, scaling.max_lr)
    return Rates(lr, betas, epsilon)


def warmup_start(settings: Settings, lr: float) -> float:
    """Where a warmup to `lr` begins: at the rate before scaling (Goyal et al. 2017), else at 0."""
    base = settings.train.lr
    return base if settings.scaling.rule != "none" and lr > base else 0.0


def warmed_up(lr: float, step: float, warmup_steps: float, start: float = 0.0) -> float:
    """The rate of step `step` (from 1): it rises linearly from `start` to `lr`."""
    return start + (lr - start) * step / warmup_steps if step < warmup_steps else lr
