"""Every family of networks as torch modules; tests each family of the registry.

What the layers say without torch is compared with what the modules are and do; the initial weights
with those of networks written out by hand.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS, Dataset
from batchscope.engine.networks.architectures import (
    has_batch_norm,
    misfit,
    multiply_adds,
    weights,
)
from batchscope.engine.networks.registry import FAMILIES
from batchscope.engine.planning.batch_norm import exact_in_parts
from batchscope.engine.spec import Model, Train
from batchscope.engine.training.batches import Labeled
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.modules import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    ResidualBlock,
)
from batchscope.engine.training.model.passes import Automatic, alone, unheard
from tests.unit.engine.networks.counting import counted_multiply_adds
from tests.unit.training_fixtures import CPU, make_trial, spoil

NARROW = 1 / 16
SEED = 3


def variants(name: str) -> list[Model]:
    """Narrow networks of a family, with and without what it takes."""
    taken = FAMILIES[name].taken()
    plain = Model(name=name, width=NARROW) if "width" in taken else Model(name=name)
    models = [plain]
    if "hidden" in taken:
        models += [replace(plain, hidden=()), replace(plain, hidden=(7, 5))]
    if "channels" in taken:
        models.append(replace(plain, channels=(3,)))
    if "batch_norm" in taken:
        models.append(replace(plain, batch_norm=True))
    if "ghost_batch_size" in taken:
        models.append(replace(models[-1] if "batch_norm" in taken else plain, ghost_batch_size=4))
    return models


FITTING = [
    pytest.param(model, dataset, id=f"{model.name}{number}-{dataset.name}")
    for name in FAMILIES
    for number, model in enumerate(variants(name))
    for dataset in DATASETS.values()
    if misfit(model, dataset) is None
]


SMALLEST = [
    pytest.param(model, dataset, id=f"{model.name}{number}-{dataset.name}")
    for name in FAMILIES
    for number, model in enumerate(variants(name))
    for dataset in [next(each for each in DATASETS.values() if misfit(model, each) is None)]
]


@pytest.mark.parametrize(("model", "dataset"), FITTING)
def test_costs_and_batch_norm_are_those_of_the_modules(model: Model, dataset: Dataset) -> None:
    network = build_model(model, dataset, SEED)
    assert weights(model, dataset) == sum(each.numel() for each in network.parameters())
    assert multiply_adds(model, dataset) == counted_multiply_adds(network, dataset.shape)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert bool(norms) == has_batch_norm(model)
    ghosts = [getattr(norm, "ghost_batch_size", None) for norm in norms]
    assert set(ghosts) <= {model.ghost_batch_size}


@pytest.mark.parametrize(("model", "dataset"), FITTING)
def test_a_batch_gives_one_logit_a_class(model: Model, dataset: Dataset) -> None:
    network = build_model(model, dataset, SEED)
    images = torch.randn(3, *dataset.shape, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (3, dataset.classes)
    assert bool(logits.isfinite().all())


def gradient(model: Model, dataset: Dataset, cut: int, written_out: bool) -> list[Tensor]:
    """The gradient of a batch in micro-batches, and the buffers of batch norm, in float64."""
    flat = FlatModel(build_model(model, dataset, SEED), CPU, torch.float64)
    passes = alone(flat) if written_out else Automatic([flat])
    spoil(flat)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(13, *dataset.shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, dataset.classes, (13,), generator=generator)
    passes.accumulate(Labeled(images, labels), torch.arange(13).unsqueeze(0), cut, True, unheard)
    assert bool(flat.gradient.any())
    return [flat.gradient, *flat.model.buffers()]


@pytest.mark.parametrize("cut", [13, 8])
@pytest.mark.parametrize(("model", "dataset"), SMALLEST)
def test_written_out_passes_equal_automatic_differentiation(
    model: Model, dataset: Dataset, cut: int
) -> None:
    found, expected = (gradient(model, dataset, cut, way) for way in (True, False))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("model", "dataset"), SMALLEST)
def test_accumulation_is_exact_where_the_plan_says_so(model: Model, dataset: Dataset) -> None:
    """13 images: with groups of 4, two groups and one of 5, so that no image is alone."""
    whole, parts = (gradient(model, dataset, cut, True)[0] for cut in (13, 8))
    exact = exact_in_parts(make_trial(Train(batch_size=13, lr=0.1, epochs=1), model).settings)
    assert torch.allclose(whole, parts, rtol=1e-8, atol=1e-11) == exact


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias)


def mlp(shape: Sequence[int]) -> nn.Sequential:
    pixels = math.prod(shape)
    layers = [nn.Flatten(), linear(pixels, 128), nn.ReLU(), linear(128, 64), nn.ReLU()]
    return nn.Sequential(*layers, linear(64, 10))


def ghostly_mlp(shape: Sequence[int]) -> nn.Sequential:
    hidden = [linear(math.prod(shape), 5, False), GhostBatchNorm1d(5, 4), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, linear(5, 10))


def cnn(shape: Sequence[int]) -> nn.Sequential:
    first = [nn.Conv2d(shape[0], 16, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    features = 32 * (shape[1] // 4) * (shape[2] // 4)
    hidden = [nn.Flatten(), linear(features, 128), nn.ReLU()]
    return nn.Sequential(*first, *second, *hidden, linear(128, 10))


def normalized_cnn(shape: Sequence[int]) -> nn.Sequential:
    convolution = nn.Conv2d(shape[0], 3, 3, padding=1, bias=False)
    first = [convolution, nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    features = 3 * (shape[1] // 2) * (shape[2] // 2)
    hidden = [linear(features, 6, False), nn.BatchNorm1d(6), nn.ReLU()]
    return nn.Sequential(*first, *hidden, linear(6, 10))


def lenet(shape: Sequence[int]) -> nn.Sequential:
    first = [nn.Conv2d(shape[0], 6, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()]
    second = [nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    features = 16 * (shape[1] // 2 - 4) // 2 * ((shape[2] // 2 - 4) // 2)
    hidden = [linear(features, 120), nn.ReLU(), linear(120, 84), nn.ReLU()]
    return nn.Sequential(*first, *second, *hidden, linear(84, 10))


def vgg(shape: Sequence[int], normalized: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    before, side = shape[0], shape[1]
    for block in ((4, 4), (8, 8), (16, 16, 16), (32, 32, 32), (32, 32, 32)):
        for number, after in enumerate(block, 1):
            layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not normalized))
            layers += [nn.BatchNorm2d(after)] if normalized else []
            if number == len(block) and side > 1:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers.append(nn.ReLU())
            before = after
    hidden = [nn.Flatten(), linear(32, 512), nn.ReLU(), linear(512, 512), nn.ReLU()]
    return nn.Sequential(*layers, *hidden, linear(512, 10))


def block(before: int, after: int, stride: int, ghosts: int) -> ResidualBlock:
    first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
    second = nn.Conv2d(after, after, 3, padding=1, bias=False)
    norms = [GhostBatchNorm2d(after, ghosts) for _ in range(2)]
    body = nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1])
    if stride == 1 and before == after:
        return ResidualBlock(body, nn.Sequential())
    projection = nn.Conv2d(before, after, 1, stride, bias=False)
    return ResidualBlock(body, nn.Sequential(projection, GhostBatchNorm2d(after, ghosts)))


def resnet(shape: Sequence[int]) -> nn.Sequential:
    first = [nn.Conv2d(shape[0], 4, 3, padding=1, bias=False), GhostBatchNorm2d(4, 8), nn.ReLU()]
    layers: list[nn.Module] = []
    before = 4
    for after in (4, 8, 16, 32):
        for number in range(2):
            stride = 2 if after > 4 and number == 0 else 1
            layers += [block(before, after, stride, 8), nn.ReLU()]
            before = after
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(32, 10)]
    return nn.Sequential(*first, *layers, *end)


Written = Callable[[Sequence[int]], nn.Sequential]
BY_HAND: list[tuple[Model, Written]] = [
    (Model(name="mlp"), mlp),
    (Model(name="mlp", hidden=(5,), batch_norm=True, ghost_batch_size=4), ghostly_mlp),
    (Model(name="cnn"), cnn),
    (Model(name="cnn", channels=(3,), hidden=(6,), batch_norm=True), normalized_cnn),
    (Model(name="lenet"), lenet),
    (Model(name="vgg16", width=NARROW), partial(vgg, normalized=False)),
    (Model(name="vgg16-bn", width=NARROW), partial(vgg, normalized=True)),
    (Model(name="resnet18", width=NARROW, ghost_batch_size=8), resnet),
]


def begin(network: nn.Module, model: Model) -> None:
    """Draw the initial weights anew where they are not those of torch."""
    deep = model.name.startswith(("vgg", "resnet"))
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if model.init == "glorot":
            nn.init.xavier_uniform_(layer.weight)
        elif model.init == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif deep and isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif model.name.startswith("vgg"):
            nn.init.normal_(layer.weight, 0, 0.01)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


FITTING_BY_HAND = [
    pytest.param(model, written, dataset, id=f"{model.name}{number}-{dataset.name}")
    for number, (model, written) in enumerate(BY_HAND)
    for dataset in DATASETS.values()
    if dataset.name != "fashion-mnist" and misfit(model, dataset) is None
]


@pytest.mark.parametrize("init", ["default", "glorot", "he"])
@pytest.mark.parametrize(("model", "written", "dataset"), FITTING_BY_HAND)
def test_initial_weights_are_bit_for_bit_those_of_a_network_built_by_hand(
    model: Model, written: Written, dataset: Dataset, init: Literal["default", "glorot", "he"]
) -> None:
    """Checkpoints and journals of earlier versions depend on the draws and on their order."""
    model = replace(model, init=init)
    torch.manual_seed(SEED)
    expected = written(dataset.shape)
    begin(expected, model)
    found = build_model(model, dataset, SEED)
    assert repr(found) == repr(expected)
    assert list(found.state_dict()) == list(expected.state_dict())
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name
