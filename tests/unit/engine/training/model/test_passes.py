"""Written-out passes against automatic differentiation, for one network and for several."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import Dataset
from batchscope.engine.spec import Model, Precision
from batchscope.engine.training.batches import Labeled
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel, flat_length
from batchscope.engine.training.model.passes import Automatic, Explicit, Pass, alone, pass_of
from batchscope.engine.training.model.stack import _shared_buffers
from tests.unit.training_fixtures import CPU, classifier, spoil

DATA = Dataset(
    name="made-up",
    title="",
    shape=(2, 16, 12),
    classes=3,
    train_size=30,
    test_size=0,
    mean=(0.0, 0.0),
    std=(1.0, 1.0),
    download_bytes=0,
)
NETWORKS = {
    "linear": Model(name="mlp", hidden=()),
    "mlp": Model(name="mlp", hidden=(9,)),
    "deep": Model(name="mlp", hidden=(9, 5)),
    "deeper": Model(name="mlp", hidden=(9, 5, 7)),
    "cnn": Model(name="cnn", channels=(3,), hidden=()),
    "cnn of two": Model(name="cnn", channels=(3, 4), hidden=(6,)),
    "cnn of three": Model(name="cnn", channels=(4, 1, 2), hidden=(6, 5)),
    "lenet": Model(name="lenet"),
    "mlp with batch norm": Model(name="mlp", hidden=(9, 5), batch_norm=True),
    "cnn with batch norm": Model(name="cnn", channels=(3, 4), hidden=(6,), batch_norm=True),
    "lenet with batch norm": Model(name="lenet", batch_norm=True),
    "mlp with ghosts": Model(name="mlp", hidden=(9, 5), batch_norm=True, ghost_batch_size=2),
    "cnn with ghosts": Model(name="cnn", channels=(3,), batch_norm=True, ghost_batch_size=3),
    "vgg": Model(name="vgg16", width=0.04, hidden=(6,)),
    "vgg with batch norm": Model(name="vgg16-bn", width=0.04, hidden=(6,)),
    "resnet": Model(name="resnet18", width=0.04),
    "resnet with ghosts": Model(name="resnet18", width=0.04, ghost_batch_size=4),
}


class Replicates(NamedTuple):
    """Networks as the rows of buffers, with one way to compute their gradients."""

    members: list[FlatModel]
    gradient: Tensor
    buffers: list[Tensor]
    passes: Pass


def replicates(models: Sequence[nn.Module], channels_last: bool, automatic: bool) -> Replicates:
    models = [copy.deepcopy(model) for model in models]
    shape = len(models), flat_length(list(models[0].parameters()))
    weights, gradient = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
    members = [
        FlatModel(model, CPU, torch.float64, rows=row)
        for model, row in zip(models, zip(weights, gradient, strict=True), strict=True)
    ]
    buffers = _shared_buffers(models)
    passes: Pass = pass_of(members, weights, gradient, buffers, channels_last)
    assert isinstance(passes, Explicit)
    if automatic:
        passes = Automatic(members)
    return Replicates(members, gradient, buffers, passes)


def images_and_labels() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(30, *DATA.shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, DATA.classes, (30,), generator=generator)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_written_out_passes_equal_automatic_differentiation(
    name: str, count: int, channels_last: bool
) -> None:
    """Batches of 11 images in micro-batches of 11, of 4 + 4 + 3, and of 3 + 3 + 3 + 2."""
    models = [build_model(NETWORKS[name], DATA, seed).double() for seed in range(count)]
    explicit, automatic = (replicates(models, channels_last, way) for way in (False, True))
    images, labels = images_and_labels()
    generator = torch.Generator().manual_seed(1)
    for cut, mean in ((11, True), (20, False), (4, True), (3, False)):
        batch = torch.stack([torch.randperm(30, generator=generator)[:11] for _ in models])
        heard: list[list[int]] = []
        for of in (explicit, automatic):
            for member in of.members:
                spoil(member)
            heard.append([])
            of.passes.accumulate(Labeled(images, labels), batch, cut, mean, heard[-1].append)
        assert heard[0] == heard[1]
        assert sum(heard[0]) == 11
        assert bool(automatic.gradient.any())
        torch.testing.assert_close(explicit.gradient, automatic.gradient, rtol=1e-9, atol=1e-12)
    for one, other in zip(explicit.buffers, automatic.buffers, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    found, expected = (classifier(of.passes).logits(images[:13]) for of in (explicit, automatic))
    assert found.shape == (count, 13, DATA.classes)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(images, images_and_labels()[0]), "layers work in place, and not on these"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_one_replicate_leaves_the_other_rows_alone(name: str) -> None:
    """Probes compute the gradient of one replicate of several."""
    models = [build_model(NETWORKS[name], DATA, seed).double() for seed in range(3)]
    stacked, single = replicates(models, False, False), replicates(models[1:2], False, True)
    images, labels = images_and_labels()
    batch = torch.arange(8).unsqueeze(0)
    for member in stacked.members:
        spoil(member)
    before = stacked.gradient.clone()
    for passes in (alone(stacked.members[1]), single.passes):
        passes.accumulate(Labeled(images, labels), batch, 5, True, lambda size: None)
    torch.testing.assert_close(stacked.gradient[1], single.gradient[0], rtol=1e-9, atol=1e-12)
    assert torch.equal(stacked.gradient[[0, 2]], before[[0, 2]])
    for one, other in zip(stacked.buffers, single.buffers, strict=True):
        torch.testing.assert_close(one[1], other[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("size", [1, 2, 9])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["linear", "mlp", "deeper"])
def test_a_step_without_stored_gradients_is_the_step_with_them(
    name: str, count: int, size: int, mean: bool
) -> None:
    """The same weights, buffers and norms; the stored gradients do not change."""
    models = [build_model(NETWORKS[name], DATA, seed).double() for seed in range(count)]
    found, expected = replicates(models, False, False), replicates(models, False, True)
    images, labels = images_and_labels()
    generator = torch.Generator().manual_seed(1)
    for lr in (0.3, 0.01):
        batch = torch.stack([torch.randperm(30, generator=generator)[:size] for _ in models])
        before = found.gradient.clone()
        norms = found.passes.descend(Labeled(images, labels), batch, mean, lr)
        assert torch.equal(found.gradient, before)
        expected.passes.accumulate(Labeled(images, labels), batch, size, mean, lambda _: None)
        # sums of squares are kept in float32
        exactly = torch.linalg.vector_norm(expected.gradient, dim=1)
        torch.testing.assert_close(norms.double(), exactly, rtol=1e-5, atol=0.0)
        for one, other in zip(found.members, expected.members, strict=True):
            other.weights.sub_(other.gradient, alpha=lr)
            torch.testing.assert_close(one.weights, other.weights, rtol=1e-9, atol=1e-12)


def test_the_automatic_step_is_the_step_without_stored_gradients() -> None:
    models = [build_model(NETWORKS["mlp"], DATA, seed).double() for seed in range(2)]
    found, expected = replicates(models, False, True), replicates(models, False, False)
    images, labels = images_and_labels()
    batch = torch.stack([torch.arange(9), torch.arange(9, 18)])
    norms = [
        each.passes.descend(Labeled(images, labels), batch, True, 0.3) for each in (found, expected)
    ]
    torch.testing.assert_close(norms[0].float(), norms[1].float(), rtol=1e-5, atol=0.0)
    for one, other in zip(found.members, expected.members, strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=1e-9, atol=1e-12)


def test_only_small_batches_of_large_linear_networks_step_without_stored_gradients() -> None:
    """16 samples cost 16² · 1,200 products in one layer, and save about 10 · 200,000."""
    wide = Model(name="mlp", hidden=(800,))
    for model, few in (
        (wide, True),
        (Model(name="mlp", hidden=(9,)), False),
        (Model(name="cnn", channels=(3,), hidden=(900,)), False),
        (Model(name="mlp", hidden=(800,), batch_norm=True), False),
    ):
        passes = alone(FlatModel(build_model(model, DATA, 0), CPU))
        assert (passes.few > 0) == few
    assert 16 < alone(FlatModel(build_model(wide, DATA, 0), CPU)).few < 100


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.layer(x)
        return result


@pytest.mark.parametrize(
    ("model", "precision", "way"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 4)), "fp32", Explicit),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 4)), "bf16", Automatic),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh()), "fp32", Automatic),
        (nn.Sequential(nn.Flatten(), Residual()), "fp32", Automatic),
        (nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 4))), "fp32", Automatic),
        (Residual(), "fp32", Automatic),
    ],
    ids=str,
)
def test_modules_that_are_not_written_out_use_automatic_differentiation(
    model: nn.Module, precision: Precision, way: type[Pass]
) -> None:
    flat = FlatModel(copy.deepcopy(model), CPU, precision=precision)
    assert isinstance(alone(flat), way)
