"""Two noise scales: of the gradients, as they are measured, and of SGD, as the settings make it.

The gradient noise scale is tr(Σ)/|G|², where both are averaged separately before the division.
McCandlish et al. 2018 (arXiv:1812.06162) call it B_simple: about the batch size up to which twice
the batch is worth twice the steps. It comes near the critical batch size in its order of magnitude.

The noise scale of SGD says how strongly an optimizer shakes the weights:
g = ε (N/B − 1) ÷ (1 − m) for a rate ε, N images to train on, batches of B and a momentum m
(Smith and Le 2017, arXiv:1710.06451, section 4, there without momentum; for B far below N it is
εN/(B(1 − m)), Smith et al. 2017, arXiv:1711.00489). It is a property of the settings. The gradient
noise scale tr(Σ)/|G|² is one of the gradients, whatever the optimizer makes of them.
"""

import math

from batchscope.engine.networks.architectures import has_batch_norm
from batchscope.engine.schedule.course import changing
from batchscope.engine.spec import Settings, Train


def noise_scale(trace: float, signal: float) -> float | None:
    """In samples; None where the estimate of |G|² is not positive, and so undetermined."""
    if not (math.isfinite(trace) and math.isfinite(signal)) or signal <= 0:
        return None
    return trace / signal


def no_noise_scale(settings: Settings) -> str:
    """Why there is none for these settings; empty where there is one."""
    if has_batch_norm(settings.model):
        return "with batch norm the gradient of a part of the batch is none of the whole"
    if settings.train.batch_size < 2 and not changing(settings):
        return "a batch of one image has no parts"
    return ""


DEFINED = ("sgd", "momentum", "nesterov")


def sgd_noise_scale(train: Train, lr: float, batch_size: int, train_size: int) -> float | None:
    """g at a rate and batch size; None for optimizers that divide by what gradients were.

    ε is the rate of the mean gradient: a loss that is summed multiplies it by B. Of N images drawn
    with replacement the −1 is left out: it stands for a batch that never holds an image twice, so
    that the whole set has no noise.
    """
    if train.optimizer not in DEFINED:
        return None
    momentum = 0.0 if train.optimizer == "sgd" else train.momentum
    rate = lr * batch_size if train.loss_reduction == "sum" else lr
    drawn = 0 if train.sampling == "with-replacement" else 1
    return rate * (train_size / min(batch_size, train_size) - drawn) / (1 - momentum)
