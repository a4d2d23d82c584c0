"""A preset and a training name the layers of a network alike."""

import pytest

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.networks.architectures import layers_of
from batchscope.engine.networks.layer_names import layer_names
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.spec import Model
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.layer_windows import layer_windows


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_they_are_those_of_the_modules(name: str, batch_norm: bool) -> None:
    family = FAMILIES[name]
    settable = not family.always_normalized and "batch_norm" not in family.not_taken
    model = Model(name=name, batch_norm=batch_norm and settable)
    dataset = DATASETS["mnist"]
    modules = layer_windows(build_model(model, dataset, 0))
    names = layer_names(layers_of(model, dataset))
    assert names == [layer.name for layer in modules]
    assert len(set(names)) == len(names) > 1
