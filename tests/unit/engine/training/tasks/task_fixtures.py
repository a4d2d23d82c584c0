"""Tasks for tests: tokens of unequal lengths, and a regression."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchscope.engine.spec import Data, Model, Settings, Train, Trial
from batchscope.engine.task import Task
from batchscope.engine.task_table import TaskFacts, TaskTable

SYMBOLS = 11


class Tokens(torch.utils.data.Dataset[Tensor]):
    """Sequences of 2 to 9 symbols."""

    def __init__(self, size: int = 53) -> None:
        generator = torch.Generator().manual_seed(3)
        self.sequences = [
            torch.randint(1, SYMBOLS, (int(length),), generator=generator)
            for length in torch.randint(2, 10, (size,), generator=generator)
        ]

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, number: int) -> Tensor:
        return self.sequences[number]


def padded(samples: Sequence[Tensor]) -> dict[str, Tensor]:
    """Pad sequences with zeros to the longest one."""
    content = nn.utils.rnn.pad_sequence(list(samples), batch_first=True)
    return {"tokens": content, "mask": content > 0}


class NextToken(nn.Module):
    """Predicts each token from the one before."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, SYMBOLS)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.output(self.dropout(torch.tanh(self.embedding(tokens))))
        return output


def token_loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the summed loss of the next tokens and their number."""
    logits, expected = model(batch["tokens"][:, :-1]), batch["tokens"][:, 1:]
    mask = batch["mask"][:, 1:]
    losses = functional.cross_entropy(logits.transpose(1, 2), expected, reduction="none")
    return (losses * mask).sum(), mask.sum()


def token_task(width: int = 6, dropout: float = 0.0, seed: int = 0) -> Task:
    """Return the task of next tokens."""
    torch.manual_seed(seed)
    return Task(
        model=NextToken(width, dropout),
        train=Tokens(),
        test=Tokens(17),
        loss=token_loss,
        collate=padded,
    )


def squared(model: nn.Module, batch: Any) -> tuple[Tensor, int]:
    """Return the summed squared error and the number of samples."""
    x, y = batch
    return ((model(x).squeeze(1) - y) ** 2).sum(), len(y)


def regression_task(seed: int = 0, size: int = 40) -> Task:
    """Return a linear regression of three features."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(size, 3, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.1 * torch.randn(size, generator=generator)
    torch.manual_seed(seed)
    return Task(
        model=nn.Linear(3, 1),
        train=(x, y),
        test=(x[:7], y[:7]),
        loss=squared,
        metrics={"mse": squared},
        better={"mse": "lower"},
    )


def task_trial(train: Train, seed: int = 0, facts: TaskFacts | None = None, **tables: Any) -> Trial:
    """Return a trial of a task; `tables` are further settings, such as `memory`."""
    table = TaskTable(use="mine:make", facts=facts)
    settings = Settings(
        data=Data(name="mine:make"), model=Model(name="task"), train=train, task=table, **tables
    )
    return Trial(id=f"trial-s{seed}", configuration="trial", seed=seed, settings=settings)
