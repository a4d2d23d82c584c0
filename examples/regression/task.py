"""Predicts the progress of diabetes from ten numbers about a patient (scikit-learn's data)."""

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

import batchscope

Batch = tuple[Tensor, Tensor]


def squared_error(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the sum of the squared errors and the number of patients."""
    inputs, expected = batch
    return ((model(inputs).squeeze(1) - expected) ** 2).sum(), len(expected)


def absolute_error(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the sum of the absolute errors and the number of patients."""
    inputs, expected = batch
    return (model(inputs).squeeze(1) - expected).abs().sum(), len(expected)


def make(seed: int, width: int = 32) -> batchscope.Task:
    """Return the task; the weights are drawn from the seed that was set before this call."""
    data = load_diabetes()
    inputs = torch.tensor(data.data, dtype=torch.float32)
    expected = torch.tensor(data.target, dtype=torch.float32)
    inputs, expected = inputs / inputs.std(0), (expected - expected.mean()) / expected.std()
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    train, test = order[:350], order[350:]
    return batchscope.Task(
        model=nn.Sequential(nn.Linear(10, width), nn.Tanh(), nn.Linear(width, 1)),
        train=(inputs[train], expected[train]),
        test=(inputs[test], expected[test]),
        loss=squared_error,
        metrics={"mae": absolute_error},
        better={"mae": "lower"},
    )
