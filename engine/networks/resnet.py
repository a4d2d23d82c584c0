"""Residual networks of basic blocks (He et al. 2015, arXiv:1512.03385) for small images.

They begin with a 3×3 convolution of stride 1 and no pooling, as those for CIFAR-10 (section 4.2)
do, instead of 7×7 with stride 2. Stages of blocks follow, the first block of each later stage with
stride 2. Where a block changes the shape, its shortcut is a 1×1 convolution with batch norm (option
B). At the end is the mean over the image. Apart from its beginning `resnet18` is that of
torchvision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from batchscope.engine.networks.family import Family, scaled
from batchscope.engine.networks.initialization import TORCHVISION_RESNET, Initialization
from batchscope.engine.networks.layer_specs import (
    BatchNorm,
    Conv,
    Flatten,
    GlobalMean,
    LayerSpec,
    Linear,
    ReLU,
    Residual,
    Shape,
)
from batchscope.engine.spec import Model


@dataclass(frozen=True, kw_only=True)
class ResNet(Family):
    """Stages of basic blocks, with batch norm behind each convolution.

    Attributes:
        stages: channels of each stage.
        blocks: basic blocks in a stage.
    """

    stages: tuple[int, ...]
    blocks: int
    always_normalized: bool = True
    initialization: Initialization = TORCHVISION_RESNET

    def channels(self, model: Model) -> tuple[int, ...]:
        """Return the channels of each stage."""
        return scaled(self.stages, model.width)

    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return the layers; see `Family.layers`."""
        norm, stages = self.norm(model), self.channels(model)
        before = stages[0]
        layers: list[LayerSpec] = [Conv(before, bias=False), *norm, ReLU()]
        for stage, outputs in enumerate(stages):
            for number in range(self.blocks):
                stride = 2 if stage and not number else 1
                layers += [basic_block(before, outputs, stride, norm), ReLU()]
                before = outputs
        return (*layers, GlobalMean(), Flatten(), Linear(classes))

    def module_names(self, layers: Sequence[LayerSpec]) -> tuple[str, ...]:
        """Return torchvision's names: `conv1`, `bn1`, `layer1.0.conv1`, …, `fc`."""
        names = ["conv1", "bn1"]
        blocks = [layer for layer in layers if isinstance(layer, Residual)]
        for number, block in enumerate(blocks):
            stage, within = divmod(number, self.blocks)
            inside = ["conv1", "bn1", "conv2", "bn2"]
            inside += ["downsample.0", "downsample.1"] if block.shortcut else []
            names += [f"layer{stage + 1}.{within}.{name}" for name in inside]
        return (*names, "fc")


def basic_block(inputs: int, outputs: int, stride: int, norm: tuple[BatchNorm, ...]) -> LayerSpec:
    """Return two 3×3 convolutions with a shortcut, which projects where the shape changes.

    The ReLU behind the sum is a layer of its own.
    """
    first = Conv(outputs, stride=stride, bias=False)
    second = Conv(outputs, bias=False)
    projection = Conv(outputs, kernel=1, stride=stride, padding=0, bias=False)
    projects = stride > 1 or inputs != outputs
    return Residual(
        body=(first, *norm, ReLU(), second, *norm),
        shortcut=(projection, *norm) if projects else (),
    )


def not_taken(name: str) -> dict[str, str]:
    """Return the keys that a residual network refuses, with the reasons."""
    return {
        "hidden": f"{name} has no hidden layers; choose vgg16-bn, or leave it out",
        "channels": f"those of {name} are fixed; model.width multiplies them",
    }


RESNET18 = ResNet(
    name="resnet18",
    summary="ResNet-18 (He et al. 2015) for small images",
    stages=(64, 128, 256, 512),
    blocks=2,
    not_taken=not_taken("resnet18"),
)
