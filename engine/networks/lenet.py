"""LeNet-5 (LeCun et al. 1998) with ReLU and max-pooling."""

from batchscope.engine.networks.blocks import classifier
from batchscope.engine.networks.family import Family
from batchscope.engine.networks.layer_specs import Conv, Flatten, LayerSpec, MaxPool, ReLU, Shape
from batchscope.engine.spec import Model

FIXED = "lenet has fixed layers; choose cnn to set"


class LeNet(Family):
    """Two 5×5 convolutions, each followed by 2×2 max-pooling and ReLU; then two hidden layers."""

    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return the layers; see `Family.layers`."""
        norm, layers = self.norm(model), list[LayerSpec]()
        for number, outputs in enumerate(self.channels(model)):
            padding = 0 if number else 2  # the paper pads images of 28×28 to 32×32
            # ReLU after pooling gives the same as before it (both are monotone), on a quarter
            layers += [Conv(outputs, 5, padding=padding, bias=not norm), *norm, MaxPool(), ReLU()]
        return (*layers, Flatten(), *classifier(self.hidden(model), classes, norm))


LENET = LeNet(
    name="lenet",
    summary="LeNet-5 (LeCun et al. 1998) with ReLU and max-pooling",
    default_channels=(6, 16),
    default_hidden=(120, 84),
    not_taken={
        "hidden": f"{FIXED} hidden layers",
        "channels": f"{FIXED} channels",
        "width": f"{FIXED} channels and hidden layers",
        "batch_norm": "lenet has fixed layers; choose cnn or mlp",
        "ghost_batch_size": "lenet has no batch norm; choose cnn with model.batch_norm = true",
    },
)
