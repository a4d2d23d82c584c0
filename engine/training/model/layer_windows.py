"""Names the layers of a network, and finds the part of a flat buffer that holds each of them."""

from collections import Counter
from typing import NamedTuple

from torch import nn

from batchscope.engine.training.model.flat_model import windows
from batchscope.engine.training.trained_parameters import trained

KINDS = (
    (nn.Linear, "linear"),
    (nn.Conv2d, "conv"),
    (nn.BatchNorm1d, "norm"),
    (nn.BatchNorm2d, "norm"),
)


class LayerWindow(NamedTuple):
    """A layer with weights of its own.

    Attributes:
        name: its kind and its number among those of its kind, in the order of the forward pass:
            `conv1`, `norm1`, …, `linear1`.
        window: its weights and biases in a buffer of P elements; the gaps in there hold zeros.
        parameters: number of its weights and biases.
    """

    name: str
    window: slice
    parameters: int


def layer_windows(model: nn.Module) -> list[LayerWindow]:
    """Return the layers of a network, in the order in which torch lists their parameters.

    A parameter that several modules share belongs to the first of them.
    """
    where = dict(zip(trained(model), windows(trained(model)), strict=True))
    layers, numbers = list[LayerWindow](), Counter[str]()
    for module in model.modules():
        own = [each for each in module.parameters(recurse=False) if each in where]
        if not own:
            continue
        parts = [where.pop(each) for each in own]
        kind = _kind(module)
        numbers[kind] += 1
        layers.append(
            LayerWindow(
                name=f"{kind}{numbers[kind]}",
                window=slice(parts[0].start, parts[-1].stop),
                parameters=sum(each.numel() for each in own),
            )
        )
    return layers


def _kind(module: nn.Module) -> str:
    known = (name for of, name in KINDS if isinstance(module, of))
    return next(known, type(module).__name__.lower())
