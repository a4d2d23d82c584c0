"""Lists the parameters of a model that are trained."""

from torch import nn


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient, each once; frozen ones stay outside."""
    return [each for each in model.parameters() if each.requires_grad]
