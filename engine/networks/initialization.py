"""How the initial weights of a network are drawn, by name; `engine.training.model` draws them."""

from dataclasses import dataclass
from typing import Literal

from batchscope.engine.spec import Model

Scheme = Literal["torch", "glorot-uniform", "he-normal", "he-normal-fan-out", "normal-0.01"]
"""How the weights of one kind of layer are drawn; biases are zero in all but `torch`.

- `torch`: torch's own: Kaiming-uniform with a = sqrt(5), biases uniform.
- `glorot-uniform`: Glorot & Bengio 2010.
- `he-normal`: He et al. 2015 (arXiv:1502.01852), by the inputs of an output.
- `he-normal-fan-out`: the same by the outputs that an input goes to.
- `normal-0.01`: normal with a standard deviation of 0.01.
"""


@dataclass(frozen=True, slots=True)
class Initialization:
    """How convolutions and fully connected layers begin; batch norm scales by 1, shifts by 0."""

    convolutions: Scheme
    linear: Scheme


TORCH = Initialization("torch", "torch")
TORCHVISION_VGG = Initialization("he-normal-fan-out", "normal-0.01")
TORCHVISION_RESNET = Initialization("he-normal-fan-out", "torch")
NAMED = {
    "glorot": Initialization("glorot-uniform", "glorot-uniform"),
    "he": Initialization("he-normal", "he-normal"),
}


def initialization_of(model: Model, default: Initialization) -> Initialization:
    """Return what `model.init` names, or the family's own for `default`."""
    return NAMED.get(model.init, default)
