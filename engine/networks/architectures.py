"""What each built-in network is made of, without torch: defaults, limits, and its cost.

The worker builds the same shapes with torch (`engine.training.model.build`); the menu and the
checks of a preset only need these facts. Those of VGG-16 and ResNet-18 are in
`engine.networks.vgg_resnet`.
"""

from collections.abc import Iterator
from itertools import pairwise

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks.vgg_resnet import (
    VGG_HIDDEN,
    LayerCost,
    resnet_channels,
    resnet_costs,
    vgg_channels,
    vgg_costs,
)
from batchscope.engine.spec import Model

MLP_HIDDEN = (128, 64)
CNN_CHANNELS = (16, 32)
CNN_HIDDEN = (128,)
LENET_SMALLEST = 12
VGGS = ("vgg16", "vgg16-bn")
DEEP = (*VGGS, "resnet18")
ALWAYS_NORMALIZED = ("vgg16-bn", "resnet18")
_HIDDEN = {"mlp": MLP_HIDDEN, "cnn": CNN_HIDDEN, "lenet": (120, 84), "resnet18": ()}
_CHANNELS = {"mlp": (), "cnn": CNN_CHANNELS, "lenet": (6, 16)}


def has_batch_norm(model: Model) -> bool:
    """Whether the network has batch norm: asked for, or because it always has."""
    return model.batch_norm or model.name in ALWAYS_NORMALIZED


def batch_norm_key(model: Model) -> str:
    """The setting that gives a network its batch norm, for messages."""
    return f"model.name = {model.name}" if model.name in ALWAYS_NORMALIZED else "model.batch_norm"


def images_together(model: Model) -> int:
    """Images that no cut into micro-batches may part: a group of ghost batch norm, else 1."""
    return model.ghost_batch_size or 1


def hidden_of(model: Model) -> tuple[int, ...]:
    """Widths of the fully connected hidden layers."""
    if model.hidden is not None:
        return model.hidden
    return VGG_HIDDEN if model.name in VGGS else _HIDDEN[model.name]


def channels_of(model: Model) -> tuple[int, ...]:
    """Output channels of the convolutions, of ResNet those of its stages.

    In cnn and lenet each is followed by ReLU and 2×2 max-pooling.
    """
    if model.name in VGGS:
        return vgg_channels(model.width)
    if model.name == "resnet18":
        return resnet_channels(model.width)
    return _CHANNELS[model.name] if model.channels is None else model.channels


def misfit(model: Model, dataset: Dataset) -> str | None:
    """Why this network cannot take these images, as `key: reason`; None where it can."""
    return _misfit_of_keys(model) or _misfit_of_images(model, dataset)


def _misfit_of_keys(model: Model) -> str | None:
    """Which settings do not go together, whatever the images."""
    name = model.name
    if name == "mlp" and model.channels is not None:
        return "model.channels: an mlp has no convolutions; choose cnn, or leave it out"
    if name == "lenet" and (model.channels is not None or model.hidden is not None):
        return "model.name: lenet has fixed layers; choose cnn to set channels or hidden"
    if name in DEEP and model.channels is not None:
        return f"model.channels: those of {name} are fixed; model.width multiplies them"
    if name == "resnet18" and model.hidden is not None:
        return "model.hidden: resnet18 has no hidden layers; choose vgg16-bn, or leave it out"
    if name not in DEEP and model.width != 1:
        widths = "hidden" if name == "mlp" else "channels and hidden"
        instead = "choose cnn" if name == "lenet" else f"set {widths}"
        return f"model.width: multiplies the channels of {', '.join(DEEP)}; for {name} {instead}"
    return _misfit_of_batch_norm(model)


def _misfit_of_batch_norm(model: Model) -> str | None:
    name = model.name
    if model.batch_norm and name == "lenet":
        return "model.batch_norm: lenet has fixed layers; choose cnn or mlp"
    if model.batch_norm and name == "vgg16":
        return "model.batch_norm: vgg16 has none; choose model.name = 'vgg16-bn'"
    if model.batch_norm and name in ALWAYS_NORMALIZED:
        return f"model.batch_norm: {name} always has batch norm; leave it out"
    if model.ghost_batch_size is not None and not has_batch_norm(model):
        instead = {"vgg16": "choose vgg16-bn", "lenet": "choose cnn with model.batch_norm = true"}
        return f"model.ghost_batch_size: {name} has no batch norm; " + instead.get(
            name, "set model.batch_norm = true"
        )
    return None


def _misfit_of_images(model: Model, dataset: Dataset) -> str | None:
    side = min(dataset.shape[1:])
    if model.name == "lenet" and side < LENET_SMALLEST:
        return (
            f"model.name: lenet needs images of at least {LENET_SMALLEST}×{LENET_SMALLEST}; "
            f"those of {dataset.name} are {side}×{side}"
        )
    if model.name == "cnn" and side >> len(channels_of(model)) < 1:
        return (
            f"model.channels: each entry halves the image, and {side}×{side} "
            f"cannot be halved {len(channels_of(model))} times"
        )
    return None


def multiply_adds(model: Model, dataset: Dataset) -> int:
    """Multiply-adds of one image's forward pass (biases, pooling and activations left out)."""
    return sum(layer.inputs * layer.outputs * layer.places for layer in _layers(model, dataset))


def weights(model: Model, dataset: Dataset) -> int:
    """Number of weights and biases; scale and shift of batch norm stand in for a layer's bias."""
    return sum(
        (layer.inputs + 1 + layer.normalized) * layer.outputs for layer in _layers(model, dataset)
    )


def _layers(model: Model, dataset: Dataset) -> Iterator[LayerCost]:
    """Every layer with weights."""
    convolutions, features = _convolutions(model, dataset)
    yield from convolutions
    hidden = hidden_of(model)
    widths = (features, *hidden, dataset.classes)
    for number, (before, after) in enumerate(pairwise(widths)):
        yield LayerCost(before, after, 1, model.batch_norm and number < len(hidden))


def _convolutions(model: Model, dataset: Dataset) -> tuple[list[LayerCost], int]:
    """What the convolutions cost, and the number of features behind them."""
    if model.name in VGGS:
        return vgg_costs(model.width, dataset.shape, has_batch_norm(model))
    if model.name == "resnet18":
        return resnet_costs(model.width, dataset.shape)
    channels, height, width = dataset.shape
    costs = []
    for index, after in enumerate(channels_of(model)):
        kernel, padded = (5, index == 0) if model.name == "lenet" else (3, True)
        if not padded:
            height, width = height - kernel + 1, width - kernel + 1
        costs.append(LayerCost(kernel * kernel * channels, after, height * width, model.batch_norm))
        channels, height, width = after, height // 2, width // 2
    return costs, channels * height * width
