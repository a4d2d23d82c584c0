"""Answers questions about the network of a `[model]` table: defaults, limits and cost.

The answers come from the network's family (`engine.networks.registry`) and from its layers.
"""

from functools import lru_cache

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks import layer_specs
from batchscope.engine.networks.layer_specs import LayerSpec
from batchscope.engine.networks.registry import family_of
from batchscope.engine.spec import Model


def has_batch_norm(model: Model) -> bool:
    """Return whether the network has batch norm: as the preset says, or always."""
    return family_of(model).has_batch_norm(model)


def batch_norm_key(model: Model) -> str:
    """Return the setting that gives the network its batch norm, for messages."""
    always = family_of(model).always_normalized
    return f"model.name = {model.name}" if always else "model.batch_norm"


def images_together(model: Model) -> int:
    """Return the number of images that micro-batches keep together: a ghost batch, or 1."""
    return model.ghost_batch_size or 1


def hidden_of(model: Model) -> tuple[int, ...]:
    """Return the widths of the fully connected hidden layers."""
    return family_of(model).hidden(model)


def channels_of(model: Model) -> tuple[int, ...]:
    """Return the output channels of the convolutions, or those of each stage of a ResNet."""
    return family_of(model).channels(model)


def misfit(model: Model, dataset: Dataset) -> str | None:
    """Return why the network cannot process these images, as `key: reason`; None if it can."""
    return family_of(model).problem(model, dataset)


def layers_of(model: Model, dataset: Dataset) -> tuple[LayerSpec, ...]:
    """Return the layers of the network for these images, in the order of their use."""
    return family_of(model).layers(model, dataset.shape, dataset.classes)


@lru_cache(maxsize=1024)
def multiply_adds(model: Model, dataset: Dataset) -> int:
    """Return the multiply-adds of one image's forward pass.

    Biases, batch norm, pooling and activations are not counted.
    """
    return layer_specs.multiply_adds(layers_of(model, dataset), dataset.shape)


@lru_cache(maxsize=1024)
def weights(model: Model, dataset: Dataset) -> int:
    """Return the number of trainable weights, biases and batch norm included."""
    return layer_specs.weights(layers_of(model, dataset), dataset.shape)
