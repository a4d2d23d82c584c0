"""One buffer for the weights and one for the gradients, seen through ordinary parameters."""

import copy

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.schedule.lr_scaling import Rates
from batchscope.engine.spec import Model, Train
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.trainer.optimizers import build_optimizer
from tests.unit.training_fixtures import (
    CPU,
    OPTIMIZERS,
    Optimizer,
    backward,
    naive_norm,
    set_gradients,
)

DIGITS = DATASETS["digits"]
MODELS = [
    Model(name="mlp", hidden=(13, 7)),
    Model(name="mlp", hidden=()),
    Model(name="mlp", hidden=(16, 32)),
    Model(name="cnn", channels=(3, 5), hidden=(11,)),
]

every_model = pytest.mark.parametrize("model", MODELS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def make_flat(model: Model = MODELS[0], dtype: torch.dtype = torch.float32) -> FlatModel:
    return FlatModel(build_model(model, DIGITS, seed=3), CPU, dtype)


def windows(flat: FlatModel) -> list[slice]:
    """Where each parameter lies in the buffer, found from the addresses alone."""
    size = flat.weights.element_size()
    starts = [(p.data_ptr() - flat.weights.data_ptr()) for p in flat.model.parameters()]
    assert all(start % size == 0 for start in starts)
    return [
        slice(start // size, start // size + p.numel())
        for start, p in zip(starts, flat.model.parameters(), strict=True)
    ]


def gaps(flat: FlatModel) -> Tensor:
    """Which elements of the buffers belong to no parameter."""
    mask = torch.ones(len(flat.weights), dtype=torch.bool)
    for window in windows(flat):
        mask[window] = False
    return mask


def batch(count: int = 24, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, *DIGITS.shape, generator=generator, dtype=dtype)
    return images, torch.randint(0, 10, (count,), generator=generator)


def gradient_of(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


@every_model
def test_writing_the_buffer_shows_in_the_parameters(model: Model) -> None:
    flat = make_flat(model)
    numbers = torch.arange(len(flat.weights), dtype=torch.float32)
    flat.weights.data.copy_(numbers)
    for parameter, window in zip(flat.model.parameters(), windows(flat), strict=True):
        assert torch.equal(parameter.detach().reshape(-1), numbers[window])


@every_model
def test_writing_a_parameter_shows_in_the_buffer(model: Model) -> None:
    flat = make_flat(model)
    for number, parameter in enumerate(flat.model.parameters(), start=1):
        parameter.data.fill_(number)
    expected = torch.zeros(len(flat.weights))
    for number, window in enumerate(windows(flat), start=1):
        expected[window] = number
    assert torch.equal(flat.weights.detach(), expected)


@every_model
@every_dtype
def test_flattening_keeps_the_initial_weights(model: Model, dtype: torch.dtype) -> None:
    ordinary = build_model(model, DIGITS, seed=3).to(dtype)
    flat = make_flat(model, dtype)
    for ours, theirs in zip(flat.model.parameters(), ordinary.parameters(), strict=True):
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)


@every_model
@every_dtype
def test_every_parameter_starts_at_64_bytes_and_none_overlap(
    model: Model, dtype: torch.dtype
) -> None:
    flat = make_flat(model, dtype)
    tensors = [*flat.model.parameters(), *(gradient_of(p) for p in flat.model.parameters())]
    assert [t.data_ptr() % 64 for t in tensors] == [0] * len(tensors)
    assert int((~gaps(flat)).sum()) == sum(p.numel() for p in flat.model.parameters())
    assert all(window.stop <= len(flat.weights) for window in windows(flat))


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (MODELS[0], 64 * 13 + 13 + 13 * 7 + 7 + 7 * 10 + 10),
        (MODELS[1], 64 * 10 + 10),
        (MODELS[2], 64 * 16 + 16 + 16 * 32 + 32 + 32 * 10 + 10),
        (
            MODELS[3],
            (9 * 3 + 3) + (9 * 3 * 5 + 5) + (5 * 2 * 2 * 11 + 11) + (11 * 10 + 10),
        ),
    ],
    ids=str,
)
def test_the_count_leaves_the_gaps_out(model: Model, count: int) -> None:
    flat = make_flat(model)
    assert flat.parameters == count
    assert len(flat.weights) - int(gaps(flat).sum()) == count


@every_model
@every_dtype
def test_backward_writes_into_the_gradient_buffer(model: Model, dtype: torch.dtype) -> None:
    flat = make_flat(model, dtype)
    ordinary = copy.deepcopy(flat.model)
    images, labels = batch(dtype=dtype)
    set_gradients(ordinary, images, labels, "sum")

    backward(nn.functional.cross_entropy(flat.model(images), labels, reduction="sum"))

    assert flat.weights.grad is flat.gradient
    for ours, theirs, window in zip(
        flat.model.parameters(), ordinary.parameters(), windows(flat), strict=True
    ):
        expected = gradient_of(theirs)
        torch.testing.assert_close(gradient_of(ours), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(flat.gradient[window].view_as(expected), gradient_of(ours))
        assert bool(expected.any())


def test_writing_the_gradient_buffer_shows_in_the_parameters() -> None:
    flat = make_flat()
    flat.gradient.copy_(torch.arange(len(flat.gradient)))
    for parameter, window in zip(flat.model.parameters(), windows(flat), strict=True):
        expected = torch.arange(window.start, window.stop, dtype=torch.float32)
        assert torch.equal(gradient_of(parameter).reshape(-1), expected)


@every_model
def test_the_norm_is_that_of_the_separate_gradients(model: Model) -> None:
    flat = make_flat(model)
    images, labels = batch()
    backward(nn.functional.cross_entropy(flat.model(images), labels))
    naive = naive_norm([gradient_of(parameter) for parameter in flat.model.parameters()])
    assert float(flat.norm()) == pytest.approx(naive, rel=1e-6)
    assert naive > 0


def test_a_copy_of_the_weights_does_not_follow_them() -> None:
    flat = make_flat()
    before, first = flat.copy_weights(), flat.weights.detach().numpy().copy()
    flat.weights.data.add_(1.0)
    assert torch.equal(before, torch.from_numpy(first))


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gaps_stay_zero_and_views_stay_views(name: Optimizer, decay: float) -> None:
    flat = make_flat()
    train = Train(batch_size=24, lr=0.05, epochs=1, optimizer=name, weight_decay=decay)
    assert isinstance(flat.weights, nn.Parameter)
    optimizer = build_optimizer([flat.weights], train, Rates(train.lr))
    before, empty = flat.copy_weights(), gaps(flat)
    places = windows(flat)
    images, labels = batch()
    for _ in range(30):
        flat.gradient.zero_()
        backward(nn.functional.cross_entropy(flat.model(images), labels))
        optimizer.step()
    assert int(empty.sum()) > 0
    assert not flat.weights.detach()[empty].any()
    assert not flat.gradient[empty].any()
    assert windows(flat) == places
    moved = flat.weights.detach() != before
    assert [bool(moved[window].any()) for window in places] == [True] * len(places)
