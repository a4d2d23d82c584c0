"""Lists the parameters of a model that are trained, and the modules that own them."""

from collections.abc import Iterator

from torch import nn

ROOT = "model"


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient, each once; frozen ones stay outside."""
    return [each for each in model.parameters() if each.requires_grad]


def owners(model: nn.Module) -> Iterator[tuple[str, nn.Module, list[nn.Parameter]]]:
    """Yield each module with trained parameters of its own: its name, itself, and these.

    A parameter that several modules share belongs to the first of them. The name is that of
    `named_modules`, or `model` for the model itself.
    """
    left = set(trained(model))
    for name, module in model.named_modules():
        own = [each for each in module.parameters(recurse=False) if each in left]
        left.difference_update(own)
        if own:
            yield name or ROOT, module, own
