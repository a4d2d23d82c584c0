"""Batch norm under accumulation: what it normalizes over, and that no image is left alone."""

import copy
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.planning.batch_norm import largest_cut, leaves_one, pieces, refusal
from batchscope.engine.planning.micro_batch import Shape, choose_micro_batch, next_size
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Data, Memory, Model, Probe, Settings, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from tests.unit.training_fixtures import CPU, Run, accumulate, intercept, make_trial, synthetic

DIGITS = DATASETS["digits"]
Budget = dict[str, float]
MLP = Model(name="mlp", hidden=(9, 6), batch_norm=True)
CNN = Model(name="cnn", channels=(3,), hidden=(7,), batch_norm=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Three batches an epoch, of 50, 50 and 29 images."""
    return load_images(synthetic(tmp_path_factory.mktemp("norm"), train=129, test=40), CPU)


def asked(batch_size: int, budget: Budget, model: Model = MLP) -> Settings:
    train = replace(Train(batch_size=batch_size, lr=0.1), **budget)
    return Settings(data=Data(name="digits"), model=model, train=train)


# ---- counting


def naive_pieces(count: int, size: int) -> list[int]:
    return [len(range(count)[first : first + size]) for first in range(0, count, size)]


counts_of_images = st.lists(st.integers(1, 60), min_size=1, max_size=2)


@given(counts_of_images, st.integers(1, 70))
def test_an_image_left_alone(counts: list[int], size: int) -> None:
    alone = any(1 in naive_pieces(count, size) for count in counts)
    assert leaves_one(counts, size) == alone


@given(counts_of_images, st.integers(1, 70))
def test_the_largest_cut(counts: list[int], most: int) -> None:
    able = [s for s in range(1, most + 1) if not any(1 in naive_pieces(c, s) for c in counts)]
    assert largest_cut(most, counts) == (max(able) if able else None)
    assert largest_cut(most, ()) == most


@pytest.mark.parametrize(
    ("batch_size", "budget", "expected"),
    [
        (50, {"epochs": 1}, (50, 29)),
        (43, {"epochs": 1}, (43,)),
        (50, {"steps": 2}, (50,)),  # it never comes to the last of the epoch
        (50, {"steps": 3}, (50, 29)),
        (50, {"seconds": 1.0}, (50, 29)),
        (129, {"epochs": 1}, (129,)),
        (64, {"epochs": 1}, (64, 65)),  # a single image joins the second batch
        (64, {"steps": 2}, (64,)),  # and does not where it is never met
        (64, {"steps": 3}, (64, 65)),
        (64, {"samples": 128}, (64,)),
        (64, {"samples": 129}, (64, 65)),
        (64, {"seconds": 1.0}, (64, 65)),
        (128, {"epochs": 1}, (129,)),
        (1, {"epochs": 1}, (1,)),
    ],
)
def test_batches_that_are_cut(batch_size: int, budget: Budget, expected: tuple[int]) -> None:
    assert pieces(asked(batch_size, budget), 129) == expected
    plain = asked(batch_size, budget, replace(MLP, batch_norm=False))
    assert pieces(plain, 129) == ()


@pytest.mark.parametrize(
    ("counts", "micro", "part"),
    [
        ((50, 29), None, None),
        ((50, 29), 25, None),
        ((50, 29), 28, "micro-batches of 28 leave one of 29 samples"),
        ((50, 29), 7, "micro-batches of 7 leave one of 50 samples"),
        ((64, 1), None, "an epoch ends in a batch of one"),
        ((1,), None, "the batch is one"),
        ((50, 29), 1, "micro-batches of 1 leave one of 50 samples"),
        ((4, 5), 4, "micro-batches of 4 leave one of 5 samples alone: choose another memory.micro"),
        ((4, 5), 4, "such as 5"),
        ((359, 360), 359, "such as 357"),
        ((), 1, None),
    ],
)
def test_what_is_refused(counts: tuple[int, ...], micro: int | None, part: str | None) -> None:
    problem = refusal(counts, micro)
    assert problem is None if part is None else part in (problem or "")


# ---- the choice


@settings(max_examples=200, deadline=None)
@given(
    batch_size=st.integers(2, 300),
    last=st.integers(0, 299),
    limit=st.integers(1, 4000),
    fixed=st.integers(0, 200),
    wobble=st.integers(0, 30),
)
def test_no_shape_that_leaves_an_image_alone_is_executed(
    batch_size: int, last: int, limit: int, fixed: int, wobble: int
) -> None:
    counts = [n for n in (batch_size, last % batch_size) if n > 1]
    tried: list[Shape] = []
    while (size := next_size(batch_size, tried, limit, fixed, counts)) is not None:
        assert not leaves_one(counts, size)
        assert size not in {shape.micro_batch_size for shape in tried}
        tried.append(Shape(size, fixed + 10 * size + size * wobble % 31, 100.0 / size, rounds=7))
    assert tried or largest_cut(min(8, batch_size), counts) is None
    choice = choose_micro_batch(batch_size, tried, limit, fixed, exact=False)
    fitting = [s.micro_batch_size for s in tried if s.peak_bytes <= 0.9 * limit]
    fewest = min((-(-batch_size // size) for size in fitting), default=0)
    most_even = min((s for s in fitting if -(-batch_size // s) == fewest), default=None)
    assert (choice.micro_batch_size if choice else None) == most_even


# ---- the arithmetic


class Plain(nn.Module):
    """The same network, with batch norm computed by hand."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for layer in of.children())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                over = [0] if x.ndim == 2 else [0, 2, 3]
                shape = [1, -1] if x.ndim == 2 else [1, -1, 1, 1]
                mean = x.mean(over, keepdim=True)
                variance = (x - mean).square().mean(over, keepdim=True)
                x = (x - mean) / (variance + layer.eps).sqrt()
                x = x * layer.weight.view(shape) + layer.bias.view(shape)
            else:
                x = layer(x)
        return x


def ghost_gradients(network: Plain, inputs: Tensor, labels: Tensor, micro: int) -> list[Tensor]:
    """Of the mean loss, where each micro-batch is normalized over itself."""
    total = torch.zeros((), dtype=inputs.dtype)
    for first in range(0, len(labels), micro):
        part = slice(first, first + micro)
        loss = functional.cross_entropy(network(inputs[part]), labels[part], reduction="sum")
        total = total + loss / len(labels)
    return list(torch.autograd.grad(total, list(network.parameters())))


@pytest.mark.parametrize("model", [MLP, CNN])
@pytest.mark.parametrize(("size", "micro"), [(40, 40), (40, 20), (40, 12), (29, 9)])
def test_accumulation_is_ghost_batch_norm(
    images: Images, model: Model, size: int, micro: int
) -> None:
    network = build_model(model, DIGITS, 3).double()
    plain = Plain(network)
    flat = FlatModel(network, CPU, torch.float64)
    inputs, labels = images.train.double(), images.train_labels
    accumulate(flat, inputs, labels, torch.arange(size), micro, True)
    expected = ghost_gradients(plain, inputs[:size], labels[:size], micro)
    for parameter, gradient in zip(flat.model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-9, atol=1e-12)


def test_it_is_not_the_gradient_of_the_whole_batch(images: Images) -> None:
    found = []
    for micro in (40, 20):
        flat = FlatModel(build_model(MLP, DIGITS, 3), CPU)
        accumulate(flat, images.train, images.train_labels, torch.arange(40), micro, True)
        found.append(flat.gradient.clone())
    apart = torch.linalg.vector_norm(found[0] - found[1]) / torch.linalg.vector_norm(found[0])
    assert float(apart) > 0.01


def test_a_layer_before_batch_norm_has_no_bias() -> None:
    names = [name for name, _ in build_model(MLP, DIGITS, 0).named_parameters()]
    assert names == ["1.weight", "2.weight", "2.bias", "4.weight", "5.weight", "5.bias",
                     "7.weight", "7.bias"]  # fmt: skip


# ---- in training


def train_of(batch_size: int = 50) -> Train:
    return Train(batch_size=batch_size, lr=0.1, epochs=2)


def test_a_probe_does_not_change_running_statistics(images: Images) -> None:
    probe = Probe(at=(0, 0.5, 1), batch_sizes=(2, 33), draws=4, pairs=((2, 8),), pair_draws=3)
    plain = Run(make_trial(train_of(), MLP), images)
    probed = Run(make_trial(train_of(), MLP, probe=probe), images)
    assert len(probed.probes) == 3
    assert torch.equal(plain.flat.weights, probed.flat.weights)
    pairs = zip(plain.flat.model.buffers(), probed.flat.model.buffers(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_evaluation_uses_running_statistics(images: Images) -> None:
    found = []
    for size in (40, 7):
        trial = make_trial(train_of(), CNN)
        plan = replace(make_plan(trial, images.train_size, 1), evaluation_batch_size=size)
        found.append(Run(trial, images, plan).records[-1])
    assert found[0].test_accuracy == found[1].test_accuracy
    assert found[0].test_loss == pytest.approx(found[1].test_loss, rel=1e-6)


def test_memory_that_runs_out_is_cut_so_that_no_image_is_alone(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 50, 50 and 29: 25 and 13 fit, and 14 would, but 29 = 2 × 14 + 1."""
    seen: list[int] = []

    def took(size: int) -> None:
        if size > 14:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        seen.append(size)

    intercept(monkeypatch, lambda real, *words: real(*words[:-1], took))
    run = Run(make_trial(train_of(), MLP), images)
    assert run.ended.status == "finished"
    assert 1 not in seen
    assert max(seen) == 13


def test_a_cut_that_would_leave_an_image_alone_ends_the_trial(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    intercept(monkeypatch, short)
    with pytest.raises(torch.OutOfMemoryError):
        Run(make_trial(train_of(), MLP), images)


def test_a_set_micro_batch_size_is_used(images: Images) -> None:
    trial = make_trial(train_of(), MLP, memory=Memory(micro_batch_size=25))
    assert Run(trial, images).ended.status == "finished"


def sizes(shapes: Sequence[Shape]) -> list[int]:
    return [shape.micro_batch_size for shape in shapes]


def test_measuring_leaves_no_image_alone(tmp_path: Path) -> None:
    from batchscope.engine.training.jobs.micro_batch_bench import Bench

    odd = load_images(synthetic(tmp_path, train=123, test=40), CPU)
    trial = make_trial(train_of(57), CNN)  # batches of 57, 57 and 9: eights leave one of both
    bench = Bench((trial,), make_plan(trial, odd.train_size, 1), odd, CPU, 1 << 40)
    assert not any(leaves_one((57, 9), size) for size in sizes(bench.shapes(5.0)))


def test_no_batch_is_cut_because_measuring_had_no_time(images: Images) -> None:
    """A cut would change the training; where it is exact, it is not worth the time."""
    from batchscope.engine.training.jobs.micro_batch_bench import Bench

    for model, whole in ((CNN, True), (replace(CNN, batch_norm=False), False)):
        trial = make_trial(train_of(100), model)
        bench = Bench((trial,), make_plan(trial, 129, 1), images, CPU, 1 << 40)
        assert (100 in sizes(bench.shapes(0.0))) == whole
