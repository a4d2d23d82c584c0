"""The interface of a family of networks, and what follows from it for all families.

To add a family, write a module with one `Family` and list it in `engine.networks.registry`.
Everything else asks the family: the checks of a preset, the plan, the cost of a step, the torch
modules, and the table of networks in the docs.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks.initialization import TORCH, Initialization
from batchscope.engine.networks.layer_specs import BatchNorm, LayerSpec, Shape, fits
from batchscope.engine.networks.module_names import sequential_names
from batchscope.engine.spec import Model

LARGEST_SIDE = 1024  # of images that are tried to find the smallest that fits
_FIELDS = {field.name: field.default for field in msgspec.structs.fields(Model)}
KEYS = tuple(key for key in _FIELDS if key != "name")
"""All keys of `[model]` but `name`."""


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """A network that `model.name` can name, with the keys of `[model]` that it takes.

    Attributes:
        name: the value of `model.name`.
        summary: what it is, in a few words, for the docs.
        not_taken: the keys of `[model]` that it refuses, each with the reason and what to do
            instead, which a message shows after the key. It takes all others.
        default_hidden: widths of the fully connected hidden layers where `model.hidden` is not set.
        default_channels: output channels of the convolutions where `model.channels` is not set.
        always_normalized: whether it has batch norm without `model.batch_norm`.
        initialization: how its weights are drawn where `model.init` is `default`.
    """

    name: str
    summary: str
    not_taken: Mapping[str, str]
    default_hidden: tuple[int, ...] = ()
    default_channels: tuple[int, ...] = ()
    always_normalized: bool = False
    initialization: Initialization = TORCH

    @abstractmethod
    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return the layers in the order of their use; the last one has one output for each class.

        Args:
            model: the `[model]` table, without a `key_problem`.
            images: (channels, height, width) of an image.
            classes: number of outputs.
        """

    def module_names(self, layers: Sequence[LayerSpec]) -> tuple[str, ...]:
        """Return the names under which exported weights are stored, one for each module with any.

        They are those of the plain torch module that docs/reproduce.md names for the family, in the
        order of the layers: of an `nn.Sequential`, unless a family has a model in torchvision.

        Args:
            layers: what `layers` returned.
        """
        return tuple(name for name, _ in sequential_names(layers))

    def hidden(self, model: Model) -> tuple[int, ...]:
        """Return the widths of the fully connected hidden layers."""
        return self.default_hidden if model.hidden is None else model.hidden

    def channels(self, model: Model) -> tuple[int, ...]:
        """Return the output channels of the convolutions, or those of each stage."""
        return self.default_channels if model.channels is None else model.channels

    def has_batch_norm(self, model: Model) -> bool:
        """Return whether the network has batch norm: as the preset says, or always."""
        return self.always_normalized or model.batch_norm

    def norm(self, model: Model) -> tuple[BatchNorm, ...]:
        """Return the batch norm layer after a layer; empty if the network has none."""
        return (BatchNorm(model.ghost_batch_size),) if self.has_batch_norm(model) else ()

    def taken(self) -> tuple[str, ...]:
        """Return the keys of `[model]` that the family takes, in their order."""
        always = {"batch_norm"} if self.always_normalized else set()
        return tuple(key for key in KEYS if key not in {*self.not_taken, *always})

    def problem(self, model: Model, dataset: Dataset) -> str | None:
        """Return why the network cannot process these images, as `key: reason`; None if it can."""
        return self.key_problem(model) or self.image_problem(model, dataset)

    def key_problem(self, model: Model) -> str | None:
        """Return which key the network refuses, as `key: reason`; None if it takes all."""
        for key in KEYS:
            if key in self.not_taken and getattr(model, key) != _FIELDS[key]:
                return f"model.{key}: {self.not_taken[key]}"
        if model.batch_norm and self.always_normalized:
            return f"model.batch_norm: {self.name} always has batch norm; leave it out"
        if model.ghost_batch_size is not None and not self.has_batch_norm(model):
            return (
                f"model.ghost_batch_size: {self.name} has no batch norm; "
                "set model.batch_norm = true"
            )
        return None

    def image_problem(self, model: Model, dataset: Dataset) -> str | None:
        """Return why the images are too small for the layers; None if they are not."""
        if self._fits(model, dataset.shape, dataset.classes):
            return None
        _, height, width = dataset.shape
        smallest = self._smallest_side(model, dataset)
        needs = f"images of at least {smallest}×{smallest}" if smallest else "larger images"
        return (
            f"model.name: {self.name} needs {needs}; those of {dataset.name} are {height}×{width}"
        )

    def _smallest_side(self, model: Model, dataset: Dataset) -> int | None:
        """Return the smallest side of a square image that fits; None if none does."""
        channels, height, width = dataset.shape
        sides = range(min(height, width) + 1, LARGEST_SIDE)
        fitting = (s for s in sides if self._fits(model, (channels, s, s), dataset.classes))
        return next(fitting, None)

    def _fits(self, model: Model, images: Shape, classes: int) -> bool:
        return fits(self.layers(model, images, classes), images)


def scaled(channels: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Return numbers of channels multiplied by `model.width`, each at least 1."""
    return tuple(max(1, round(count * width)) for count in channels)
