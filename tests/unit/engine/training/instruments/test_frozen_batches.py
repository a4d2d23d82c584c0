"""The probe at frozen weights, compared with plain gradients of every batch."""

import copy
import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepare import prepare
from batchscope.engine.journal.events import Draws
from batchscope.engine.metrics.norm_histogram import EDGES
from batchscope.engine.spec import Probe, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.frozen_batches import Drawing, frozen_weights
from batchscope.engine.training.instruments.frozen_gradients import draw_sizes
from batchscope.engine.training.instruments.probe_moments import Moments
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from tests.unit.training_fixtures import CPU, SMALL_MLP, Run, make_trial, synthetic, untimed

STREAM = (7,)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """50 images to train on, 20 to test."""
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(prepare("digits", tmp_path_factory.mktemp("home"), None), CPU)


def drawing(images: Images, mean: bool = True, replacement: bool = False, seed: int = 0) -> Drawing:
    flat = FlatModel(build_model(SMALL_MLP, DATASETS["digits"], 1), CPU)
    return Drawing(flat, images, seed, mean, replacement, micro_batch_size=16)


def plain_gradient(of: Drawing, batch: Tensor, reduction: str) -> NDArray[np.float64]:
    """The gradient of a batch in one vector, without the flat buffer."""
    model = copy.deepcopy(of.flat.model)
    parameters = [parameter.detach().clone() for parameter in model.parameters()]
    named = dict(zip(dict(model.named_parameters()), parameters, strict=True))
    for parameter in parameters:
        parameter.requires_grad_()
    logits = torch.func.functional_call(model, named, (of.images.samples.batch(batch)[0],))
    loss = torch.nn.functional.cross_entropy(
        logits, of.images.samples.batch(batch)[1], reduction=reduction
    )
    gradients = torch.autograd.grad(loss, parameters)
    return np.concatenate([gradient.double().numpy().ravel() for gradient in gradients])


def naive(of: Drawing, size: int, draws: int, reduction: str) -> NDArray[np.float64]:
    """Gradients (draws, P)."""
    batches = of.batches(size, draws, STREAM)
    return np.stack([plain_gradient(of, batch, reduction) for batch in batches])


def check_cancelled() -> None:
    pass


def draw(of: Drawing, size: int, draws: int) -> Draws:
    (found,) = draw_sizes(of, [size], draws, STREAM, check_cancelled)
    return found


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("size", [1, 7, 49])
def test_draws_equal_plain_gradients(size: int, reduction: str, small: Images) -> None:
    of = drawing(small, mean=reduction == "mean")
    gradients = naive(of, size, 30, reduction)
    norms = np.linalg.norm(gradients, axis=1)
    found = draw(of, size, 30)
    assert (found.batch_size, found.norms.count, found.norms.broken) == (size, 30, 0)
    assert found.norms.mean == pytest.approx(norms.mean(), rel=1e-5)
    assert found.norms.squares == pytest.approx(np.square(norms - norms.mean()).sum(), rel=1e-3)
    counts, _ = np.histogram(norms, EDGES)
    filled = found.norms.first_bin + np.arange(len(found.norms.counts))
    assert counts[filled].tolist() == list(found.norms.counts)
    units = gradients / norms[:, None]
    cosines = (units @ units.T)[~np.eye(30, dtype=bool)]
    assert found.pairwise_cosine == pytest.approx(cosines.mean(), abs=1e-5)
    assert found.values is not None
    assert found.values.count == gradients.size
    assert found.values.std == pytest.approx(gradients.std(), rel=1e-5)
    central = gradients - gradients.mean()
    kurtosis = (central**4).mean() / (central**2).mean() ** 2
    assert found.values.kurtosis == pytest.approx(kurtosis, rel=1e-4)


@pytest.mark.parametrize(("mean", "replacement"), itertools.product([True, False], [True, False]))
def test_norms_follow_the_law_of_the_variance(mean: bool, replacement: bool, small: Images) -> None:
    """E|g_B|² = |G|² + tr(Σ)/B for the mean, times (N − B)/(N − 1) without replacement."""
    of = drawing(small, mean, replacement)
    size, draws, total = 10, 3000, small.train_size
    single = np.stack([plain_gradient(of, torch.tensor([i]), "sum") for i in range(total)])
    whole = single.mean(axis=0)
    trace = np.square(single - whole).sum() / total
    shrunk = 1.0 if replacement else (total - size) / (total - 1)
    expected = (whole @ whole + trace / size * shrunk) * (1 if mean else size**2)
    norms = draw(of, size, draws).norms
    squares = norms.squares / norms.count + norms.mean**2
    assert squares == pytest.approx(expected, rel=0.02)


def test_the_whole_data_set_is_the_same_batch_every_time(small: Images) -> None:
    found = draw(drawing(small), small.train_size, 5)
    assert found.norms.squares == pytest.approx(0, abs=1e-9)
    assert found.pairwise_cosine == pytest.approx(1, abs=1e-6)


def test_batches_are_independent(small: Images) -> None:
    of = drawing(small)
    batches = [batch.tolist() for batch in of.batches(5, 200, STREAM)]
    assert all(len(set(batch)) == 5 for batch in batches)
    assert {index for batch in batches for index in batch} == set(range(50))
    assert len({tuple(sorted(batch)) for batch in batches}) > 190
    assert batches == [batch.tolist() for batch in of.batches(5, 200, STREAM)]
    for other in (of.batches(5, 200, (8,)), drawing(small, seed=1).batches(5, 200, STREAM)):
        assert batches != [batch.tolist() for batch in other]
    doubled = [b.tolist() for b in drawing(small, replacement=True).batches(20, 200, STREAM)]
    assert any(len(set(batch)) < 20 for batch in doubled)


def test_weights_and_buffers_are_restored() -> None:
    flat = FlatModel(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)), CPU)
    before = copy.deepcopy(flat.model.state_dict())
    with frozen_weights(flat):
        flat.model(torch.randn(8, 4))
        flat.weights.detach().add_(1)
    after = flat.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# ---- within a training


PROBE = Probe(at=(0, 0.5, 1), batch_sizes=(1, 5, 20), draws=10, pairs=((1, 2), (5, 20)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_probe_does_not_change_the_training(
    optimizer: Literal["sgd", "adam"], small: Images
) -> None:
    train = Train(batch_size=20, lr=0.05, epochs=3, optimizer=optimizer)
    plain = Run(make_trial(train), small)
    probed = Run(make_trial(train, probe=PROBE), small)
    assert all(torch.equal(a, b) for a, b in zip(plain.weights, probed.weights, strict=True))
    assert [untimed(r) for r in plain.records] == [untimed(r) for r in probed.records]


def test_events_of_each_moment(small: Images) -> None:
    run = Run(make_trial(Train(batch_size=20, lr=0.05, epochs=4), probe=PROBE), small)
    places = [(p.at_share, p.epoch, p.steps, p.samples) for p in run.probes]
    assert places == [(0.0, 0, 0, 0), (0.5, 2, 6, 100), (1.0, 4, 12, 200)]
    for probed in run.probes:
        assert [one.batch_size for one in probed.draws] == [1, 5, 20]
        assert [one.norms.count for one in probed.draws] == [10, 10, 10]
        assert [(one.small, one.large) for one in probed.competitions] == [(1, 2), (5, 20)]


def test_draws_are_at_the_weights_of_the_moment(small: Images) -> None:
    """The last probe equals one at the final weights."""
    probe = Probe(at=(1,), batch_sizes=(5,), draws=10)
    run = Run(make_trial(Train(batch_size=20, lr=0.05, epochs=2), probe=probe), small)
    of = Drawing(run.flat, small, seed=0, mean=True, replacement=False, micro_batch_size=16)
    assert run.probes[0].draws == draw_sizes(of, [5], 10, (1_000_000,), check_cancelled)


def test_trials_of_a_seed_draw_the_same_batches(small: Images) -> None:
    """Before the first step, when their weights are also the same."""
    probe = Probe(at=(0,), batch_sizes=(5,), draws=10)
    one, other = (
        Run(make_trial(Train(batch_size=b, lr=lr, epochs=1), probe=probe), small).probes[0].draws
        for b, lr in ((5, 0.1), (50, 0.01))
    )
    assert one == other


def test_sizes_are_limited_by_the_data(small: Images) -> None:
    probe = Probe(at=(0,), batch_sizes=(5, 60, 50), draws=2, pairs=((10, 60), (5, 50)))
    train = Train(batch_size=20, lr=0.05, epochs=1)
    (probed,) = Run(make_trial(train, probe=probe), small).probes
    assert [one.batch_size for one in probed.draws] == [5, 50]
    assert [(one.small, one.large) for one in probed.competitions] == [(5, 50)]
    again = Train(batch_size=20, lr=0.05, epochs=1, sampling="with-replacement")
    (probed,) = Run(make_trial(again, probe=probe), small).probes
    assert [one.batch_size for one in probed.draws] == [5, 50, 60]
    assert [(one.small, one.large) for one in probed.competitions] == [(10, 60), (5, 50)]


def test_the_default_size_is_that_of_the_training(small: Images) -> None:
    train = Train(batch_size=64, lr=0.05, epochs=1)
    (probed,) = Run(make_trial(train, probe=Probe(at=(0,), draws=3)), small).probes
    assert [one.batch_size for one in probed.draws] == [50]


def test_gradients_that_are_not_finite_are_counted_separately(small: Images) -> None:
    probe = Probe(at=(0.1,), batch_sizes=(5,), draws=4, pairs=((1, 2),))
    train = Train(batch_size=5, lr=1e38, epochs=1, loss_reduction="sum")
    (probed,) = Run(make_trial(train, probe=probe), small).probes
    (drawn,) = probed.draws
    assert (drawn.norms.broken, drawn.norms.count) == (4, 0)
    assert drawn.values is None
    assert drawn.pairwise_cosine is None
    assert probed.competitions == ()


def test_a_training_can_be_halted_while_it_is_probed(small: Images) -> None:
    calls = itertools.count(1)
    trial = make_trial(Train(batch_size=20, lr=0.05, epochs=1), probe=PROBE)
    run = Run(trial, small, halted=lambda: next(calls) > 5)
    assert run.ended.status == "stopped"
    assert run.training.at.steps == 0
    assert run.probes == []


def test_an_early_target_triggers_the_final_probe(digits: Images) -> None:
    probe = Probe(at=(0.9, 1), batch_sizes=(5,), draws=2)
    train = Train(batch_size=16, lr=0.1, epochs=50, target_accuracy=0.5)
    run = Run(make_trial(train, probe=probe), digits)
    assert run.ended.reason.endswith("test accuracy of 0.5")
    assert [(p.at_share, p.steps) for p in run.probes] == [(1.0, run.training.at.steps)]


@pytest.mark.parametrize(
    ("shares", "total", "expected"),
    [
        ((0.0, 0.5, 1.0), 10, {0: [0.0], 5: [0.5], 10: [1.0]}),
        ((1.0, 0.0, 0.0), 3, {0: [0.0], 3: [1.0]}),
        ((0.31, 0.34), 10, {4: [0.31, 0.34]}),
        ((0.0, 0.1), 3, {0: [0.0], 1: [0.1]}),
        ((0.1, 0.3, 0.7), 30, {3: [0.1], 9: [0.3], 21: [0.7]}),
        ((), 10, {}),
    ],
)
def test_moments_are_due_at_their_share_of_the_steps(
    shares: tuple[float, ...], total: int, expected: dict[int, list[float]]
) -> None:
    moments = Moments(shares, total, None)
    found: dict[int, list[float]] = {}
    for step in range(total + 1):
        while (share := moments.reached(step, 0.0)) is not None:
            found.setdefault(step, []).append(share)
    assert found == expected
    assert moments.last is None


def test_moments_of_a_budget_in_seconds() -> None:
    moments = Moments((0.5, 1.0), None, 4.0)
    assert [moments.reached(step, step * 1.5) for step in range(3)] == [None, None, 0.5]
    assert moments.last == 1.0
    moments.take(1.0)
    assert moments.last is None
