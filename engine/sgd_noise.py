"""The noise scale of SGD as Smith and Le define it: how strongly an optimizer shakes the weights.

g = ε (N/B − 1) ÷ (1 − m) for a rate ε, N images to train on, batches of B and a momentum m
(Smith and Le 2017, arXiv:1710.06451, section 4, there without momentum; for B far below N it is
εN/(B(1 − m)), Smith et al. 2017, arXiv:1711.00489). It is a property of the settings. The gradient
noise scale tr(Σ)/|G|² of McCandlish et al. 2018, which `engine.noise` measures, is one of the
gradients, whatever the optimizer makes of them.
"""

from engine.spec import Train

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
