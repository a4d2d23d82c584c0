"""mlp, cnn and lenet: weights and multiply-adds counted by hand, initial weights, and misfits."""

import math
import warnings
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from batchscope.engine.data.catalog import DATASETS, Dataset
from batchscope.engine.networks.architectures import (
    channels_of,
    hidden_of,
    misfit,
    multiply_adds,
)
from batchscope.engine.spec import Model
from batchscope.engine.training.model.build import build_model
from tests.unit.engine.networks.counting import counted_multiply_adds
from tests.unit.training_fixtures import naive_norm

Init = Literal["glorot", "he"]

MLP, CNN, LENET = Model(name="mlp"), Model(name="cnn"), Model(name="lenet")
FITTING = [
    (name, model)
    for name in DATASETS
    for model in (MLP, CNN, LENET)
    if (name, model.name) != ("digits", "lenet")
]


def dataset_of(shape: tuple[int, int, int], classes: int = 10) -> Dataset:
    return Dataset(
        name="made-up",
        title="",
        shape=shape,
        classes=classes,
        train_size=1,
        test_size=1,
        mean=(0.0,) * shape[0],
        std=(1.0,) * shape[0],
        download_bytes=0,
    )


def builds(model: Model, dataset: Dataset) -> bool:
    """Whether torch builds the network, and an image can pass through it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of layers without elements
        try:
            build_model(model, dataset, 0)(torch.zeros(1, *dataset.shape))
        except RuntimeError:
            return False
    return True


@pytest.mark.parametrize(
    ("dataset", "model", "count"),
    [
        ("digits", MLP, 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10),
        ("digits", Model(name="mlp", hidden=()), 64 * 10 + 10),
        ("digits", CNN, 9 * 16 + 16 + 9 * 16 * 32 + 32 + 2 * 2 * 32 * 128 + 128 + 1290),
        ("mnist", MLP, 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10),
        ("mnist", Model(name="mlp", hidden=(1024, 1024)), 1_863_690),
        ("mnist", CNN, 160 + 4_640 + 7 * 7 * 32 * 128 + 128 + 1_290),
        ("mnist", LENET, 61_706),
        ("fashion-mnist", LENET, 61_706),
        ("cifar10", MLP, 3072 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10),
        ("cifar10", CNN, 27 * 16 + 16 + 4_640 + 8 * 8 * 32 * 128 + 128 + 1_290),
        (
            "cifar10",
            Model(name="cnn", channels=(4,), hidden=()),
            27 * 4 + 4 + 16 * 16 * 4 * 10 + 10,
        ),
        ("cifar10", LENET, 75 * 6 + 6 + 2_416 + 6 * 6 * 16 * 120 + 120 + 10_164 + 850),
    ],
)
def test_parameters(dataset: str, model: Model, count: int) -> None:
    network = build_model(model, DATASETS[dataset], 0)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_lenet_has_the_layers_of_1998_on_28_by_28() -> None:
    shapes = [tuple(p.shape) for p in build_model(LENET, DATASETS["mnist"], 0).parameters()]
    assert shapes == [
        *[(6, 1, 5, 5), (6,)],
        *[(16, 6, 5, 5), (16,)],
        *[(120, 400), (120,)],
        *[(84, 120), (84,)],
        *[(10, 84), (10,)],
    ]


@pytest.mark.parametrize("model", [MLP, CNN, LENET], ids=str)
def test_the_seed_alone_decides_the_weights(model: Model) -> None:
    mnist = DATASETS["mnist"]
    torch.manual_seed(1)
    first = list(build_model(model, mnist, 5).parameters())
    torch.manual_seed(2)
    again = list(build_model(model, mnist, 5).parameters())
    other = list(build_model(model, mnist, 6).parameters())
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not bool((one == different).any())


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    build_model(CNN, DATASETS["digits"], 5)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("model", [MLP, CNN, LENET], ids=str)
def test_initial_weights_are_uniform_within_the_root_of_the_fan_in(model: Model) -> None:
    for layer in build_model(model, DATASETS["mnist"], 0).modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            assert layer.bias is not None
            bound = 1 / math.sqrt(layer.weight[0].numel())
            weights = torch.cat([layer.weight.detach().flatten(), layer.bias.detach()])
            largest = float(weights.abs().max())
            assert 0.8 * bound < largest <= bound


def test_initial_norm_of_the_network_of_shen() -> None:
    """Uniform within ±1/√f has the variance 1/3f: 26.2, as the reference computes it."""
    wide = Model(name="mlp", hidden=(1024, 1024))
    layers = ((784, 1024), (1024, 1024), (1024, 10))
    expected = math.sqrt(sum((before + 1) * after / (3 * before) for before, after in layers))
    norm = naive_norm(list(build_model(wide, DATASETS["mnist"], 0).parameters()))
    assert expected == pytest.approx(26.2, abs=0.05)
    assert norm == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("init", "width", "norm"), [("glorot", 1024, 43.95), ("glorot", 512, 33.9), ("he", 512, 45.5)]
)
def test_initial_norms_of_the_literature(init: Init, width: int, norm: float) -> None:
    """E‖w‖² is the sum over layers of 2·in·out/(in + out) for Glorot, of 2·out for He."""
    model = Model(name="mlp", hidden=(width, width), init=init)
    built = build_model(model, DATASETS["mnist"], 0)
    assert naive_norm(list(built.parameters())) == pytest.approx(norm, rel=2e-3)


@pytest.mark.parametrize("init", ["glorot", "he"])
def test_named_initializations_are_those_of_torch(init: Init) -> None:
    model = Model(name="cnn", init=init)
    built = build_model(model, DATASETS["mnist"], 3)
    fill = nn.init.xavier_uniform_ if init == "glorot" else nn.init.kaiming_normal_
    for layer in built.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            assert layer.bias is not None
            assert not layer.bias.any()
            with torch.random.fork_rng():
                deviation = float(fill(torch.empty(layer.weight.shape)).std())
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize("model", [MLP, CNN, LENET], ids=str)
def test_the_same_image_gives_the_same_logits_in_training_and_in_evaluation(model: Model) -> None:
    network = build_model(model, DATASETS["mnist"], 0)
    images = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    training = network.train()(images)
    assert torch.equal(network.train()(images), training)
    assert torch.equal(network.eval()(images), training)


@pytest.mark.parametrize(
    ("model", "hidden", "channels"),
    [
        (MLP, (128, 64), ()),
        (CNN, (128,), (16, 32)),
        (LENET, (120, 84), (6, 16)),
        (Model(name="mlp", hidden=()), (), ()),
        (Model(name="cnn", hidden=(3,), channels=(2,)), (3,), (2,)),
    ],
)
def test_widths(model: Model, hidden: tuple[int, ...], channels: tuple[int, ...]) -> None:
    assert (hidden_of(model), channels_of(model)) == (hidden, channels)


@pytest.mark.parametrize(
    ("dataset", "model", "count"),
    [
        ("digits", Model(name="mlp", hidden=()), 640),
        ("digits", MLP, 64 * 128 + 128 * 64 + 64 * 10),
        ("mnist", LENET, 25 * 6 * 28 * 28 + 150 * 16 * 10 * 10 + 400 * 120 + 120 * 84 + 840),
        ("cifar10", CNN, 27 * 16 * 1024 + 144 * 32 * 256 + 2048 * 128 + 1280),
    ],
)
def test_multiply_adds_by_hand(dataset: str, model: Model, count: int) -> None:
    assert multiply_adds(model, DATASETS[dataset]) == count


sides = st.integers(4, 20)
widths = st.lists(st.integers(1, 6), max_size=2).map(tuple)


@settings(max_examples=40, deadline=None)
@given(
    sides,
    sides,
    st.integers(1, 3),
    widths,
    st.lists(st.integers(1, 6), min_size=1, max_size=2).map(tuple),
)
def test_multiply_adds_of_any_cnn(
    height: int,
    width: int,
    channels: int,
    hidden: tuple[int, ...],
    convolutions: tuple[int, ...],
) -> None:
    model = Model(name="cnn", hidden=hidden, channels=convolutions)
    there = dataset_of((channels, height, width))
    assert multiply_adds(model, there) == counted_multiply_adds(
        build_model(model, there, 0), there.shape
    )


@pytest.mark.parametrize("halvings", range(1, 8))
@pytest.mark.parametrize("dataset", DATASETS)
def test_misfit_refuses_exactly_the_cnns_that_torch_cannot_build(
    dataset: str, halvings: int
) -> None:
    model, there = Model(name="cnn", channels=(2,) * halvings), DATASETS[dataset]
    problem = misfit(model, there)
    assert (problem is None) == builds(model, there)
    assert problem is None or problem.startswith("model.channels: ")


@pytest.mark.parametrize(
    ("height", "width"), [(8, 8), (11, 11), (11, 28), (12, 11), (12, 12), (12, 28), (13, 13)]
)
def test_misfit_refuses_exactly_the_images_that_are_too_small_for_lenet(
    height: int, width: int
) -> None:
    there = dataset_of((1, height, width))
    problem = misfit(LENET, there)
    assert (problem is None) == builds(LENET, there)
    assert problem is None or problem.startswith("model.name: lenet ")


@pytest.mark.parametrize(("dataset", "model"), [*FITTING, ("digits", LENET)])
def test_misfit_of_the_defaults(dataset: str, model: Model) -> None:
    there = DATASETS[dataset]
    assert (misfit(model, there) is None) == builds(model, there)


@pytest.mark.parametrize(
    ("model", "key"),
    [
        (Model(name="mlp", channels=(8,)), "model.channels"),
        (Model(name="lenet", channels=(8,)), "model.channels"),
        (Model(name="lenet", hidden=(8,)), "model.hidden"),
    ],
)
def test_misfit_refuses_widths_that_would_be_ignored(model: Model, key: str) -> None:
    assert (misfit(model, DATASETS["mnist"]) or "").startswith(f"{key}: ")
