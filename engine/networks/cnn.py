"""A plain convolutional network."""

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.networks.blocks import classifier
from batchscope.engine.networks.family import Family
from batchscope.engine.networks.layer_specs import Conv, Flatten, LayerSpec, MaxPool, ReLU, Shape
from batchscope.engine.spec import Model


class Cnn(Family):
    """3×3 convolutions, each followed by 2×2 max-pooling and ReLU; then fully connected layers."""

    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return the layers; see `Family.layers`."""
        norm, layers = self.norm(model), list[LayerSpec]()
        for outputs in self.channels(model):
            # ReLU after pooling gives the same as before it (both are monotone), on a quarter
            layers += [Conv(outputs, bias=not norm), *norm, MaxPool(), ReLU()]
        return (*layers, Flatten(), *classifier(self.hidden(model), classes, norm))

    def image_problem(self, model: Model, dataset: Dataset) -> str | None:
        """Return why there are too many convolutions for the images; None if there are not."""
        if super().image_problem(model, dataset) is None:
            return None
        _, height, width = dataset.shape
        return (
            f"model.channels: each entry halves the image, and {height}×{width} "
            f"cannot be halved {len(self.channels(model))} times"
        )


CNN = Cnn(
    name="cnn",
    summary="3×3 convolutions with pooling, then fully connected layers",
    default_channels=(16, 32),
    default_hidden=(128,),
    not_taken={"width": "a cnn has no fixed channels to multiply; set model.channels"},
)
