"""Computes the learning rate at the start of training: scaling with batch size, then warmup.

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
    """The parameters of an optimizer after scaling."""

    lr: float
    betas: tuple[float, float] = ADAM_BETAS
    epsilon: float = ADAM_EPSILON


def scaled_rates(settings: Settings, batch_size: int) -> Rates:
    """Scale the optimizer's parameters for a batch size; `max_lr` caps the scaled learning rate.

    Raises:
        UsageProblem: adam-sqrt would make a beta negative.
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
                    f"scaling.rule: adam-sqrt needs a batch size of at most "
                    f"{1 / (1 - ADAM_BETAS[0]):g} times base_batch_size, or beta1 would be "
                    f"negative; {batch_size} is {factor:g} times"
                )
    if scaling.max_lr is not None:
        lr = min(lr, scaling.max_lr)
    return Rates(lr, betas, epsilon)


def warmup_start(settings: Settings, lr: float) -> float:
    """Return the first rate of a warmup to `lr`: the unscaled rate (Goyal et al. 2017), else 0."""
    base = settings.train.lr
    return base if settings.scaling.rule != "none" and lr > base else 0.0


def warmed_up(lr: float, step: float, warmup_steps: float, start: float = 0.0) -> float:
    """Compute the rate at step `step` (from 1) of a linear warmup from `start` to `lr`."""
    return start + (lr - start) * step / warmup_steps if step < warmup_steps else lr
