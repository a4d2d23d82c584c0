"""Predicts the next character of sentences of unequal lengths; the weight of a batch is its tokens.

The mean loss of a token does not depend on how a batch is cut, because `loss` returns a sum and the
number of tokens that it is over.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

import batchscope

LETTERS = "abcdefghijklmnopqrstuvwxyz "
PADDING = len(LETTERS)
TEXT = "a batch of small steps on many samples may train as well as one large step"
WORDS = TEXT.split()


class Sentences(torch.utils.data.Dataset[Tensor]):
    """Sentences of one to twelve words; sentence `number` is always the same."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.first + number)
        length = int(torch.randint(1, 13, (1,), generator=generator))
        chosen = torch.randint(len(WORDS), (length,), generator=generator).tolist()
        text = " ".join(WORDS[each] for each in chosen)
        return torch.tensor([LETTERS.index(letter) for letter in text])


def padded(samples: Sequence[Tensor]) -> Tensor:
    """Return the sentences as one tensor, padded to the longest."""
    return nn.utils.rnn.pad_sequence(list(samples), batch_first=True, padding_value=PADDING)


class Characters(nn.Module):
    """A recurrent network over characters."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(PADDING + 1, width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, PADDING)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of each next character, shape (B, T, letters)."""
        hidden, _ = self.recurrent(self.embedding(tokens))
        logits: Tensor = self.output(self.dropout(hidden))
        return logits


def loss(model: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of the losses of all next characters, and their number."""
    logits, expected = model(tokens[:, :-1]), tokens[:, 1:]
    total = functional.cross_entropy(
        logits.flatten(0, 1), expected.flatten(), ignore_index=PADDING, reduction="sum"
    )
    return total, (expected != PADDING).sum()


def accuracy(model: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many next characters are predicted, and their number."""
    expected = tokens[:, 1:]
    right = model(tokens[:, :-1]).argmax(2) == expected
    return right.sum(), (expected != PADDING).sum()


def make(seed: int, width: int = 32, dropout: float = 0.1) -> batchscope.Task:
    """Return the task; the weights are drawn from the seed that was set before this call."""
    return batchscope.Task(
        model=Characters(width, dropout),
        train=Sentences(0, 600),
        test=Sentences(10_000, 100),
        loss=loss,
        metrics={"accuracy": accuracy},
        collate=padded,
    )
