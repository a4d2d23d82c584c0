"""A multilayer perceptron: fully connected layers on the pixels."""

from batchscope.engine.networks.blocks import classifier
from batchscope.engine.networks.family import Family
from batchscope.engine.networks.layer_specs import Flatten, LayerSpec, Shape
from batchscope.engine.spec import Model


class Mlp(Family):
    """Fully connected hidden layers, each followed by ReLU."""

    def layers(self, model: Model, images: Shape, classes: int) -> tuple[LayerSpec, ...]:
        """Return the layers; see `Family.layers`."""
        return (Flatten(), *classifier(self.hidden(model), classes, self.norm(model)))


MLP = Mlp(
    name="mlp",
    summary="fully connected layers",
    default_hidden=(128, 64),
    not_taken={
        "channels": "an mlp has no convolutions; choose cnn, or remove this key",
        "width": "an mlp has no channels to multiply; set model.hidden",
    },
)
