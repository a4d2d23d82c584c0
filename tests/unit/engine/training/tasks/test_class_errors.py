"""What a task predicts is kept as one byte a sample, or it is said why it cannot be."""

import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.journal.events import Predicted
from batchscope.engine.metrics.prediction_codec import unpack
from batchscope.engine.spec import Train
from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.task_table import TaskFacts
from batchscope.engine.training.jobs.task_inspection import inspect
from batchscope.engine.training.tasks.class_errors import class_errors
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from tests.broken.loaded_kinds import loaded
from tests.unit.engine.training.tasks.task_fixtures import regression_task, task_trial
from tests.unit.training_fixtures import CPU, Run

MODEL = nn.Identity()
SCORES = torch.tensor([[0.1, 0.9, 0.0], [2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])


def asked(scores: Any, right: Any) -> Any:
    return class_errors(lambda model, batch: (scores, right), MODEL, None)


def test_the_byte_is_the_distance_from_the_right_class() -> None:
    found = asked(SCORES, torch.tensor([1, 2, 0]))
    assert (found.missed.dtype, found.missed.tolist()) == (torch.uint8, [0, 1, 2])
    assert found.classes == 3
    assert found.labels == zlib.crc32(bytes([1, 2, 0]))


def test_batches_give_the_labels_of_the_whole() -> None:
    right = torch.tensor([1, 2, 0])
    first = asked(SCORES[:2], right[:2])
    both = class_errors(lambda model, batch: (SCORES[2:], right[2:]), MODEL, None, first.labels)
    assert both.labels == asked(SCORES, right).labels


WRONG: list[tuple[Any, Any, str]] = [
    (SCORES, 3, "both tensors"),
    (SCORES[0], torch.tensor([1, 2, 0]), r"\(3,\) and \(3,\)"),
    (SCORES, torch.tensor([1, 2]), r"\(3, 3\) and \(2,\)"),
    (SCORES, torch.tensor([1.0, 2.0, 0.0]), "whole numbers"),
    (SCORES, torch.tensor([1, 2, -100]), "-100 to 2.*leave out"),
    (SCORES, torch.tensor([1, 2, 3]), "1 to 3"),
    (torch.zeros(3, 257), torch.tensor([1, 2, 3]), "257 classes"),
]


@pytest.mark.parametrize(("scores", "right", "told"), WRONG)
def test_what_cannot_be_used_is_said(scores: Any, right: Any, told: str) -> None:
    with pytest.raises(TaskProblem, match=f"scores.*{told}"):
        asked(scores, right)


def signs(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Classify by the sign of what is predicted."""
    inputs, targets = batch
    found = model(inputs).reshape(-1, 1)
    return torch.cat([-found, found], 1), (targets.reshape(-1) > 0).long()


def test_predictions_are_those_of_the_last_weights_in_order() -> None:
    task: Task = regression_task()
    inputs, targets = task.train
    task = Task(model=task.model, train=task.train, loss=task.loss, test=task.train, scores=signs)
    run = Run(task_trial(Train(batch_size=8, lr=0.01, epochs=3)), TaskDataset(task, 0, CPU))
    (event,) = [each for each in run.events if isinstance(each, Predicted)]
    with torch.no_grad():
        above = run.flat.model(inputs).reshape(-1) > 0
    expected = (above.long() - (targets.reshape(-1) > 0).long()) % 2
    assert unpack([event.packed])[0].tolist() == expected.tolist()
    assert (event.classes, event.images) == (2, len(inputs))
    assert event.steps == run.training.at.steps


@pytest.mark.parametrize("without", ["scores", "test"])
def test_without_scores_or_test_data_there_are_no_predictions(without: str) -> None:
    made = regression_task()
    more = {"scores": signs, "test": made.train}
    del more[without]
    task = Task(model=made.model, train=made.train, loss=made.loss, **more)
    run = Run(task_trial(Train(batch_size=8, lr=0.01, epochs=1)), TaskDataset(task, 0, CPU))
    assert run.ended.status == "finished"
    assert not [each for each in run.events if isinstance(each, Predicted)]


MODULE = """
import batchscope
import torch
from torch import nn

def loss(model, batch):
    return ((model(batch[0]) - batch[1]) ** 2).sum(), len(batch[0])

def scores(model, batch):
    return {scores}, (batch[1][:, 0] > 0).long()

def make(seed):
    x, y = torch.randn(20, 3), torch.randn(20, 4)
    return batchscope.Task(
        model=nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)),
        train=(x, y), test=(x, y), loss=loss, scores=scores,
    )
"""


def facts_of(folder: Path, scores: str) -> TaskFacts:
    (folder / "mine.py").write_text(MODULE.format(scores=scores), "utf-8")
    with loaded(folder, "", use="mine:make") as host:
        return inspect(host)


def test_the_classes_are_known_before_the_first_step(tmp_path: Path) -> None:
    assert facts_of(tmp_path, "model(batch[0])").classes == 4


def test_wrong_scores_are_found_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TaskProblem, match=r"scores \(mine.py, line 9\): .*\(8,\) and \(8,\)"):
        facts_of(tmp_path, "model(batch[0]).argmax(1)")
