"""Names modules with weights as a state_dict of torch does, so that others can load the weights."""

from collections.abc import Iterator, Sequence

from batchscope.engine.networks.layer_specs import BatchNorm, Conv, LayerSpec, Linear


def sequential_names(layers: Sequence[LayerSpec]) -> Iterator[tuple[str, LayerSpec]]:
    """Yield the name of each layer with weights in an `nn.Sequential` of these layers: its index.

    Layers without weights count as well; the layers inside of others have no name here.
    """
    for index, layer in enumerate(layers):
        if isinstance(layer, BatchNorm | Conv | Linear):
            yield str(index), layer
