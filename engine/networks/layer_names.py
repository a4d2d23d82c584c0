"""Names the layers of a network that have weights, without torch.

`engine.training.model.layer_windows` names the modules of a network by the same rule, so that a
preset can name a layer before there is a network.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from batchscope.engine.networks.layer_specs import BatchNorm, Conv, LayerSpec, Linear, Residual

KINDS = {Conv: "conv", Linear: "linear", BatchNorm: "norm"}


def layer_names(layers: Sequence[LayerSpec]) -> list[str]:
    """Return the names of the layers with weights: each kind, numbered in forward order."""
    numbers, names = Counter[str](), []
    for layer in _unfolded(layers):
        kind = KINDS.get(type(layer))
        if kind:
            numbers[kind] += 1
            names.append(f"{kind}{numbers[kind]}")
    return names


def _unfolded(layers: Sequence[LayerSpec]) -> Iterator[LayerSpec]:
    """Yield every layer; of a residual block those of its body, then those of its shortcut."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from _unfolded(layer.body)
            yield from _unfolded(layer.shortcut)
        else:
            yield layer
