"""VGG-16 and ResNet-18 against those of torchvision, and their costs and refusals."""

import copy
import importlib
import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.networks.architectures import (
    channels_of,
    has_batch_norm,
    hidden_of,
    misfit,
    multiply_adds,
)
from batchscope.engine.networks.architectures import weights as weights_of
from batchscope.engine.spec import Model
from batchscope.engine.training.model.build import build_model
from tests.torchvision_compat import import_torchvision
from tests.unit.engine.networks.counting import counted_multiply_adds

NAMES = ("vgg16", "vgg16-bn", "resnet18")
CIFAR = DATASETS["cifar10"]


def torchvision_models(name: str) -> Any:
    import_torchvision()
    return importlib.import_module(f"torchvision.models.{name}")


def narrow(name: str, width: float = 1 / 16, hidden: tuple[int, ...] | None = (7, 5)) -> Model:
    return Model(name=name, width=width, hidden=None if name == "resnet18" else hidden)


def of_kind(network: nn.Module) -> list[nn.Module]:
    """The layers with weights, in the order of their use; in a block the body comes first."""
    kinds = nn.Conv2d | nn.Linear | nn.BatchNorm2d
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy weights from theirs to ours; theirs may have biases (all zero) that ours do not have."""
    for one, other in zip(of_kind(ours), of_kind(theirs), strict=True):
        assert type(one) is type(other)
        for key, value in other.state_dict().items():
            mine = one.state_dict().get(key)
            if mine is None:
                assert key == "bias"
                assert not value.any()
            else:
                mine.copy_(value)


def randomize_norms(network: nn.Module) -> None:
    """Draw scales and shifts of batch norm: with scale 1 and shift 0 a mistake would not show."""
    generator = torch.Generator().manual_seed(5)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias):
                noise = torch.rand(values.shape, generator=generator, dtype=values.dtype)
                values.data.copy_(0.5 + noise)


def gradients(network: nn.Module, images: Tensor, back: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Outputs, and the gradients of the layers' weights and of the images."""
    images = images.clone().requires_grad_()
    output = network(images)
    output.backward(back[:, : output.shape[1]])
    weights = [layer.get_parameter("weight") for layer in of_kind(network)]
    found = [tensor.grad for tensor in (*weights, images) if tensor.grad is not None]
    return output.detach(), found


def check_alike(ours: nn.Module, theirs: nn.Module) -> None:
    """Compare outputs and gradients in training, and outputs in evaluation."""
    ours, theirs = ours.double().train(), theirs.double().train()
    randomize_norms(theirs)
    copy_weights(ours, theirs)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    back = torch.randn(2, 512, generator=generator, dtype=torch.float64)
    (found, mine), (expected, other) = (gradients(net, images, back) for net in (ours, theirs))
    assert found.shape[0] == 2
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    assert len(mine) == len(of_kind(ours)) + 1
    for one, another in zip(mine, other, strict=True):
        torch.testing.assert_close(one, another, rtol=1e-8, atol=1e-10)
    with torch.no_grad():
        pair = [network.eval()(images) for network in (ours, theirs)]
    torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["vgg16", "vgg16-bn"])
def test_the_convolutions_of_vgg_are_those_of_torchvision(name: str) -> None:
    module = torchvision_models("vgg")
    theirs = module.make_layers(module.cfgs["D"], batch_norm=name == "vgg16-bn")
    for layer in theirs:
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    built = build_model(Model(name=name), CIFAR, 0)
    flattening = next(at for at, layer in enumerate(built) if isinstance(layer, nn.Flatten))
    check_alike(built[: flattening + 1], nn.Sequential(theirs, nn.Flatten()))


def test_resnet_is_that_of_torchvision_with_another_first_convolution() -> None:
    theirs = torchvision_models("resnet").resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    check_alike(build_model(Model(name="resnet18"), CIFAR, 0), theirs)


def test_initial_weights_are_drawn_as_those_of_torchvision() -> None:
    """Kaiming-normal by the fan out, and the linear layers of VGG with a deviation of 0.01."""
    for name in NAMES:
        for layer in build_model(narrow(name, 0.25, (400,)), DATASETS["mnist"], 3).modules():
            if isinstance(layer, nn.Conv2d):
                expected = math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel_size)))
                some = layer.weight.numel()
                tolerance = 5 / math.sqrt(2 * some)  # five standard errors of a deviation
                assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=tolerance)
            elif isinstance(layer, nn.Linear) and name != "resnet18":
                assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
            elif isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
                continue
            elif isinstance(layer, nn.BatchNorm2d):
                assert bool((layer.weight == 1).all())
            else:
                continue
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(
    ("dataset", "poolings", "features"),
    [("digits", 3, 512), ("mnist", 4, 512), ("cifar10", 5, 512)],
)
def test_vgg_pools_as_long_as_there_is_more_than_one_pixel(
    dataset: str, poolings: int, features: int
) -> None:
    with torch.device("meta"):
        built = build_model(Model(name="vgg16"), DATASETS[dataset], 0)
    layers = list(built.modules())
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == poolings
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == 13
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    shapes = [(layer.in_features, layer.out_features) for layer in linear]
    assert shapes == [(features, 512), (512, 512), (512, 10)]


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # 14,714,688 weights and biases of the convolutions, as torchvision has them
        (Model(name="vgg16"), 14_714_688 + 2 * (512 * 512 + 512) + 5_130),
        (Model(name="vgg16-bn"), 14_714_688 + 4_224 + 2 * (512 * 512 + 512) + 5_130),
        # torchvision's 11,689,512, without 1,000 classes and a stem of 7 × 7
        (Model(name="resnet18"), 11_689_512 - 513_000 - 49 * 192 + 9 * 192 + 5_130),
    ],
)
def test_weights_are_those_of_the_literature(model: Model, count: int) -> None:
    assert weights_of(model, CIFAR) == count
    with torch.device("meta"):
        built = build_model(model, CIFAR, 0)
    assert sum(parameter.numel() for parameter in built.parameters()) == count


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("width", [0.001, 1 / 16, 0.1])
@pytest.mark.parametrize("name", NAMES)
def test_costs_are_those_of_the_network(name: str, width: float, dataset: str) -> None:
    model, there = narrow(name, width), DATASETS[dataset]
    assert misfit(model, there) is None
    built = build_model(model, there, 0)
    assert multiply_adds(model, there) == counted_multiply_adds(built, there.shape)
    assert weights_of(model, there) == sum(p.numel() for p in built.parameters())
    channels = {layer.out_channels for layer in built.modules() if isinstance(layer, nn.Conv2d)}
    assert set(channels_of(model)) == channels
    assert min(channels) >= 1
    assert hidden_of(model) == (() if name == "resnet18" else (7, 5))
    found = any(isinstance(layer, nn.BatchNorm2d) for layer in built.modules())
    assert has_batch_norm(model) == found


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    first, again, other = (
        build_model(narrow(name), DATASETS["digits"], seed).state_dict() for seed in (5, 5, 6)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("init", ["he", "glorot"])
def test_a_named_initialization_replaces_their_own(
    init: Literal["he", "glorot"],
) -> None:
    """From 16 to 32 channels, the fan in of `he` differs from the fan out of their own."""
    model = Model(name="vgg16", width=0.25, init=init)
    conv = build_model(model, DATASETS["mnist"], 0)[5]
    assert isinstance(conv, nn.Conv2d)
    before, after = 9 * conv.in_channels, 9 * conv.out_channels
    expected = math.sqrt(2 / before if init == "he" else 2 / (before + after))
    assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (Model(name="vgg16", batch_norm=True), "model.batch_norm: vgg16 has none; choose"),
        (Model(name="vgg16-bn", batch_norm=True), "model.batch_norm: vgg16-bn always has"),
        (Model(name="resnet18", batch_norm=True), "model.batch_norm: resnet18 always has"),
        (Model(name="resnet18", hidden=(8,)), "model.hidden: resnet18 has no hidden layers"),
        (Model(name="vgg16", channels=(8,)), "model.channels: those of vgg16 are fixed"),
        (Model(name="mlp", width=0.5), "model.width: "),
        (Model(name="cnn", width=0.5), "set model.channels"),
        (Model(name="lenet", width=0.5), "choose cnn"),
        (Model(name="mlp", ghost_batch_size=8), "mlp has no batch norm; set model.batch_norm"),
        (Model(name="vgg16", ghost_batch_size=8), "vgg16 has no batch norm; choose vgg16-bn"),
        (Model(name="lenet", ghost_batch_size=8), "lenet has no batch norm; choose cnn with"),
    ],
)
def test_keys_that_a_network_does_not_take(model: Model, part: str) -> None:
    problem = misfit(model, CIFAR) or ""
    assert problem.startswith("model.")
    assert part in problem


def test_widths_that_give_the_same_channels_give_the_same_network() -> None:
    one, other = (Model(name="resnet18", width=width) for width in (0.125, 0.1251))
    assert channels_of(one) == channels_of(other) == (8, 16, 32, 64)
    built = [build_model(model, DATASETS["digits"], 0).state_dict() for model in (one, other)]
    assert all(torch.equal(built[0][key], built[1][key]) for key in built[0])


def test_a_block_does_not_overwrite_its_input() -> None:
    network = build_model(narrow("resnet18"), DATASETS["digits"], 0)
    block = copy.deepcopy(network[3])
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)
