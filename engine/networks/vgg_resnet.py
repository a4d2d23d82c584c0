"""VGG-16 and ResNet-18 as they are built here for small images, without torch.

Both are those of torchvision, with the changes that images of 8×8 to 32×32 ask for:

- *VGG-16* (Simonyan & Zisserman 2014, arXiv:1409.1556, configuration D): 13 convolutions of 3×3 in
  five blocks. The pooling behind a block is left out where the image has one pixel left: five
  poolings of 32×32, four of 28×28, three of 8×8. The classifier has two hidden layers of 512 in
  place of 4,096, on the image as it is in place of one resized to 7×7, and no dropout. `vgg16-bn`
  has batch norm behind each convolution, which then has no bias, and none in the classifier.
- *ResNet-18* (He et al. 2015, arXiv:1512.03385): as they do for CIFAR-10 (section 4.2), it begins
  with a 3×3 convolution of stride 1 and no pooling, in place of 7×7 with stride 2. Four stages of
  two blocks follow, the first block of each later stage with stride 2. Where a block changes the
  shape, its shortcut is a 1×1 convolution with batch norm (option B). At the end stands the mean
  over the image.
"""

from collections.abc import Iterator
from typing import NamedTuple

VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG_HIDDEN = (512, 512)
RESNET_STAGES = (64, 128, 256, 512)
BLOCKS_A_STAGE = 2


class LayerCost(NamedTuple):
    """A layer with weights: inputs of one output, output channels, and places in the image.

    `normalized` where batch norm stands behind it.
    """

    inputs: int
    outputs: int
    places: int
    normalized: bool


class Convolved(NamedTuple):
    """A convolution of VGG: its channels, and whether a pooling follows."""

    inputs: int
    outputs: int
    pooled: bool


class Block(NamedTuple):
    """A basic block of ResNet: its channels, and the stride of its first convolution."""

    inputs: int
    outputs: int
    stride: int

    @property
    def projects(self) -> bool:
        """Whether the shortcut must change the shape."""
        return self.stride > 1 or self.inputs != self.outputs


def scaled(channels: int, width: float) -> int:
    """So many channels times the width, at least one."""
    return max(1, round(channels * width))


def vgg_channels(width: float) -> tuple[int, ...]:
    """Output channels of the convolutions."""
    return tuple(scaled(channels, width) for block in VGG_BLOCKS for channels in block)


def resnet_channels(width: float) -> tuple[int, ...]:
    """Channels of the stages."""
    return tuple(scaled(channels, width) for channels in RESNET_STAGES)


def vgg(width: float, shape: tuple[int, int, int]) -> Iterator[Convolved]:
    """The convolutions for images of a shape (C, H, W)."""
    before, height, side = shape
    for block in VGG_BLOCKS:
        pooled = min(height, side) > 1
        for number, channels in enumerate(block, 1):
            after = scaled(channels, width)
            yield Convolved(before, after, pooled and number == len(block))
            before = after
        if pooled:
            height, side = height // 2, side // 2


def resnet(width: float) -> Iterator[Block]:
    """The blocks, behind a first convolution with the channels of the first stage."""
    before = scaled(RESNET_STAGES[0], width)
    for stage, channels in enumerate(resnet_channels(width)):
        for number in range(BLOCKS_A_STAGE):
            yield Block(before, channels, 2 if stage and not number else 1)
            before = channels


def vgg_costs(
    width: float, shape: tuple[int, int, int], normalized: bool
) -> tuple[list[LayerCost], int]:
    """What the convolutions cost, and the number of features behind them."""
    _, height, side = shape
    costs = []
    for each in vgg(width, shape):
        costs.append(LayerCost(9 * each.inputs, each.outputs, height * side, normalized))
        if each.pooled:
            height, side = height // 2, side // 2
    return costs, costs[-1].outputs * height * side


def resnet_costs(width: float, shape: tuple[int, int, int]) -> tuple[list[LayerCost], int]:
    """What the convolutions cost, and the number of features behind them."""
    channels, height, side = shape
    costs = [LayerCost(9 * channels, scaled(RESNET_STAGES[0], width), height * side, True)]
    for block in resnet(width):
        height, side = -(-height // block.stride), -(-side // block.stride)
        places = height * side
        costs.append(LayerCost(9 * block.inputs, block.outputs, places, True))
        costs.append(LayerCost(9 * block.outputs, block.outputs, places, True))
        if block.projects:
            costs.append(LayerCost(block.inputs, block.outputs, places, True))
    return costs, costs[-1].outputs
