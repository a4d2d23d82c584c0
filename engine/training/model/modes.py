"""Evaluates a network without changing which of its modules are in training mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode, and give each module its own mode back afterwards.

    A person may keep some of them, such as frozen batch norm, in evaluation mode all the time.
    """
    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True
