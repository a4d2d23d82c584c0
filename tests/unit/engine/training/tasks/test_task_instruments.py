"""Every instrument measures of a task what a plain loop over its samples finds."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from batchscope.engine.journal.events import SharpnessMeasured
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.processes.orders import Interpolate, WeightsOrder
from batchscope.engine.spec import Interpolation, Probe, Sharpness, Train
from batchscope.engine.spec import Run as RunTable
from batchscope.engine.task import Task
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.instruments.competition import compete
from batchscope.engine.training.instruments.frozen_batches import Drawing
from batchscope.engine.training.instruments.instrument import WeightedParts
from batchscope.engine.training.instruments.mean_loss import mean_loss
from batchscope.engine.training.instruments.weighted_parts import two_weighted_parts
from batchscope.engine.training.jobs.interpolation import interpolate
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.model.layer_windows import named_windows
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer import final_weights
from batchscope.engine.training.trainer.job import TrainingJob
from batchscope.engine.training.trainer.train_step import Stepper
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.tasks.task_fixtures import (
    padded,
    regression_task,
    squared,
    task_trial,
    token_loss,
    token_task,
)
from tests.unit.training_fixtures import CPU, Run

TRAIN: dict[str, Any] = {"batch_size": 8, "lr": 0.05, "epochs": 2}


def flat_gradient(task: Task, numbers: list[int]) -> Tensor:
    """The gradient of the mean loss of a token, over samples that are passed one by one."""
    model = task.model
    total, count = torch.zeros((), dtype=torch.float64), 0
    for number in numbers:
        loss, weight = token_loss(model, padded([task.train[number]]))
        total, count = total + loss, count + int(weight)
    grads = torch.autograd.grad(total / count, list(model.parameters()))
    return torch.cat([each.flatten() for each in grads])


def by_hand() -> tuple[list[float], list[list[float]], list[Tensor]]:
    """Norms of each step, by layer, and the weights before each step and at the end."""
    task = token_task()
    names = [name for name, each in task.model.named_modules() if list(each.parameters(False))]
    norms, layers, path = list[float](), list[list[float]](), [weights_of(task.model)]
    parameters = dict(task.model.named_parameters())
    for epoch in (1, 2):
        for part in torch.split(epoch_order(53, 0, epoch), TRAIN["batch_size"]):
            loss, weight = token_loss(task.model, padded([task.train[n] for n in part.tolist()]))
            found = torch.autograd.grad(loss / weight, list(parameters.values()))
            grads = dict(zip(parameters, found, strict=True))
            norms.append(norm(list(found)))
            layers.append(
                [
                    norm([g for name, g in grads.items() if name.rpartition(".")[0] == layer])
                    for layer in names
                ]
            )
            with torch.no_grad():
                for name, each in parameters.items():
                    each.sub_(TRAIN["lr"] * grads[name])
            path.append(weights_of(task.model))
    return norms, layers, path


def norm(parts: list[Tensor]) -> float:
    return float(torch.cat([each.flatten().double() for each in parts]).norm())


def weights_of(model: nn.Module) -> Tensor:
    return torch.cat([each.detach().flatten() for each in model.parameters()]).clone()


def test_norms_distances_and_updates_are_those_of_a_plain_loop() -> None:
    run = Run(task_trial(Train(**TRAIN)), TaskDataset(token_task(), 0, CPU))
    norms, layers, path = by_hand()
    counted = sum(piece.count for record in run.records for piece in record.norms)
    assert counted == len(norms) == 14
    mean = sum(piece.mean * piece.count for record in run.records for piece in record.norms)
    assert mean / 14 == pytest.approx(sum(norms) / 14, rel=1e-5)
    last = run.records[-1]
    assert last.weight_norm == pytest.approx(float(path[-1].norm()), rel=1e-5)
    assert last.distance_from_init == pytest.approx(float((path[-1] - path[0]).norm()), rel=1e-4)
    lengths = [float((b - a).norm()) for a, b in pairwise(path)]
    assert last.path_length == pytest.approx(sum(lengths), rel=1e-4)
    assert run.started.layers == ("embedding", "output")
    stated = [record for record in run.records if record.layer_draws]
    steps = list(range(14))[:: run_every(run)]
    for layer in range(2):
        found = sum(record.layer_norms[layer].mean * record.layer_draws for record in stated)
        expected = sum(layers[step][layer] for step in steps)
        assert found == pytest.approx(expected, rel=1e-4)


def run_every(run: Run) -> int:
    instruments = {each.NAME: each for each in run.training.stepper.instruments}
    every: int = instruments["layer_norms"].every  # type: ignore[attr-defined]
    return every


class Shared(nn.Module):
    """Modules in each other, a weight of the model itself, and one that two modules share."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.body = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5))
        self.tied = nn.Linear(5, 5)
        self.tied.weight = self.body[2].weight  # type: ignore[assignment]


def test_layers_have_the_names_of_the_modules() -> None:
    layers = named_windows(Shared())
    assert [layer.name for layer in layers] == ["model", "body.0", "body.2", "tied"]
    assert [layer.parameters for layer in layers] == [3, 20, 30, 5]


@pytest.mark.parametrize("cut", [3, 64])
def test_a_probe_draws_the_gradients_of_a_loop_over_samples(cut: int) -> None:
    data = TaskDataset(token_task(), 0, CPU)
    flat = FlatModel(data.network(), CPU, objective=data.task.loss)
    drawing = Drawing(flat, data, 0, mean=True, replacement=False, micro_batch_size=cut)
    for batch in drawing.batches(12, 3, (0,)):
        found = flat.gradient.new_zeros(0)
        drawing.gradient(batch)
        found = torch.cat([each.grad.flatten() for each in flat.trained() if each.grad is not None])
        expected = flat_gradient(token_task(), batch.tolist())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_probes_and_competitions_of_a_task_end_with_the_training() -> None:
    probe = Probe(at=(0, 1), batch_sizes=(4, 16), draws=6, pairs=((2, 8),), pair_draws=3)
    trial = task_trial(Train(**TRAIN), probe=probe)
    run, plain = (
        Run(each, TaskDataset(token_task(), 0, CPU)) for each in (trial, task_trial(Train(**TRAIN)))
    )
    assert len(run.probes) == 2
    assert [len(each.draws) for each in run.probes] == [2, 2]
    assert [len(each.competitions) for each in run.probes] == [1, 1]
    assert torch.equal(run.flat.weights, plain.flat.weights)  # probing changes no bit


def test_a_competition_is_that_of_two_loops() -> None:
    data = TaskDataset(token_task(), 0, CPU)
    flat = FlatModel(data.network(), CPU, objective=data.task.loss)
    drawing = Drawing(flat, data, 0, mean=True, replacement=False, micro_batch_size=64)
    found = compete(drawing, (4, 12), 2, 0.1, (0,), lambda: None)
    assert found is not None
    cosines = []
    for batch in drawing.batches(12, 2, (0, 4)):
        task = token_task()
        large = flat_gradient(task, batch.tolist()) * -0.1
        start = weights_of(task.model)
        for part in torch.split(batch, 4):
            step = flat_gradient(task, part.tolist()) * -0.1
            at = 0
            with torch.no_grad():
                for each in task.model.parameters():
                    each.add_(step[at : at + each.numel()].view_as(each))
                    at += each.numel()
        small = weights_of(task.model) - start
        cosines.append(float(torch.nn.functional.cosine_similarity(small, large, dim=0)))
    assert found.cosine[0] == pytest.approx(sum(cosines) / 2, rel=1e-4)


@pytest.mark.parametrize("cut", [1, 7, 53])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_mean_loss_and_its_gradient_do_not_depend_on_the_cut(
    cut: int, dtype: torch.dtype, within: float
) -> None:
    data = TaskDataset(token_task(dropout=0.5), 0, CPU)
    flat = FlatModel(data.network(), CPU, dtype=dtype, objective=data.task.loss)
    flat.model.eval()
    loss = mean_loss(flat, data, 30, lambda: None)
    value = loss.gradient(cut)
    task = token_task()
    task.model.to(dtype)
    numbers = data.part(30).tolist()
    expected = flat_gradient(task, numbers)
    parts = [token_loss(task.model, padded([task.train[n]])) for n in numbers]
    whole = sum(float(total.detach()) for total, _ in parts) / sum(
        float(weight) for _, weight in parts
    )
    assert value == pytest.approx(whole, rel=within)
    found = torch.cat([each.grad.flatten() for each in flat.trained() if each.grad is not None])
    torch.testing.assert_close(found, expected, rtol=within, atol=within)


def sharpness_of(run: Run) -> list[SharpnessMeasured]:
    return [event for event in run.events if isinstance(event, SharpnessMeasured)]


def test_sharpness_of_a_quadratic_task_is_the_corner_of_the_box() -> None:
    """With one weight and a linear model the loss is a parabola, highest at an end of the box."""
    x = torch.tensor([[1.0], [2.0], [3.0]])
    y = torch.tensor([2.0, 4.0, 7.0])
    own = Task(model=nn.Linear(1, 1, bias=False), train=(x, y), test=(x, y), loss=squared)
    trial = task_trial(
        Train(batch_size=3, lr=0.01, epochs=3), sharpness=Sharpness(epsilon=(0.1,), samples=3)
    )
    run = Run(trial, TaskDataset(own, 0, CPU))
    (event,) = sharpness_of(run)
    w = float(run.flat.weights.detach()[0])

    def loss(weight: float) -> float:
        return float(((x[:, 0] * weight - y) ** 2).mean())

    ends = [loss(w + sign * 0.1 * (abs(w) + 1)) for sign in (-1, 1)]
    assert event.samples == 3
    assert event.loss == pytest.approx(loss(w), rel=1e-5)
    assert event.highest_loss == pytest.approx(max(ends), rel=1e-5)
    assert event.sharpness == pytest.approx((max(ends) - loss(w)) / (1 + loss(w)) * 100, rel=1e-4)


def test_sharpness_is_not_defined_for_a_loss_below_minus_one() -> None:
    def shifted(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        total, count = squared(model, batch)
        return total - 1000.0 * count, count

    plain = regression_task()
    own = Task(model=plain.model, train=plain.train, loss=shifted)
    trial = task_trial(Train(**TRAIN), sharpness=Sharpness(epsilon=(1e-3,), samples=20))
    (event,) = sharpness_of(Run(trial, TaskDataset(own, 0, CPU)))
    assert event.sharpness is None
    assert "−1 or less" in event.reason


def normed(seed: int) -> Task:
    plain = regression_task(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    return Task(model=model, train=plain.train, test=plain.test, loss=squared)


@pytest.mark.parametrize("make", [regression_task, normed])
def test_the_ends_of_a_line_are_the_two_solutions(make: Any, tmp_path: Path) -> None:
    trials = [task_trial(Train(batch_size=size, lr=0.05, epochs=2)) for size in (8, 20)]
    runs = [Run(trial, TaskDataset(make(0), 0, CPU)) for trial in trials]
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder, run in zip(folders, runs, strict=True):
        final_weights.save(folder, 1, 1, run.flat)
    line = Interpolation(start="a", end="b", alpha=(0.0, 1.0), points=3)
    order = Interpolate(
        members=(trials[0], trials[1]),
        weights=(str(folders[0]), str(folders[1])),
        line=line,
        plan=make_plan(trials[0], 40, threads=1),
        data=None,  # type: ignore[arg-type]
    )
    found = interpolate(order, TaskDataset(make(0), 0, CPU), CPU, lambda: None)
    assert found.recalibrated == (make is normed)
    assert [point.alpha for point in found.points] == [0.0, 0.5, 1.0]
    assert all(point.test_accuracy is None for point in found.points)
    if make is regression_task:
        for point, run in zip((found.points[0], found.points[-1]), runs, strict=True):
            assert point.test_loss == pytest.approx(run.records[-1].test_loss, rel=1e-6)
            assert point.train_loss == pytest.approx(run.records[-1].train_loss, rel=1e-6)


def test_kept_weights_are_those_of_the_state_dict(tmp_path: Path) -> None:
    trial = task_trial(Train(**TRAIN), run=RunTable(keep_weights=True))
    data = TaskDataset(normed(0), 0, CPU)
    order = WeightsOrder(str(tmp_path / "kept"), "sweep", "preset", "8")
    plan = make_plan(trial, data.train_size, threads=1)
    job = TrainingJob((trial,), (trial.id,), plan, 1, 0, "cpu", kept={trial.id: order})
    events: list[Any] = []
    trainer = Trainer(job, data, events.append, lambda: False)
    (member,) = trainer.training.active
    trainer.run()
    (path,) = [each for each in (tmp_path / "kept").rglob("*") if each.is_file()]
    again = normed(1).model
    again.load_state_dict(load(path.read_bytes()))
    x = torch.from_numpy(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    assert torch.equal(again.eval()(x), member.flat.model.eval()(x))


def test_frozen_layers_keep_their_mode_through_an_evaluation() -> None:
    own = normed(0)
    norm = next(each for each in own.model.modules() if isinstance(each, nn.BatchNorm1d))
    norm.eval()
    run = Run(task_trial(Train(**TRAIN)), TaskDataset(own, 0, CPU))
    trained = next(each for each in run.flat.model.modules() if isinstance(each, nn.BatchNorm1d))
    assert not trained.training
    assert run.flat.model.training
    assert int(trained.num_batches_tracked or 0) == 0


@pytest.mark.parametrize(("dropout", "passes"), [(0.0, 2), (0.5, 3)])
def test_the_second_part_of_a_batch_is_what_the_first_leaves_unless_numbers_are_drawn(
    dropout: float, passes: int
) -> None:
    """Both parts are as if each was passed by itself, with the random numbers of its own."""
    task, sizes = wide_task(dropout), list[int]()

    def counted(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        sizes.append(len(batch[1]))
        return squared(model, batch)

    run = TaskDataset(replace(task, loss=counted), 0, CPU)
    trial = task_trial(Train(batch_size=8, lr=0.05, epochs=1))
    stepper = Stepper((trial,), make_plan(trial, run.train_size, 1), run, CPU)
    run.stream = (1,)
    batch = torch.arange(8).unsqueeze(0)
    parts = stepper.gradient(batch, parts=True)
    assert isinstance(parts, WeightedParts)
    assert len(sizes) == passes
    sums = list[Tensor]()
    for part in (batch[:, :4], batch[:, 4:], batch):
        stepper.gradient(part)
        sums.append(stepper.stack.gradient * part.shape[1])
    expected = two_weighted_parts((sums[0], sums[1]), (4.0, 4.0), (4, 4), True)
    assert float(parts.spread) == pytest.approx(float(expected.spread), rel=1e-4)
    torch.testing.assert_close(stepper.stack.gradient, sums[2] / 8)


def wide_task(dropout: float) -> Task:
    task = regression_task()
    layers = nn.Linear(3, 8), nn.Dropout(dropout), nn.Linear(8, 1)
    return replace(task, model=nn.Sequential(*layers) if dropout else nn.Sequential(*layers[::2]))
