"""What people write wrong at first is found before it makes figures wrong, and named."""

import argparse
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchscope.engine.task import Task, TaskProblem
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.tasks.check_row import start_row
from batchscope.engine.training.tasks.cut_comparison import compared, is_random
from batchscope.engine.training.tasks.data_check import DataCheck
from batchscope.engine.training.tasks.early_check import EarlyCheck
from batchscope.engine.training.tasks.error_place import explained
from batchscope.engine.training.tasks.metric_check import metric_values
from batchscope.engine.training.tasks.split_check import check_split
from batchscope.engine.training.tasks.task_data import TaskData

X = torch.linspace(-1, 1, 96).view(32, 3)
NUMBERS = torch.arange(8)
Pair = tuple[Tensor, Tensor]


def loss(model: nn.Module, batch: Pair) -> tuple[Tensor, int]:
    x, y = batch
    return ((model(x).squeeze(-1) - y) ** 2).sum(), len(y)


def task(**changed: Any) -> Task:
    given: dict[str, Any] = {"model": nn.Linear(3, 1), "train": (X, X.sum(1)), "loss": loss}
    return Task(**{**given, **changed})


def values(of: Task, compare: bool = True) -> dict[str, float]:
    return metric_values(of, of.model, TaskData("train", of.train), NUMBERS, compare)


class Attention(nn.Module):
    """A layer whose dropout is no module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, dropout=0.5, batch_first=True)
        self.recurrent = nn.GRU(3, 3, num_layers=2, dropout=0.5, batch_first=True)
        self.out = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.unsqueeze(1).repeat(1, 2, 1)
        mixed, _ = self.attention(rows, rows, rows)
        hidden, _ = self.recurrent(mixed)
        found: Tensor = self.out(hidden).mean(1)
        return found


def test_dropout_of_attention_and_recurrent_layers_is_off_in_a_comparison() -> None:
    of = task(model=Attention())
    data = TaskData("train", of.train)
    assert is_random(of, data.batch(NUMBERS))
    assert compared(of, data, NUMBERS).exact
    kept = of.model.attention
    assert isinstance(kept, nn.MultiheadAttention)
    assert kept.dropout == 0.5


class Counting(nn.Linear):
    """A layer that counts its passes, and draws nothing."""

    passes: Tensor

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.register_buffer("passes", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(x) * (1 + self.passes)


def test_a_model_that_counts_its_passes_is_not_random() -> None:
    of = task(model=Counting())
    assert not is_random(of, TaskData("train", of.train).batch(NUMBERS))
    assert of.model.passes == 0


class Drawing(torch.utils.data.Dataset[Any]):
    """Samples with noise of a generator."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, number: int) -> Pair:
        return X[number] + self.generator.random(), X[number].sum()


def test_samples_that_differ_when_they_are_read_again_are_found() -> None:
    assert DataCheck(task(train=Drawing(random.Random(0)))).unsteady is not None
    assert DataCheck(task(train=Drawing(random))).unsteady is None


def test_a_comparison_reads_noisy_samples_alike() -> None:
    of = task(train=Drawing(random), model=Attention())
    assert compared(of, TaskData("train", of.train), NUMBERS).exact


def mean_error(model: nn.Module, batch: Pair) -> tuple[Tensor, int]:
    total, weight = loss(model, batch)
    return total / weight, weight


def test_a_metric_that_is_a_mean_is_found() -> None:
    with pytest.raises(TaskProblem, match=r"mae.*probably a mean"):
        values(task(metrics={"mae": mean_error}))
    found = values(task(metrics={"mse": loss}))
    assert found["mse"] == found["loss"]


def switching(model: nn.Module, batch: Pair) -> tuple[Tensor, int]:
    model.eval()
    total, weight = loss(model, batch)
    model.train()
    return total, weight


def test_a_metric_that_switches_the_mode_is_found() -> None:
    of = task(metrics={"mse": switching})
    with pytest.raises(TaskProblem, match=r"mse.*mode of the model"):
        values(of)
    assert of.model.training


def halves(batch: Pair, parts: int) -> list[Pair]:
    x, y = batch
    return list(zip(x.chunk(parts), y.chunk(parts), strict=True))


def test_a_split_that_repeats_or_loses_samples_of_a_packed_batch_is_found() -> None:
    data = TaskData("train", task().train)

    def checked(split: Any) -> int:
        of = task(split=split, loss=lambda model, batch: loss(model, batch[:2]))
        return check_split(of, of.model, packed, torch.arange(6))

    class Packed(TaskData):
        def batch(self, numbers: Tensor, before: Any = None) -> Any:
            return *data.batch(numbers), torch.zeros(1)  # no row for each sample

    packed = Packed("train", task().train)
    assert checked(lambda batch, parts: halves(batch[:2], parts)) == 3
    with pytest.raises(TaskProblem, match=r"split.*weight of 6, .*together 18"):
        checked(lambda batch, parts: [batch] * parts)
    with pytest.raises(TaskProblem, match=r"split.*a sum of .*exactly one part"):
        checked(lambda batch, parts: [halves(batch[:2], parts)[0]] * parts)


@pytest.mark.parametrize("name", ["metrics", "better"])
@pytest.mark.parametrize("given", ["lower", [loss], None])
def test_what_must_be_a_dict_is_said(name: str, given: Any) -> None:
    with pytest.raises(TaskProblem, match=rf"Task\({name}=…\): expected a dict such as"):
        task(**{name: given})


@pytest.mark.parametrize("data", [(X.numpy(), X.sum(1).numpy()), {"x": X.numpy(), "y": X.sum(1)}])
def test_arrays_are_not_taken_for_samples(data: Any) -> None:
    with pytest.raises(TaskProblem, match=r"torch\.as_tensor"):
        TaskData("train", data)


def test_a_list_of_arrays_is_a_data_set() -> None:
    assert TaskData("train", [np.ones(3), np.zeros(3)]).size == 2


def test_a_command_line_that_is_read_at_import_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--needed", required=True)
    with pytest.raises(SystemExit) as found:
        parser.parse_args([])
    capsys.readouterr()
    assert "argparse" in explained(found.value, CodeDigests(tmp_path), "mine.py")
    with pytest.raises(SystemExit) as plain:
        raise SystemExit(3)
    assert explained(plain.value, CodeDigests(tmp_path), "mine.py") == (
        "mine.py: called sys.exit: 3"
    )


def test_a_module_that_takes_long_to_import_is_told_of() -> None:
    assert start_row(0.5) is None
    row = start_row(17.0)
    assert row is not None
    assert row.verdict == "note"
    assert "17 s" in row.text
    assert "__main__" in row.text


def looked(of: Task, began_in_training: bool = True, known: bool = False) -> list[str]:
    """Return what a sweep notes of a task before its first step."""
    notes: list[str] = []
    EarlyCheck(of, TaskData("train", of.train, of.collate), began_in_training, known).look(
        notes.append
    )
    return notes


def mean_metric(model: nn.Module, batch: Pair) -> tuple[Tensor, int]:
    total, weight = loss(model, batch)
    return total / weight, weight


def rare(model: nn.Module, batch: Pair) -> tuple[Tensor, Tensor]:
    return model(batch[0]).sum() * 0.0, torch.tensor(0.0)


def restoring(model: nn.Module, batch: Pair) -> tuple[Tensor, int]:
    model.train()
    return loss(model, batch)


class Unsteady:
    """A data set that draws from a generator of its own."""

    def __init__(self) -> None:
        self._own = np.random.default_rng(0)

    def __len__(self) -> int:
        return 32

    def __getitem__(self, number: int) -> Pair:
        return X[number] + float(self._own.random()), X[number].sum()


def test_a_sweep_notes_nothing_of_a_task_that_is_right() -> None:
    assert looked(task(metrics={"rare": rare})) == []


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"metrics": {"mse": mean_metric}}, "mean"),
        ({"metrics": {"mse": restoring}}, "mode of the model"),
        ({"optimizer": lambda groups, lr: torch.optim.LBFGS([*groups[0]["params"]], lr)}, "LBFGS"),
        ({"split": lambda batch, parts: [batch] * parts}, "split"),
    ],
)
def test_a_sweep_refuses_what_would_make_figures_wrong(changed: dict[str, Any], word: str) -> None:
    with pytest.raises(TaskProblem, match=word):
        looked(task(**changed))


def test_a_sweep_notes_what_restricts_figures() -> None:
    (note,) = looked(task(), began_in_training=False)
    assert "evaluation mode" in note
    (note,) = looked(task(train=Unsteady()))
    assert "when it is read again" in note
