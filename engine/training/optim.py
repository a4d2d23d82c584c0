"""Optimizers of torch on the one flat buffer: all of them work elementwise."""

import torch
from torch import nn, optim

from engine.rates import Rates
from engine.spec import Train


def build_optimizer(weights: nn.Parameter, train: Train, rates: Rates) -> optim.Optimizer:
    """The optimizer a preset names; `momentum` is used by momentum and nesterov."""
    decay, lr = train.weight_decay, rates.lr
    match train.optimizer:
        case "sgd":
            return optim.SGD([weights], lr=lr, weight_decay=decay)
        case "momentum" | "nesterov":
            return optim.SGD(
                [weights],
                lr=lr,
                momentum=train.momentum,
                weight_decay=decay,
                nesterov=train.optimizer == "nesterov",
            )
        case "adam":
            return optim.Adam(
                [weights], lr=lr, betas=rates.betas, eps=rates.epsilon, weight_decay=decay
            )
        case "adamw":
            return optim.AdamW(
                [weights], lr=lr, betas=rates.betas, eps=rates.epsilon, weight_decay=decay
            )
        case "adagrad":
            return optim.Adagrad([weights], lr=lr, weight_decay=decay)
        case "rmsprop":
            return optim.RMSprop([weights], lr=lr, weight_decay=decay)


def load_optimizers() -> None:
    """Have torch load what its optimizers import when the first is made: over a second's worth."""
    optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
