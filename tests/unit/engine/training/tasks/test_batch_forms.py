"""Batches of every form train as the same samples in a tuple do, and `split` loses no sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Train
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.unit.engine.training.tasks.task_fixtures import task_trial, token_task
from tests.unit.training_fixtures import CPU, Run, untimed

X = torch.linspace(-1, 1, 60).view(20, 3)
Y = X.sum(1)
TRAIN = Train(batch_size=8, lr=0.05, epochs=2, optimizer="momentum")


class Named(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class Fields:
    x: Tensor
    y: Tensor
    name: str = "constant"


class Listed(torch.utils.data.Dataset[Any]):
    """Samples as a list holds them."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Any:
        return self.samples[number]


def taken(batch: Any) -> tuple[Tensor, Tensor]:
    """Return what is in a batch of any of the forms below."""
    match batch:
        case {"inside": [inner, _]}:
            return taken(inner)
        case {"x": x, "y": y}:
            return x, y
        case Fields(x=x, y=y):
            return x, y
        case (x, y):
            return x, y
    raise AssertionError(f"not a batch: {batch}")


def loss(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
    x, y = taken(batch)
    return ((model(x).squeeze(1) - y) ** 2).sum(), len(y)


def nested(x: Tensor, y: Tensor) -> Any:
    return {"inside": [Named(x, y), {"unused": (x[..., :1], y)}]}


FORMS: dict[str, Any] = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "dict": lambda x, y: {"x": x, "y": y},
    "named tuple": Named,
    "nested": nested,
}


def task_of(data: Any, **more: Any) -> Task:
    torch.manual_seed(0)
    return Task(model=nn.Linear(3, 1), train=data, test=data, loss=loss, **more)


def outcome(task: Task, cut: int = 3, loaders: int = 0) -> tuple[Any, ...]:
    trial, data = task_trial(TRAIN), TaskDataset(task, 0, CPU, loaders=loaders)
    plan = make_plan(trial, data.train_size, threads=1)
    run = Run(trial, data, msgspec.structs.replace(plan, micro_batch_size=cut))
    records = [msgspec.structs.replace(untimed(r), peak_memory_bytes=0) for r in run.records]
    return records, run.flat.weights.tolist()


@pytest.fixture(scope="module")
def expected() -> tuple[Any, ...]:
    return outcome(task_of((X, Y)))


@pytest.mark.parametrize("form", FORMS)
def test_tensors_in_any_structure(form: str, expected: Any) -> None:
    assert outcome(task_of(FORMS[form](X, Y))) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loaders", [0, 1])
def test_samples_in_any_structure(form: str, loaders: int, expected: Any) -> None:
    samples = [FORMS[form](x, y) for x, y in zip(X, Y, strict=True)]
    assert outcome(task_of(Listed(samples)), loaders=loaders) == expected


@pytest.mark.parametrize("loaders", [0, 1])
def test_samples_that_are_dataclasses(loaders: int, expected: Any) -> None:
    samples = [Fields(x, y) for x, y in zip(X, Y, strict=True)]
    assert outcome(task_of(Listed(samples)), loaders=loaders) == expected


def test_a_collate_of_ones_own(expected: Any) -> None:
    def backwards(samples: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        x, y = zip(*samples, strict=True)
        return {"y": torch.stack(y), "x": torch.stack(x)}

    samples = list(zip(X, Y, strict=True))
    assert outcome(task_of(Listed(samples), collate=backwards)) == expected


def halves(batch: tuple[Tensor, Tensor], parts: int) -> list[tuple[Tensor, Tensor]]:
    x, y = batch
    size = -(-len(x) // parts)
    return list(zip(torch.split(x, size), torch.split(y, size), strict=True))


@pytest.mark.parametrize("loaders", [0, 1])
def test_a_split_of_ones_own_divides_the_whole_batch(loaders: int) -> None:
    """8 samples in two parts, and the last 4 in one, as a micro-batch of 4 cuts them."""
    asked = list[int]()

    def split(batch: tuple[Tensor, Tensor], parts: int) -> list[tuple[Tensor, Tensor]]:
        asked.append(parts)
        return halves(batch, parts)

    samples = Listed(list(zip(X, Y, strict=True)))
    found = outcome(task_of(samples, split=split), cut=4, loaders=loaders)
    assert found == outcome(task_of(samples), cut=4)
    assert set(asked) == {2}


def test_a_split_of_packed_tokens_gives_the_same_gradient() -> None:
    """Tokens in one row, with the lengths of the sequences: no tensor has a row for each sample."""

    def packed(samples: Sequence[Tensor]) -> dict[str, Any]:
        lengths = [len(each) for each in samples]
        return {"row": torch.cat(list(samples)), "lengths": lengths}

    def split(batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
        rows, size = torch.split(batch["row"], batch["lengths"]), -(-len(batch["lengths"]) // parts)
        return [packed(rows[start : start + size]) for start in range(0, len(rows), size)]

    def packed_loss(model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, int]:
        logits, total = model(batch["row"]), torch.zeros(())
        rows = torch.split(batch["row"], batch["lengths"])
        for row, found in zip(rows, torch.split(logits, batch["lengths"]), strict=True):
            total = total + nn.functional.cross_entropy(found[:-1], row[1:], reduction="sum")
        return total, sum(batch["lengths"]) - len(rows)

    padded_outcome = outcome(token_task(), cut=4)
    own = replace(token_task(), collate=packed, split=split, loss=packed_loss)
    for ours, theirs in zip(padded_outcome[1], outcome(own, cut=4)[1], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (lambda batch, parts: None, "expected a list of batches"),
        (lambda batch, parts: [batch], "2 parts were asked for, and 1 came back"),
        (lambda batch, parts: [halves(batch, 2)[0]] * 3, "2 parts were asked for, and 3 came back"),
        (lambda batch, parts: [batch] * parts, r"a batch of 8 samples became parts of 8 \+ 8"),
        (lambda batch, parts: [tuple(e[:3] for e in batch)] * parts, r"became parts of 3 \+ 3"),
    ],
)
def test_a_split_that_loses_or_repeats_samples_is_refused(split: Any, expected: str) -> None:
    with pytest.raises(TaskProblem, match=expected):
        outcome(task_of((X, Y), split=split), cut=4)
