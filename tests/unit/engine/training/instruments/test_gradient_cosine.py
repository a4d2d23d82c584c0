"""The cosine of successive gradients, against numpy and against its closed form."""

import numpy as np
import pytest
import torch

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Model, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.gradient_cosine import GradientCosine
from batchscope.engine.training.instruments.instrument import Step
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import CPU, Run, make_trial, synthetic


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("cosine"), train=120, test=20), CPU)


def step(number: int) -> Step:
    return Step(number, 0, 8, 8, 0.1, 1.0)


@pytest.mark.parametrize("every", [2, 4, 16])
def test_it_is_the_mean_over_pairs_of_neighbours(every: int) -> None:
    """With a checkpoint between any two steps."""
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(23, 2, 6)).astype(np.float32)
    gradient = torch.zeros(2, 6)
    instrument = GradientCosine(gradient, every)
    for number, row in enumerate(rows, 1):
        gradient.copy_(torch.from_numpy(row))
        instrument.before_step(step(number))
        state, instrument = instrument.state(), GradientCosine(gradient, every)
        instrument.load(state)
    for replicate in range(2):
        pairs = [(rows[at, replicate], rows[at + 1, replicate]) for at in range(0, 22, every)]
        expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
        assert instrument.fields(replicate)["gradient_cosine"] == pytest.approx(
            np.mean(expected), rel=1e-5
        )
    instrument.end_epoch()
    assert instrument.fields(0) == {"gradient_cosine": None}


def test_it_is_one_over_one_plus_noise_scale_over_batch_size() -> None:
    """Of gradients with a mean G and a covariance Σ/B, in many dimensions."""
    draw, size, batch = np.random.default_rng(3), 4000, 16
    mean = draw.normal(size=size)
    spread = draw.uniform(1, 5, size=size)
    noise_scale = (spread**2).sum() / (mean**2).sum()
    gradient = torch.zeros(1, size)
    instrument = GradientCosine(gradient, 2)
    for number in range(1, 401):
        noise = draw.normal(size=size) * spread / batch**0.5
        gradient[0] = torch.from_numpy(mean + noise).float()
        instrument.before_step(step(number))
    found = instrument.fields(0)["gradient_cosine"]
    assert found == pytest.approx(1 / (1 + noise_scale / batch), rel=0.01)


def test_a_training_without_gradients_computes_them_for_both_of_a_pair(images: Images) -> None:
    trial = make_trial(Train(batch_size=4, lr=0.02, epochs=2), Model(name="mlp", hidden=(2400,)))
    stepper = Stepper((trial,), make_plan(trial, images.train_size, 1), images, CPU)
    (instrument,) = [each for each in stepper.instruments if isinstance(each, GradientCosine)]
    assert stepper.stack.passes.few >= 4
    batch = torch.arange(4).unsqueeze(0)
    stepper.step(batch, 1, 0)
    first = stepper.stack.gradient.clone()
    assert instrument.held()[1].equal(first)
    stepper.step(batch + 4, 2, 0)
    assert len(instrument.held()) == 1, "between two pairs no gradient is kept"
    assert not instrument.needs_gradient(step(3))
    second = stepper.stack.gradient
    expected = torch.nn.functional.cosine_similarity(first, second, dim=1)
    assert instrument.fields(0)["gradient_cosine"] == pytest.approx(float(expected), rel=1e-5)


def test_with_batch_norm_it_is_measured_too(images: Images) -> None:
    trial = make_trial(Train(batch_size=16, lr=0.1, epochs=20), Model(name="mlp", batch_norm=True))
    records = Run(trial, images).records
    assert all(-1 <= (record.gradient_cosine or 9) <= 1 for record in records)
