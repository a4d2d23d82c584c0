"""Groups of layers that several families are made of."""

from collections.abc import Sequence

from batchscope.engine.networks.layer_specs import BatchNorm, LayerSpec, Linear, ReLU


def classifier(
    hidden: Sequence[int], classes: int, norm: tuple[BatchNorm, ...] = ()
) -> tuple[LayerSpec, ...]:
    """Return fully connected layers, each hidden one with its batch norm (if any) and a ReLU.

    A layer before batch norm has no bias, because the shift of the norm takes its place.
    """
    layers: list[LayerSpec] = []
    for width in hidden:
        layers += [Linear(width, bias=not norm), *norm, ReLU()]
    return (*layers, Linear(classes))
