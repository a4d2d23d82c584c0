"""The line between two solutions: its ends, closed forms, and weights that cannot be used."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import nn
from torch.nn import functional

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.journal import events as ev
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes import orders
from batchscope.engine.spec import Interpolation, Model, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.cancellation import Halted
from batchscope.engine.training.jobs.interpolation import interpolate
from batchscope.engine.training.trainer.final_weights import Unreadable
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.state import TrainingState
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.stack_fixtures import NORMED, learnable, trial_of
from tests.unit.training_fixtures import CPU, LINEAR, SMALL_MLP, never, synthetic

LINE = Interpolation(start="small", end="large")
SMALL = {"batch_size": 8, "lr": 0.1}
LARGE = {"batch_size": 50, "lr": 0.3}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return synthetic(tmp_path_factory.mktemp("small"), train=50, test=20)


@pytest.fixture(scope="module")
def images(prepared: Prepared) -> Images:
    """50 images to train on, 20 to test."""
    return learnable(load_images(prepared, CPU))


class Solutions:
    """Two finished trials with their weights in a folder."""

    def __init__(self, model: Model, images: Images, data: Prepared, folder: Path) -> None:
        self.images, self.data = images, data
        self.trials = [
            replace(trial_of(model, **more), id=name, configuration=name)
            for name, more in (("small", SMALL), ("large", LARGE))
        ]
        self.folders = [checkpoints.weights_of(folder, trial.id) for trial in self.trials]
        trained = [self._train(*each) for each in zip(self.trials, self.folders, strict=True)]
        self.networks = [training.stepper.stack.members[0] for training, _ in trained]
        self.last = [record for _, record in trained]

    def _train(self, trial: Trial, folder: Path) -> tuple[TrainingState, ev.EpochRecord]:
        plan = make_plan(trial, self.images.train_size, threads=1)
        events: list[ev.AnyEvent] = []
        job = TrainingJob((trial,), (trial.id,), plan, 1, 0, "cpu", None, "", {trial.id: folder})
        trainer = Trainer(job, self.images, events.append, never)
        training = trainer.training
        trainer.run()
        finished = [e for e in events if isinstance(e, ev.EpochsFinished)]
        return training, finished[-1].records[-1]

    def order(self, line: Interpolation = LINE) -> orders.Interpolate:
        start, end = self.trials
        one, other = map(str, self.folders)
        plan = make_plan(start, self.images.train_size, threads=1)
        return orders.Interpolate((start, end), (one, other), line, plan, self.data)

    def drawn(self, line: Interpolation = LINE) -> ev.Interpolated:
        return interpolate(self.order(line), self.images, CPU, lambda: None)


@pytest.mark.parametrize("model", [SMALL_MLP, Model(name="cnn", channels=(3,), hidden=(7,))])
def test_ends_of_the_line_have_the_figures_of_the_trials(
    images: Images, prepared: Prepared, tmp_path: Path, model: Model
) -> None:
    solutions = Solutions(model, images, prepared, tmp_path)
    found = solutions.drawn()
    assert (found.start, found.end, found.samples) == ("small", "large", 20)
    assert [point.alpha for point in found.points] == [-1 + 0.125 * at for at in range(25)]
    for at, stated in ((8, solutions.last[0]), (16, solutions.last[1])):
        point = found.points[at]
        assert point.train_loss == stated.train_loss
        assert point.train_accuracy == stated.train_accuracy
        assert point.test_loss == stated.test_loss
        assert point.test_accuracy == stated.test_accuracy
    assert found.points[0] != found.points[8]


def test_outputs_of_a_linear_model_are_linear_in_alpha(
    images: Images, prepared: Prepared, tmp_path: Path
) -> None:
    """Its logits at (1 − α) w + α v are (1 − α) and α of those at w and at v."""
    solutions = Solutions(LINEAR, images, prepared, tmp_path)
    with torch.no_grad():
        one, other = (each.model(images.test).double() for each in solutions.networks)
    for point in solutions.drawn(replace(LINE, alpha=(-2.0, 3.0), points=11)).points:
        logits = (1 - point.alpha) * one + point.alpha * other
        expected = functional.cross_entropy(logits, images.test_labels)
        assert point.test_loss == pytest.approx(expected.item(), rel=1e-5)
        right = (logits.argmax(1) == images.test_labels).double().mean()
        assert point.test_accuracy == pytest.approx(right.item(), abs=1e-9)


def test_training_figures_use_the_given_number_of_images(
    images: Images, prepared: Prepared, tmp_path: Path
) -> None:
    solutions = Solutions(SMALL_MLP, images, prepared, tmp_path)
    found = solutions.drawn(replace(LINE, samples=33, points=4))
    part = images.part(33)
    assert found.samples == 33
    with torch.no_grad():
        logits = solutions.networks[0].model(images.train[part])
    expected = functional.cross_entropy(logits, images.train_labels[part])
    assert found.points[1].alpha == 0.0
    assert found.points[1].train_loss == pytest.approx(expected.item(), rel=1e-5)


def test_batch_norm_statistics_are_recomputed_at_every_point(
    images: Images, prepared: Prepared, tmp_path: Path
) -> None:
    """One micro-batch holds the whole part, so these are its mean and unbiased variance."""
    solutions = Solutions(NORMED, images, prepared, tmp_path)
    found = solutions.drawn(replace(LINE, points=7))
    assert found.recalibrated
    linear, norm, _, last = [
        each for each in solutions.networks[1].model.modules() if not list(each.children())
    ][-4:]
    assert isinstance(norm, nn.BatchNorm1d)
    part = images.train_part
    with torch.no_grad():
        hidden = linear(images.train[part].flatten(1)).double()
        wide = (hidden - hidden.mean(0)) / (hidden.var(0) + norm.eps).sqrt()
        outputs = last((wide * norm.weight + norm.bias).relu().float())
    expected = functional.cross_entropy(outputs, images.train_labels[part])
    assert found.points[4].alpha == 1.0
    assert found.points[4].train_loss == pytest.approx(expected.item(), rel=1e-4)


def test_missing_damaged_or_foreign_weights_raise_unreadable(
    images: Images, prepared: Prepared, tmp_path: Path
) -> None:
    solutions = Solutions(SMALL_MLP, images, prepared, tmp_path)
    kept = solutions.folders[1] / checkpoints.CURRENT
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(Unreadable, match="large"):
        solutions.drawn()
    kept.unlink()
    with pytest.raises(Unreadable, match="large"):
        solutions.drawn()
    os.mkfifo(kept)
    with pytest.raises(Unreadable, match="large.*is not a regular file"):
        solutions.drawn()
    kept.unlink()
    for payload in (b"no file of torch", pickle.dumps({"weights": [1, 2]})):
        checkpoints.write(kept.parent, 1, 1, payload)
        with pytest.raises(Unreadable, match="large.*cannot be read"):
            solutions.drawn()
    other = Solutions(LINEAR, images, prepared, tmp_path / "other")
    solutions.folders = other.folders
    with pytest.raises(Unreadable, match="another network"):
        solutions.drawn()


@pytest.mark.parametrize(("model", "passes"), [(LINEAR, 0), (NORMED, 7)])
def test_cancellation_is_checked_before_each_micro_batch(
    images: Images, prepared: Prepared, tmp_path: Path, model: Model, passes: int
) -> None:
    """50 images in 7 micro-batches, twice with batch norm statistics; 20 images in 3."""
    solutions, asked = Solutions(model, images, prepared, tmp_path), 0
    order = solutions.order(replace(LINE, points=2, samples=50))
    order = replace(order, plan=replace(order.plan, evaluation_batch_size=8))

    def check_cancelled() -> None:
        nonlocal asked
        asked += 1
        if asked == last:
            raise Halted

    last = 0
    interpolate(order, images, CPU, check_cancelled)
    assert asked == 2 * (passes + 7 + 3)
    asked, last = 0, 3
    with pytest.raises(Halted):
        interpolate(order, images, CPU, check_cancelled)
    assert asked == 3
