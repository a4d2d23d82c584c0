"""Gradient norms by layer, compared with automatic differentiation and plain numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.journal.events import LayerNorm
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Memory, Model, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.instrument import Step
from batchscope.engine.training.instruments.layer_norms import LayerNorms
from batchscope.engine.training.model.build import build_model
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.layer_windows import layer_windows
from batchscope.engine.training.model.passes import Automatic
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import CPU, LINEAR, Run, make_trial, synthetic

FAMILIES = {
    "no hidden layer": LINEAR,
    "mlp": Model(name="mlp"),
    "mlp with batch norm": Model(name="mlp", batch_norm=True),
    "without gradients": Model(name="mlp", hidden=(1200,)),
    "cnn": Model(name="cnn"),
    "cnn with ghost batch norm": Model(name="cnn", batch_norm=True, ghost_batch_size=8),
    "vgg16": Model(name="vgg16", width=0.125),
    "vgg16-bn": Model(name="vgg16-bn", width=0.125, ghost_batch_size=8),
    "resnet18": Model(name="resnet18", width=0.125, ghost_batch_size=8),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("layers"), train=120, test=20), CPU)


def stepper_of(model: Model, images: Images, micro: int, seeds: int) -> Stepper:
    train, memory = Train(batch_size=48, lr=0.01, epochs=2), Memory(micro_batch_size=micro)
    trials = [make_trial(train, model, seed=seed, memory=memory) for seed in range(seeds)]
    return Stepper(trials, make_plan(trials[0], images.train_size, 1), images, CPU)


def layer_norms(stepper: Stepper) -> LayerNorms:
    (found,) = [each for each in stepper.instruments if isinstance(each, LayerNorms)]
    return found


def naive(model: Model, weights: list[Tensor], images: Images, batch: Tensor, cut: int) -> Tensor:
    """Return the norms of each layer's gradient of a separate network by autograd."""
    network = build_model(model, DATASETS["digits"], 0)
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), weights, strict=True):
            parameter.copy_(value)
    for part in torch.split(batch, cut):
        logits = network(images.train[part])
        loss = functional.cross_entropy(logits, images.train_labels[part], reduction="sum")
        (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
    own = [list(module.parameters(recurse=False)) for module in network.modules()]
    gradients = [
        torch.cat([p.grad.flatten() for p in some if p.grad is not None]) for some in own if some
    ]
    return torch.stack([gradient.double().norm() for gradient in gradients])


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("micro", [48, 16])
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_norms_equal_those_of_automatic_differentiation(
    model: Model, micro: int, seeds: int, images: Images
) -> None:
    stepper = stepper_of(model, images, micro, seeds)
    stepper.stack.passes = Automatic(stepper.stack.members)
    batch = torch.stack([torch.randperm(120)[:48] for _ in range(seeds)])
    weights = [[p.detach().clone() for p in m.model.parameters()] for m in stepper.stack.members]
    stepper.gradient(batch)
    instrument = layer_norms(stepper)
    instrument.before_step(Step(1, 0, 48, 48, 0.01, 1 / 48))
    for row in range(seeds):
        expected = naive(model, weights[row], images, batch[row], micro).numpy()
        found = instrument.held()[0][0, row].numpy()
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("micro", [48, 16])
@pytest.mark.parametrize("model", FAMILIES.values(), ids=FAMILIES)
def test_squared_norms_sum_to_that_of_the_whole_gradient(
    model: Model, micro: int, seeds: int, images: Images
) -> None:
    """In a real step, compare each layer with float64 over its window of the buffer."""
    stepper = stepper_of(model, images, micro, seeds)
    stepper.step(torch.stack([torch.randperm(120)[:48] for _ in range(seeds)]), 1, 0)
    found = layer_norms(stepper).held()[0][0].double()
    windows = [layer.window for layer in layer_windows(stepper.stack.members[0].model)]
    exact = [stepper.stack.gradient[:, window].double().norm(dim=1) for window in windows]
    assert found.numpy() == pytest.approx(torch.stack(exact, 1).numpy(), rel=1e-6)
    whole = found.square().sum(1).sqrt().numpy()
    assert whole == pytest.approx(stepper.norms.of(1)[0], rel=5e-6)  # both sum in float32


def test_a_step_without_gradient_computes_it_when_layers_are_measured(images: Images) -> None:
    """One step in 64, or one an epoch; the training has the same bits."""
    trial = make_trial(
        Train(batch_size=8, lr=0.02, epochs=3), Model(name="mlp", hidden=(1200,), init="he")
    )
    stepper = Stepper((trial,) * 2, make_plan(trial, images.train_size, 1), images, CPU)
    instrument = layer_norms(stepper)
    assert stepper.stack.passes.few >= 8
    assert instrument.every == 15, "an epoch has fifteen steps"
    before = stepper.stack.copy_weights()
    flat = FlatModel(build_model(trial.settings.model, DATASETS["digits"], 0), CPU)
    batch = torch.arange(8).expand(2, -1)
    stepper.step(batch, 1, 0)
    expected = naive(
        trial.settings.model, list(flat.model.parameters()), images, batch[0], 8
    ).numpy()
    assert instrument.held()[0][0, 0].numpy() == pytest.approx(expected, rel=1e-6)
    silent = Stepper((trial,) * 2, make_plan(trial, images.train_size, 1), images, CPU)
    silent.use([])
    assert torch.equal(silent.stack.weights, before)
    silent.step(batch, 1, 0)
    assert torch.equal(silent.stack.weights, stepper.stack.weights)


def test_layers_are_named_by_kind_and_number(images: Images) -> None:
    model = build_model(Model(name="cnn", batch_norm=True), DATASETS["digits"], 0)
    layers = layer_windows(model)
    assert [layer.name for layer in layers] == [
        *("conv1", "norm1", "conv2", "norm2", "linear1", "norm3", "linear2"),
    ]
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in model.parameters())


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(0, 1 << 30),
)
def test_moments_cover_all_measured_steps(slices: list[int], every: int, seed: int) -> None:
    """Whatever the slices, and with a checkpoint between any two steps."""
    gradient = torch.zeros(2, 24)
    layers = (slice(0, 7), slice(16, 24))

    def make() -> LayerNorms:
        return LayerNorms(gradient, layers, max(slices), every)

    instrument, draw, kept = make(), torch.Generator().manual_seed(seed), []
    number = 0
    for steps in slices:
        for slot in range(steps):
            number += 1
            gradient[:, :7] = torch.randn(2, 7, generator=draw)
            gradient[:, 16:] = torch.randn(2, 8, generator=draw)
            instrument.before_step(Step(number, slot, 8, 8, 0.1, 1.0))
            if (number - 1) % every == 0:
                norms = [gradient[:, layer].double().norm(dim=1).numpy() for layer in layers]
                kept.append(np.stack(norms, 1))
            state, instrument = instrument.state(), make()
            instrument.load(state)
        instrument.end_slice()
    values = np.stack(kept)
    for replicate in range(2):
        fields = instrument.fields(replicate)
        assert fields["layer_draws"] == len(values)
        for layer, found in enumerate(fields["layer_norms"]):
            column = values[:, replicate, layer]
            assert found.mean == pytest.approx(column.mean(), rel=1e-6)
            squares = np.square(column - column.mean()).sum()
            assert found.squares == pytest.approx(squares, rel=1e-5, abs=1e-4 * column.mean())


def test_a_long_training_reports_layer_norms_after_one_percent_of_its_steps(images: Images) -> None:
    gradient = torch.ones(1, 4)
    instrument, stated = LayerNorms(gradient, (slice(0, 4),), 1, 1), []
    for epoch in range(1, 1001):
        instrument.before_step(Step(epoch, 0, 8, 8, 0.1, 1.0))
        if instrument.fields(0):
            stated.append((epoch, instrument.fields(0)["layer_draws"]))
        instrument.end_epoch()
    assert stated[:100] == [(epoch, 1) for epoch in range(1, 101)]
    assert stated[-1][1] == 10
    assert len(stated) < 350
    assert stated[-1][0] > 990
    assert sum(draws for _, draws in stated) == stated[-1][0], "every step is stated once"


def test_a_training_reports_layer_norms(images: Images) -> None:
    trial = make_trial(Train(batch_size=16, lr=0.1, epochs=3), Model(name="cnn"))
    run = Run(trial, images)
    assert run.started.layers == ("conv1", "conv2", "linear1", "linear2")
    assert sum(run.started.layer_parameters) == run.started.parameters
    assert [record.layer_draws for record in run.records] == [2, 1, 1], "steps 1, 8, 15 and 22"
    for record in run.records:
        assert len(record.layer_norms) == 4
        assert all(isinstance(layer, LayerNorm) and layer.mean > 0 for layer in record.layer_norms)
        squares = sum(n.squares + record.layer_draws * n.mean**2 for n in record.layer_norms)
        assert all(part.count == 1 for part in record.norms), "a slice for each step"
        whole = sum(part.mean**2 for part in record.norms if part.first_step % 7 == 0)
        assert squares == pytest.approx(whole, rel=1e-5)
