"""The one file that batchscope needs: it uses the repository's own modules from where they are."""

from torch import nn
from train import build_model
from utils import Digits

import batchscope
from engine import count_right


def loss(model, batch):
    """Return the sum of the losses and the number of images."""
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels, reduction="sum"), len(labels)


def accuracy(model, batch):
    """Return how many images are recognized, and their number."""
    images, labels = batch
    return count_right(model(images), labels), len(labels)


def scores(model, batch):
    """Return the scores of the digits and which they are, to tell bias from variance."""
    images, labels = batch
    return model(images), labels


def make(seed):
    """Return the task; the weights are drawn from the seed that was set before this call."""
    return batchscope.Task(
        model=build_model(),
        train=Digits(train=True),
        test=Digits(train=False),
        loss=loss,
        metrics={"accuracy": accuracy},
        scores=scores,
    )
