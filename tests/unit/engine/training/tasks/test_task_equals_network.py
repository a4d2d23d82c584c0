"""An MLP on digits as a task of a person's own gives the figures of the one that is built in."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.data.prepare import prepare
from batchscope.engine.journal.events import EpochRecord, Predicted
from batchscope.engine.metrics.bias_variance import decompose
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Probe, Train
from batchscope.engine.task import Task
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.tasks.function_loader import seed_everything
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import task_trial
from tests.unit.training_fixtures import CPU, SMALL_MLP, Run, make_trial

Batch = tuple[Tensor, Tensor]
SEED, HELD = 3, 50
WITHIN = {torch.float32: 1e-4, torch.float64: 1e-12}
"""Greatest relative difference of a figure after two epochs."""
UNLIKE = ("seconds", "warm_up_seconds", "peak_memory_bytes")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(prepare("digits", tmp_path_factory.mktemp("home"), None), CPU, HELD)


@pytest.fixture(params=WITHIN, ids=str)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Train in this precision: buffers are made in torch's default one."""
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    images, labels = batch
    return functional.cross_entropy(model(images), labels, reduction="sum"), len(labels)


def accuracy(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    images, labels = batch
    return (model(images).argmax(1) == labels).sum(), len(labels)


def scores(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    images, labels = batch
    return model(images), labels


def mlp_task(images: Images, seed: int = SEED) -> Task:
    """Return the network as anybody would write it, drawn by torch after the seed is set."""
    seed_everything(seed)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 13),
        nn.ReLU(),
        nn.Linear(13, 7),
        nn.ReLU(),
        nn.Linear(7, 10),
    )
    return Task(
        model=model.float().to(torch.get_default_dtype()),  # a network begins in float32
        train=(images.train, images.train_labels),
        test=(images.test, images.test_labels),
        loss=loss,
        metrics={"accuracy": accuracy},
        scores=scores,
    )


def in_precision(images: Images, dtype: torch.dtype) -> Images:
    return replace(images, train=images.train.to(dtype), test=images.test.to(dtype))


def figures(record: EpochRecord) -> dict[str, Any]:
    """Return the columns of an epoch; of each slice of norms its moments."""
    columns = msgspec.structs.asdict(record)
    for name in UNLIKE:
        del columns[name]
    for number, each in enumerate(columns.pop("norms")):
        columns[f"norms {number}"] = [each.first_step, each.count, each.mean, each.squares]
    for number, each in enumerate(columns.pop("layer_norms")):
        columns[f"layer {number}"] = [each.mean, each.squares]
    return columns


def both(train: Train, images: Images, cut: int, seed: int = SEED) -> tuple[Run, Run]:
    """Train the network that is built in, and the task."""
    network = make_trial(train, SMALL_MLP, seed=seed)
    task = task_trial(train, seed)
    runs = []
    for trial in (network, task):
        trial = msgspec.structs.replace(
            trial,
            settings=msgspec.structs.replace(trial.settings, probe=Probe(at=(1.0,), draws=20)),
        )
        data = (
            images
            if trial.settings.task is None
            else TaskDataset(mlp_task(images, seed), seed, CPU, HELD)
        )
        plan = make_plan(trial, data.train_size, threads=1)
        runs.append(Run(trial, data, msgspec.structs.replace(plan, micro_batch_size=cut)))
    return runs[0], runs[1]


@pytest.mark.parametrize("cut", [16, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_every_figure_is_the_same(
    optimizer: Any, cut: int, digits: Images, dtype: torch.dtype
) -> None:
    train = Train(batch_size=16, lr=0.01, epochs=2, optimizer=optimizer)
    network, task = both(train, in_precision(digits, dtype), cut)
    assert network.flat.weights.dtype == task.flat.weights.dtype == dtype
    start = [each.training.stepper.start_weights for each in (network, task)]
    assert torch.equal(*start)
    assert len(network.records) == len(task.records) == 2
    columns = [figures(each) for each in network.records]
    known = set(columns[0]) - {"noise_scale"}  # there is none where |G|² is estimated below 0
    assert all(any(each[name] is not None for each in columns) for name in known)
    for ours, theirs in zip(network.records, task.records, strict=True):
        expected = figures(ours)
        for name, value in figures(theirs).items():
            assert value == pytest.approx(expected[name], rel=WITHIN[dtype]), name


def test_bias_and_variance_over_the_seeds_are_the_same(digits: Images) -> None:
    train = Train(batch_size=16, lr=0.05, epochs=1)
    seeds = [both(train, digits, 16, seed) for seed in range(4)]
    networks, tasks = ([predicted(run) for run in runs] for runs in zip(*seeds, strict=True))
    assert {each.classes for each in (*networks, *tasks)} == {10}
    assert {each.images for each in (*networks, *tasks)} == {len(digits.test)}
    assert len({each.packed for each in networks}) == len(networks)
    found, expected = (
        decompose(tuple(each.packed for each in predictions), 10)
        for predictions in (tasks, networks)
    )
    assert found == expected
    assert 0.0 < found.whole.bias < found.whole.error
    assert len({each.labels for each in tasks}) == 1
    assert tasks[0].labels


def predicted(run: Run) -> Predicted:
    (found,) = [each for each in run.events if isinstance(each, Predicted)]
    return found
