"""The families of networks: the only list of them. A new family is a module and a line here."""

from batchscope.engine.errors import UsageProblem, nearest, printable
from batchscope.engine.networks.cnn import CNN
from batchscope.engine.networks.family import Family
from batchscope.engine.networks.lenet import LENET
from batchscope.engine.networks.mlp import MLP
from batchscope.engine.networks.resnet import RESNET18
from batchscope.engine.networks.resnet20 import RESNET20
from batchscope.engine.networks.task import TASK
from batchscope.engine.networks.vgg import VGG16, VGG16_BN
from batchscope.engine.spec import Model

_ALL: tuple[Family, ...] = (
    MLP,
    CNN,
    LENET,
    VGG16,
    VGG16_BN,
    RESNET18,
    RESNET20,
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
"""Each family by the `model.name` that names it."""


def family_of(model: Model) -> Family:
    """Return the family that a `[model]` table names.

    Raises:
        UsageProblem: there is none of that name. A preset is checked before; what an export or a
            journal of a later version names may be unknown here.
    """
    if model.name == TASK.name:
        return TASK
    if model.name not in FAMILIES:
        hint = nearest(model.name, FAMILIES)
        raise UsageProblem(f"model.name: unknown network {printable(model.name)!r}{hint}")
    return FAMILIES[model.name]
