"""What holds for every family of networks, without torch; tests each family of the registry."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.errors import UsageProblem
from batchscope.engine.experiment.draft import meaning
from batchscope.engine.networks.architectures import batch_norm_key, layers_of, misfit, weights
from batchscope.engine.networks.family import KEYS, Family
from batchscope.engine.networks.layer_specs import (
    BatchNorm,
    LayerSpec,
    Residual,
    Shape,
    output_shape,
    with_inputs,
)
from batchscope.engine.networks.registry import FAMILIES, family_of
from batchscope.engine.spec import Model

VALUES: dict[str, Any] = {
    "hidden": (8,),
    "channels": (4,),
    "init": "he",
    "batch_norm": True,
    "ghost_batch_size": 8,
    "width": 0.5,
}
CIFAR = DATASETS["cifar10"]
FITTING = [
    (name, dataset.name)
    for name in FAMILIES
    for dataset in DATASETS.values()
    if misfit(Model(name=name), dataset) is None
]
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def flattened(layers: tuple[LayerSpec, ...], shape: Shape) -> Iterator[tuple[LayerSpec, Shape]]:
    """Every layer with the shape of its input, those of residual blocks too."""
    for layer, before in with_inputs(layers, shape):
        yield layer, before
        if isinstance(layer, Residual):
            yield from flattened(layer.body, before)
            yield from flattened(layer.shortcut, before)


@every_family
def test_a_family_is_found_by_its_name(family: Family) -> None:
    assert family_of(Model(name=family.name)) is family
    assert family.summary


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageProblem, match=r"^model\.name: .*'vgg61'; did you mean 'vgg16'"):
        family_of(Model(name="vgg61"))


def test_the_form_of_settings_lists_every_family() -> None:
    words = meaning("model.name").replace(",", "").split()
    assert set(FAMILIES) <= set(words)


@every_family
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_taken_or_refused(family: Family, key: str) -> None:
    model = replace(Model(name=family.name), **{key: VALUES[key]})
    if key == "ghost_batch_size" and "batch_norm" in family.taken():
        model = replace(model, batch_norm=True)
    problem = misfit(model, CIFAR)
    assert (problem is None) == (key in family.taken())
    assert problem is None or problem.startswith(f"model.{key}: ")


@every_family
def test_a_key_that_is_taken_shapes_the_network(family: Family) -> None:
    plain = Model(name=family.name)
    for key in {"hidden", "channels", "batch_norm", "width"} & set(family.taken()):
        model = replace(plain, **{key: VALUES[key]})
        assert layers_of(model, CIFAR) != layers_of(plain, CIFAR), key
        assert weights(model, CIFAR) != weights(plain, CIFAR), key


@every_family
def test_ghost_batch_norm_needs_batch_norm(family: Family) -> None:
    model = Model(name=family.name, ghost_batch_size=8)
    problem = misfit(model, CIFAR)
    assert (problem is None) == family.always_normalized
    assert problem is None or problem.startswith("model.ghost_batch_size: ")


@every_family
def test_batch_norm_is_in_the_layers_where_the_family_says_so(family: Family) -> None:
    models = [Model(name=family.name)]
    if "batch_norm" in family.taken():
        models.append(Model(name=family.name, batch_norm=True, ghost_batch_size=8))
    for model in models:
        layers = flattened(layers_of(model, CIFAR), CIFAR.shape)
        norms = [layer for layer, _ in layers if isinstance(layer, BatchNorm)]
        assert bool(norms) == family.has_batch_norm(model)
        assert all(norm.ghost_batch_size == model.ghost_batch_size for norm in norms)
        always = f"model.name = {family.name}"
        assert batch_norm_key(model) == (always if family.always_normalized else "model.batch_norm")


@pytest.mark.parametrize(("name", "dataset"), FITTING)
def test_the_layers_end_in_one_output_a_class(name: str, dataset: str) -> None:
    there, model = DATASETS[dataset], Model(name=name)
    layers = layers_of(model, there)
    assert output_shape(layers, there.shape) == (there.classes,)
    for layer, before in flattened(layers, there.shape):
        if isinstance(layer, Residual):
            assert output_shape(layer.shortcut, before) == layer.output(before)


@every_family
def test_images_that_are_too_small_are_refused_with_the_size_that_fits(family: Family) -> None:
    model = Model(name=family.name)
    for side in range(1, 33):
        there = replace(CIFAR, shape=(3, side, side))
        problem = misfit(model, there) or ""
        if "at least" in problem:
            needed = int(problem.split("at least ")[1].split("×")[0])
            assert needed > side
            assert misfit(model, replace(CIFAR, shape=(3, needed, needed))) is None
            smaller = replace(CIFAR, shape=(3, needed - 1, needed - 1))
            assert misfit(model, smaller) is not None
        else:
            assert not problem or problem.startswith("model.channels: ")
