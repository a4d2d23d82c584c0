"""Names the layers of a network, and finds the part of a flat buffer that holds each of them."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from torch import nn

from batchscope.engine.training.model.flat_model import windows
from batchscope.engine.training.trained_parameters import owners, trained

KINDS = (
    (nn.Linear, "linear"),
    (nn.Conv2d, "conv"),
    (nn.BatchNorm1d, "norm"),
    (nn.BatchNorm2d, "norm"),
)


class LayerWindow(NamedTuple):
    """A layer with weights of its own.

    Attributes:
        name: of a network of ours its kind and its number among those of its kind, in the order of
            the forward pass: `conv1`, `norm1`, …, `linear1`. Of a person's model the name of the
            module, as in `named_modules`: `encoder.0`; `model` for the model itself.
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
    layers, numbers = list[LayerWindow](), Counter[str]()
    for module, layer in _owning(model):
        kind = _kind(module)
        numbers[kind] += 1
        layers.append(layer._replace(name=f"{kind}{numbers[kind]}"))
    return layers


def named_windows(model: nn.Module) -> list[LayerWindow]:
    """Return the layers of a person's model by the names of its modules; see `layer_windows`."""
    return [layer for _, layer in _owning(model)]


def _owning(model: nn.Module) -> Iterator[tuple[nn.Module, LayerWindow]]:
    """Yield each module with weights of its own, and its part of a buffer by its own name."""
    where = dict(zip(trained(model), windows(trained(model)), strict=True))
    for name, module, own in owners(model):
        window = slice(where[own[0]].start, where[own[-1]].stop)
        yield module, LayerWindow(name, window, sum(each.numel() for each in own))


def _kind(module: nn.Module) -> str:
    known = (name for of, name in KINDS if isinstance(module, of))
    return next(known, type(module).__name__.lower())
