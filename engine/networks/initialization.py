"""Names the ways to draw initial weights; `engine.training.model.build` draws them."""

from dataclasses import dataclass
from typing import Literal

from batchscope.engine.spec import Model

Scheme = Literal["torch", "glorot-uniform", "he-normal", "he-normal-fan-out", "normal-0.01"]
"""How the weights of one kind of layer are drawn; biases are zero in all but `torch`.

- `torch`: torch's own: Kaiming-uniform with a = sqrt(5), biases uniform.
- `glorot-uniform`: Glorot & Bengio 2010.
- `he-normal`: normal with a variance of 2 / fan in (He et al. 2015, arXiv:1502.01852).
- `he-normal-fan-out`: normal with a variance of 2 / fan out.
- `normal-0.01`: normal with a standard deviation of 0.01.
"""


@dataclass(frozen=True, slots=True)
class Initialization:
    """How weights of convolutions and of fully connected layers are drawn.

    Batch norm begins with scale 1 and shift 0.
    """

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
    """Return the initialization that `model.init` names; for `default` that of the family."""
    return NAMED.get(model.init, default)
