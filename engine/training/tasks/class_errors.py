"""Finds which classes a task predicts wrongly, from the scores that it returns."""

import zlib
from typing import NamedTuple

import torch
from torch import Tensor, nn

from batchscope.engine.errors import shown
from batchscope.engine.task import Batch, Scored, TaskProblem
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.fork_guard import leave_if_child

MOST_CLASSES = 256
"""The error of a sample is stored in one byte."""


class ClassErrors(NamedTuple):
    """What is predicted for n samples.

    Attributes:
        missed: (predicted − label) mod `classes`, shape (n,), uint8 on the host.
        classes: number of classes.
        labels: CRC-32 of the right classes, in their order.
    """

    missed: Tensor
    classes: int
    labels: int


@torch.no_grad()
def class_errors(of: Scored, model: nn.Module, batch: Batch, labels: int = 0) -> ClassErrors:
    """Return what a model predicts for the samples of a batch.

    Args:
        of: the `scores` of a task.
        model: its first argument.
        batch: its second argument.
        labels: the CRC-32 of the right classes of the batches before.

    Raises:
        TaskProblem: it returned something else than scores and classes; the message names the file
            and the line of the function.
    """
    returned = of(model, batch)
    leave_if_child()
    if (
        not isinstance(returned, tuple)
        or len(returned) != 2
        or not all(isinstance(each, Tensor) for each in returned)
    ):
        raise TaskProblem(
            f"{named('scores', of)}: expected (scores, right classes), both tensors, got "
            f"{shown(returned)}"
        )
    scores, right = returned
    if scores.ndim != 2 or right.shape != scores.shape[:1]:
        raise TaskProblem(
            f"{named('scores', of)}: expected the shapes (n, classes) and (n,), got "
            f"{tuple(scores.shape)} and {tuple(right.shape)}"
        )
    classes = scores.shape[1]
    if classes > MOST_CLASSES:
        raise TaskProblem(
            f"{named('scores', of)}: there are {classes:,} classes, and bias and variance are "
            f"possible for {MOST_CLASSES} at most; leave scores=… out"
        )
    if right.is_floating_point() or right.is_complex() or scores.is_complex():
        raise TaskProblem(
            f"{named('scores', of)}: expected real scores and whole numbers for the right classes, "
            f"got {scores.dtype} and {right.dtype}"
        )
    right, predicted = right.cpu().long(), scores.argmax(1).cpu()
    if len(right) and not 0 <= int(right.min()) <= int(right.max()) < classes:
        raise TaskProblem(
            f"{named('scores', of)}: the right classes are {int(right.min())} to "
            f"{int(right.max())}, and there are scores for 0 to {classes - 1}; leave out what has "
            "no class"
        )
    missed = ((predicted - right) % classes).to(torch.uint8)
    return ClassErrors(missed, classes, zlib.crc32(right.to(torch.uint8).numpy().tobytes(), labels))
