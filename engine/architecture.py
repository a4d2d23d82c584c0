"""What each built-in network is made of, without torch: defaults, limits, and its cost.

The worker builds the same shapes with torch (`engine.training.models`); the menu and the
checks of a preset only need these facts.
"""

from collections.abc import Iterator
from itertools import pairwise

from engine.datasets import Dataset
from engine.spec import Model

MLP_HIDDEN = (128, 64)
CNN_CHANNELS = (16, 32)
CNN_HIDDEN = (128,)
LENET_SMALLEST = 12


def hidden_of(model: Model) -> tuple[int, ...]:
    """Widths of the fully connected hidden layers."""
    if model.hidden is not None:
        return model.hidden
    return {"mlp": MLP_HIDDEN, "cnn": CNN_HIDDEN, "lenet": (120, 84)}[model.name]


def channels_of(model: Model) -> tuple[int, ...]:
    """Output channels of the convolutions; each is followed by ReLU and 2×2 max-pooling."""
    if model.channels is not None:
        return model.channels
    return {"mlp": (), "cnn": CNN_CHANNELS, "lenet": (6, 16)}[model.name]


def misfit(model: Model, dataset: Dataset) -> str | None:
    """Why this network cannot take these images, as `key: reason`; None where it can."""
    side = min(dataset.shape[1:])
    if model.name == "mlp" and model.channels is not None:
        return "model.channels: an mlp has no convolutions; choose cnn, or leave it out"
    if model.name == "lenet" and (model.channels is not None or model.hidden is not None):
        return "model.name: lenet has fixed layers; choose cnn to set channels or hidden"
    if model.name == "lenet" and model.batch_norm:
        return "model.batch_norm: lenet has fixed layers; choose cnn or mlp"
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
    return sum(inputs * outputs * places for inputs, outputs, places in _layers(model, dataset))


def weights(model: Model, dataset: Dataset) -> int:
    """Number of weights and biases; scale and shift of batch norm stand in for a layer's bias."""
    layers = list(_layers(model, dataset))
    hidden = sum(outputs for _, outputs, _ in layers[:-1])
    extra = hidden if model.batch_norm else 0
    return sum((inputs + 1) * outputs for inputs, outputs, _ in layers) + extra


def _layers(model: Model, dataset: Dataset) -> Iterator[tuple[int, int, int]]:
    """Of each layer: inputs of one output, outputs or output channels, and places in the image."""
    channels, height, width = dataset.shape
    for index, after in enumerate(channels_of(model)):
        kernel, padded = (5, index == 0) if model.name == "lenet" else (3, True)
        if not padded:
            height, width = height - kernel + 1, width - kernel + 1
        yield kernel * kernel * channels, after, height * width
        channels, height, width = after, height // 2, width // 2
    widths = (channels * height * width, *hidden_of(model), dataset.classes)
    for before, after in pairwise(widths):
        yield before, after, 1
