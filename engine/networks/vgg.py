"""VGG-16 for small images (Simonyan & Zisserman 2014, arXiv:1409.1556, configuration D).

It is that of torchvision, with the changes that images of 8×8 to 32×32 need. The pooling behind a
block is left out where the image has one pixel left: 32×32 is pooled five times, 28×28 four times,
8×8 three times. The classifier has two hidden layers of 512 instead of 4,096, takes the image as it
is instead of one resized to 7×7, and has no dropout. `vgg16-bn` has batch norm behind each
convolution, which then has no bias, and none in the classifier.
"""

from collections.abc import Sequence

from batchscope.engine.networks.blocks import classifier
from batchscope.engine.networks.family import Family, scaled
from batchscope.engine.networks.initialization import TORCHVISION_VGG
from batchscope.engine.networks.layer_specs import Conv, Flatten, LayerSpec, MaxPool, ReLU, Shape
from batchscope.engine.networks.module_names import sequential_names
from batchscope.engine.spec import Model

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = (512, 512)


class Vgg16(Family):
    """13 convolutions of 3×3 in five blocks, and a classifier."""

    def channels(self, model: Model) -> tuple[int, ...]:
        """Return the output channels of all convolutions."""
        return tuple(outputs for block in _blocks(model) for outputs in block)

    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return the layers; see `Family.layers`."""
        norm, layers = self.norm(model), list[LayerSpec]()
        side = min(images[1:])
        for block in _blocks(model):
            for number, outputs in enumerate(block, 1):
                layers += [Conv(outputs, bias=not norm), *norm]
                if number == len(block) and side > 1:
                    layers.append(MaxPool())  # before ReLU, which gives the same on a quarter
                    side //= 2
                layers.append(ReLU())
        return (*layers, Flatten(), *classifier(self.hidden(model), classes))

    def module_names(self, layers: Sequence[LayerSpec]) -> tuple[str, ...]:
        """Return torchvision's names: `features` up to the last convolution, then `classifier`.

        torchvision's order of ReLU and pooling leaves the numbers of the convolutions unchanged.
        """
        cut = next(at for at, layer in enumerate(layers) if isinstance(layer, Flatten))
        parts = {"features": layers[:cut], "classifier": layers[cut + 1 :]}
        return tuple(
            f"{part}.{name}" for part, of in parts.items() for name, _ in sequential_names(of)
        )


def _blocks(model: Model) -> list[tuple[int, ...]]:
    """Return the output channels of the convolutions of each block."""
    return [scaled(block, model.width) for block in BLOCKS]


VGG16 = Vgg16(
    name="vgg16",
    summary="VGG-16 (Simonyan & Zisserman 2014) for small images",
    default_hidden=HIDDEN,
    initialization=TORCHVISION_VGG,
    not_taken={
        "channels": "those of vgg16 are fixed; model.width multiplies them",
        "batch_norm": "vgg16 has none; choose model.name = 'vgg16-bn'",
        "ghost_batch_size": "vgg16 has no batch norm; choose vgg16-bn",
    },
)
VGG16_BN = Vgg16(
    name="vgg16-bn",
    summary="vgg16 with batch norm behind each convolution",
    default_hidden=HIDDEN,
    always_normalized=True,
    initialization=TORCHVISION_VGG,
    not_taken={"channels": "those of vgg16-bn are fixed; model.width multiplies them"},
)
