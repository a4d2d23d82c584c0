"""Properties of every instrument in the catalog."""

import copy
import io

import pytest
import torch

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Model, Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.trainer.train_step import Stepper
from tests.unit.training_fixtures import CPU, make_trial, synthetic

TRIALS = {
    "plain SGD": make_trial(Train(batch_size=16, lr=0.1, epochs=20)),
    "momentum": make_trial(Train(batch_size=16, lr=0.1, epochs=20, optimizer="momentum")),
    "without gradients": make_trial(
        Train(batch_size=4, lr=0.02, epochs=20), Model(name="mlp", hidden=(2400,))
    ),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("all"), train=120, test=20), CPU)


def stepper_of(trial: Trial, images: Images) -> Stepper:
    return Stepper((trial,), make_plan(trial, images.train_size, 1), images, CPU)


def steps(stepper: Stepper, numbers: range, end: bool = True) -> None:
    for number in numbers:
        size = stepper.stage.batch_size
        batch = torch.arange(number * 7, number * 7 + size) % 120
        stepper.step(batch.unsqueeze(0), number, number - numbers[0])
    if end:
        stepper.end_slice()


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_each_instrument_has_its_own_name_and_fields(trial: Trial, images: Images) -> None:
    stepper = stepper_of(trial, images)
    assert len({each.NAME for each in stepper.instruments}) == len(stepper.instruments)
    steps(stepper, range(1, 3))
    fields = [set(each.fields(0)) for each in stepper.instruments]
    assert sum(map(len, fields)) == len(set().union(*fields)), "a field is stated twice"
    assert set().union(*fields) <= set(EpochRecord.__struct_fields__)
    assert set(stepper.fields(0)) == set().union(*fields)


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_each_instrument_continues_from_its_state(trial: Trial, images: Images) -> None:
    """In the middle of a slice, through a file loaded with `weights_only`."""
    one, other = stepper_of(trial, images), stepper_of(trial, images)
    steps(one, range(1, 3))
    steps(one, range(3, 5), end=False)
    file = io.BytesIO()
    torch.save(one.instrument_states(), file)
    file.seek(0)
    other.load_instrument_states(torch.load(file, weights_only=True))
    other.stack.weights.detach().copy_(one.stack.weights)
    other.optimizer.load_state_dict(copy.deepcopy(one.optimizer.state_dict()))
    assert other.fields(0) == one.fields(0)
    for stepper in (one, other):
        stepper.end_slice()
        steps(stepper, range(5, 7))
    assert other.fields(0) == one.fields(0)


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_no_instrument_changes_the_training(trial: Trial, images: Images) -> None:
    one, other = stepper_of(trial, images), stepper_of(trial, images)
    other.use([])
    for stepper in (one, other):
        steps(stepper, range(1, 9), end=False)
    assert torch.equal(one.stack.weights, other.stack.weights)
    assert not other.fields(0)


@pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
def test_the_first_step_can_be_undone(trial: Trial, images: Images) -> None:
    one, other = stepper_of(trial, images), stepper_of(trial, images)
    steps(one, range(1, 2), end=False)
    one.undo_first_step()
    for stepper in (one, other):
        steps(stepper, range(1, 5))
    assert one.fields(0) == other.fields(0)
