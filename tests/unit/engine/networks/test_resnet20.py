"""ResNet-20: the network of the paper, its costs, its gradients and a training on digits."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from batchscope.engine.data.catalog import DATASETS, Dataset
from batchscope.engine.data.prepare import prepare
from batchscope.engine.networks.architectures import channels_of, misfit, multiply_adds, weights
from batchscope.engine.planning.batch_norm import exact_in_parts
from batchscope.engine.spec import Memory, Model, Train
from batchscope.engine.training.batches import Images, Labeled, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.modules import ResidualBlock
from batchscope.engine.training.model.passes import Automatic, Explicit, alone, unheard
from tests.known import known
from tests.unit.training_fixtures import CPU, Run, make_trial, spoil

CIFAR, DIGITS = DATASETS["cifar10"], DATASETS["digits"]
RESNET20 = Model(name="resnet20")
NARROW = Model(name="resnet20", width=0.25)
GHOSTS = Model(name="resnet20", width=0.25, ghost_batch_size=8)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(prepare("digits", tmp_path_factory.mktemp("home"), None), CPU)


def test_it_has_the_layers_of_the_paper() -> None:
    """Table of section 4.2: 2n + 1 convolutions at 32×32, 2n at 16×16 and 2n at 8×8, for n = 3."""
    outputs: list[tuple[int, ...]] = []
    network = build_model(RESNET20, CIFAR, 0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.register_forward_hook(lambda _, __, output: outputs.append(output.shape[1:]))
    network(torch.zeros(2, *CIFAR.shape))
    assert outputs == [(16, 32, 32)] * 7 + [(32, 16, 16)] * 6 + [(64, 8, 8)] * 6
    blocks = [block for block in network if isinstance(block, ResidualBlock)]
    projecting = [bool(len(block.shortcut)) for block in blocks]
    assert projecting == [False] * 3 + [True, False, False] * 2
    assert isinstance(network[-1], nn.Linear)


def test_weights_are_the_270_thousand_of_the_paper_and_two_projections() -> None:
    built = build_model(RESNET20, CIFAR, 0)
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert weights(RESNET20, CIFAR) == 269_722 + projections
    assert sum(each.numel() for each in built.parameters()) == 269_722 + projections


def test_multiply_adds_by_hand() -> None:
    first, last = 27 * 16 * 1024, 64 * 10
    stages = 6 * 9 * 16 * 16 * 1024 + 9 * (16 + 5 * 32) * 32 * 256 + 9 * (32 + 5 * 64) * 64 * 64
    projections = 16 * 32 * 256 + 32 * 64 * 64
    assert multiply_adds(RESNET20, CIFAR) == first + stages + projections + last


@pytest.mark.parametrize("width", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_costs_are_those_that_torch_counts(dataset: Dataset, width: float) -> None:
    model = Model(name="resnet20", width=width)
    assert misfit(model, dataset) is None
    assert channels_of(model) == tuple(round(width * channels) for channels in (16, 32, 64))
    network = build_model(model, dataset, 0).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *dataset.shape))
    assert multiply_adds(model, dataset) == counter.get_total_flops() // 2
    assert weights(model, dataset) == sum(each.numel() for each in network.parameters())


def test_it_begins_as_resnet18_does() -> None:
    """Convolutions Kaiming-normal by the fan out; the linear layer with torch's own weights."""
    network = build_model(RESNET20, CIFAR, 3)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is None
            expected = math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel_size)))
            tolerance = 5 / math.sqrt(2 * layer.weight.numel())  # five standard errors
            assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=tolerance)
        elif isinstance(layer, nn.BatchNorm2d):
            assert bool((layer.weight == 1).all())
            assert not layer.bias.any()
        elif isinstance(layer, nn.Linear):
            assert 0.9 / 8 < float(layer.weight.detach().abs().max()) <= 1 / 8


def gradient(model: Model, images: Images, explicit: bool, size: int, cut: int) -> list[Tensor]:
    """The gradient of a batch in micro-batches, and what batch norm keeps, in float64."""
    flat = FlatModel(copy.deepcopy(build_model(model, DIGITS, 3)).double(), CPU, torch.float64)
    passes = alone(flat) if explicit else Automatic([flat])
    assert isinstance(passes, Explicit) == explicit
    spoil(flat)
    batch = torch.arange(size).unsqueeze(0)
    passes.accumulate(
        Labeled(images.train.double(), images.train_labels), batch, cut, True, unheard
    )
    assert bool(flat.gradient.any())
    return [flat.gradient, *flat.model.buffers()]


@pytest.mark.parametrize("cut", [41, 16])
@pytest.mark.parametrize("model", [NARROW, GHOSTS], ids=["plain", "ghosts"])
def test_written_out_passes_are_those_of_automatic_differentiation(
    digits: Images, model: Model, cut: int
) -> None:
    found, expected = (gradient(model, digits, explicit, 41, cut) for explicit in (True, False))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("explicit", [True, False])
def test_ghost_batch_norm_makes_accumulation_exact(digits: Images, explicit: bool) -> None:
    """41 images: groups of 8, and the last one of 9, so that no image is alone."""
    assert exact_in_parts(make_trial(Train(batch_size=48, lr=0.1, epochs=1), GHOSTS).settings)
    whole = gradient(GHOSTS, digits, explicit, 41, 41)
    for cut in (24, 16):
        for one, other in zip(gradient(GHOSTS, digits, explicit, 41, cut), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_without_ghosts_accumulation_is_another_gradient(digits: Images) -> None:
    whole, parts = (gradient(NARROW, digits, True, 48, cut)[0] for cut in (48, 16))
    assert not torch.allclose(whole, parts, rtol=1e-2)


def trained(images: Images, lr: float, steps: int, micro_batch_size: int) -> Run:
    train = Train(batch_size=64, lr=lr, steps=steps)
    run = Run(make_trial(train, GHOSTS, memory=Memory(micro_batch_size=micro_batch_size)), images)
    assert run.ended.status == "finished"
    assert run.records[-1].steps == steps
    return run


def test_a_training_in_micro_batches_is_the_training_on_whole_batches(digits: Images) -> None:
    """For a few steps: later an input of a ReLU is so near to 0 that rounding decides its sign."""
    start = FlatModel(build_model(GHOSTS, DIGITS, 0), CPU).copy_weights()
    whole, parts = (trained(digits, 0.01, 4, cut).flat.copy_weights() for cut in (64, 16))
    moved, apart = (float(torch.linalg.vector_norm(whole - other)) for other in (start, parts))
    assert apart < 1e-3 * moved


def test_it_learns_on_digits(digits: Images) -> None:
    """Two epochs; measured 0.83, and guessing is right for 0.1."""
    assert known(trained(digits, 0.1, 46, 64).records[-1].train_accuracy) > 0.5
