"""Competitions, compared with steps of torch's SGD and a projection by numpy."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.spec import Model
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.competition import EXAMPLES, compete
from batchscope.engine.training.instruments.frozen_batches import Drawing
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from tests.unit.training_fixtures import CPU, SMALL_MLP, synthetic

STREAM = (3,)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


def drawing(images: Images, mean: bool = True, model: Model = SMALL_MLP) -> Drawing:
    flat = FlatModel(build_model(model, DATASETS["digits"], 1), CPU)
    return Drawing(flat, images, seed=0, mean=mean, replacement=False, micro_batch_size=16)


def check_cancelled() -> None:
    pass


def flattened(model: nn.Module) -> NDArray[np.float64]:
    with torch.no_grad():
        return np.concatenate([p.double().numpy().ravel() for p in model.parameters()])


def walked(of: Drawing, parts: list[Tensor], lr: float, mean: bool) -> NDArray[np.float64]:
    """The steps (len(parts), P) of torch's SGD from the weights as they are."""
    model = copy.deepcopy(of.flat.model).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    images, labels = of.images.samples.batch(torch.arange(of.images.train_size))
    images = images.double()
    steps = []
    for part in parts:
        before = flattened(model)
        optimizer.zero_grad()
        reduction = "mean" if mean else "sum"
        loss = nn.functional.cross_entropy(model(images[part]), labels[part], reduction=reduction)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps.append(flattened(model) - before)
    return np.stack(steps)


def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("pair", [(1, 2), (1, 3), (5, 20)])
def test_figures_equal_those_of_ordinary_steps(
    pair: tuple[int, int], mean: bool, small: Images
) -> None:
    of, lr, draws = drawing(small, mean), 0.3, 12
    found = compete(of, pair, draws, lr, STREAM, check_cancelled)
    assert found is not None
    assert (found.small, found.large, found.draws, found.lr) == (*pair, draws, lr)
    cosines, ratios, straight, between = [], [], [], []
    batches = of.batches(pair[1], draws, (*STREAM, pair[0]))
    for batch, example in zip(batches, found.examples, strict=True):
        small_steps = walked(of, list(torch.split(batch, pair[0])), lr, mean)
        (large,) = walked(of, [batch], lr, mean)
        total = small_steps.sum(axis=0)
        lengths = np.linalg.norm(small_steps, axis=1)
        cosines.append(cosine(total, large))
        ratios.append(np.linalg.norm(total) / np.linalg.norm(large))
        straight.append(np.linalg.norm(total) / lengths.sum())
        apart = ~np.eye(len(lengths), dtype=bool)
        products = small_steps @ small_steps.T
        between.append(products[apart].sum() / np.outer(lengths, lengths)[apart].sum())
        # an orthonormal basis of the plane, first along the sum
        basis, _ = np.linalg.qr(np.stack([total, small_steps[0]], axis=1))
        basis *= np.sign([total @ basis[:, 0], small_steps[0] @ basis[:, 1]])
        assert example.total == pytest.approx(np.linalg.norm(total), rel=1e-4)
        assert example.first == pytest.approx(tuple(small_steps[0] @ basis), rel=1e-3, abs=1e-5)
        assert example.large == pytest.approx(tuple(large @ basis), rel=1e-3, abs=1e-5)
        outside = np.linalg.norm(large - basis @ (basis.T @ large))
        assert example.outside == pytest.approx(outside, rel=2e-2, abs=2e-4)
    for name, values in (
        ("cosine", cosines),
        ("length_ratio", ratios),
        ("straightness", straight),
        ("step_cosine", between),
    ):
        expected = (np.mean(values), np.std(values, ddof=1))
        assert getattr(found, name) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("mean", "ratio"), [(True, 4.0), (False, 1.0)])
def test_short_steps_sum_to_the_large_one(mean: bool, ratio: float, small: Images) -> None:
    """To first order a sum of small steps is `large / small` times the step of the mean."""
    found = compete(drawing(small, mean), (2, 8), 10, 1e-3, STREAM, check_cancelled)
    assert found is not None
    assert found.length_ratio[0] == pytest.approx(ratio, rel=1e-2)
    assert found.cosine[0] == pytest.approx(1.0, abs=1e-4)


def test_a_very_short_step_still_has_a_direction(small: Images) -> None:
    """Weights are so large that some images are almost learnt and others completely wrong."""
    of = drawing(small)
    with torch.no_grad():
        of.flat.weights.mul_(20)
    found = compete(of, (1, 2), 100, 0.5, STREAM, check_cancelled)
    assert found is not None
    lengths = [
        min(one.first[0] / one.total, 1 - one.first[0] / one.total) for one in found.examples
    ]
    assert min(map(abs, lengths)) < 1e-6
    mean, deviation = found.step_cosine
    assert abs(mean) <= 1
    assert deviation <= 1.01


def test_steps_below_the_rounding_of_the_weights_have_a_direction(small: Images) -> None:
    of = drawing(small)
    tiny, short = (compete(of, (1, 2), 10, lr, STREAM, check_cancelled) for lr in (1e-12, 1e-4))
    assert tiny is not None
    assert short is not None
    assert tiny.step_cosine == pytest.approx(short.step_cosine, abs=1e-3)


def test_the_weights_are_restored(small: Images) -> None:
    of = drawing(small)
    before = of.flat.copy_weights()
    compete(of, (1, 2), 3, 0.5, STREAM, check_cancelled)
    assert torch.equal(before, of.flat.copy_weights())


def test_examples_are_the_first_draws(small: Images) -> None:
    of = drawing(small)
    many = compete(of, (1, 2), EXAMPLES + 10, 0.5, STREAM, check_cancelled)
    few = compete(of, (1, 2), 5, 0.5, STREAM, check_cancelled)
    assert many is not None
    assert few is not None
    assert len(many.examples) == EXAMPLES
    assert many.examples[:5] == few.examples


def test_zero_gradients_give_no_competition(small: Images) -> None:
    of = drawing(small)
    with torch.no_grad():
        of.flat.weights.zero_()
        for parameter in of.flat.model.parameters():
            if parameter.shape == (10,):
                parameter.fill_(-200.0)
                parameter[3] = 200.0
    images = Images(
        small.train,
        torch.full_like(small.train_labels, 3),
        small.test,
        small.test_labels,
        small.train_part,
    )
    sure = Drawing(of.flat, images, seed=0, mean=True, replacement=False, micro_batch_size=16)
    assert compete(sure, (1, 2), 5, 0.5, STREAM, check_cancelled) is None
