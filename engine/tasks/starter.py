"""Writes a small task and its preset beside it, from which a person goes on."""

import errno
import keyword
import os
import sys
from pathlib import Path

from batchscope.engine.errors import MachineProblem, UsageProblem, printable

TASK = '''\
"""A task for batchscope: replace the data, the model and the loss by your own."""

import torch
from torch import Tensor, nn
from torch.nn import functional

import batchscope

Batch = tuple[Tensor, Tensor]


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the sum of the losses, never their mean, and the number of samples."""
    inputs, labels = batch
    return functional.cross_entropy(model(inputs), labels, reduction="sum"), len(labels)


def accuracy(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the number of correct answers, and the number of samples."""
    inputs, labels = batch
    return (model(inputs).argmax(1) == labels).sum(), len(labels)


def spirals(samples: int, seed: int) -> Batch:
    """Return points of two spirals, (samples, 2), and which one each belongs to."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(samples) % 2
    radius = torch.rand(samples, generator=generator)
    angle = 5 * radius + torch.pi * labels
    points = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)
    return points + 0.03 * torch.randn(samples, 2, generator=generator), labels


def make(seed: int, width: int = 32) -> batchscope.Task:
    """Return the task; torch is seeded with `seed` before this call, so weights follow from it."""
    return batchscope.Task(
        model=nn.Sequential(
            nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2)
        ),
        train=spirals(1024, seed=1),
        test=spirals(512, seed=2),
        loss=loss,
        metrics={"accuracy": accuracy},
    )
'''

PRESET = """\
title = "{name}"
question = "How large can the batch be before the test accuracy falls?"
seeds = 2

[task]
use = "{name}:make"

[task.arguments]
width = 32

[train]
lr = 0.02
optimizer = "adam"
epochs = 10

[grid]
batch_size = [16, 64, 256]

[[claims]]
statement = "With equal epochs, 256 ends with a lower test accuracy than 16"
measure = "test_accuracy"
left = {{ batch_size = 256 }}
relation = "less"
right = {{ batch_size = 16 }}
"""


def write_starter(path: Path) -> tuple[Path, Path]:
    """Write `NAME.py` and `NAME.toml`, and return their paths.

    Args:
        path: the path of either, with its suffix or without.

    Raises:
        UsageProblem: one is there already, or the name cannot be that of a module.
        MachineProblem: one cannot be written; then neither is left.
    """
    name = path.name.removesuffix(".py").removesuffix(".toml")
    _check_name(name, path)
    module, preset = path.with_name(f"{name}.py"), path.with_name(f"{name}.toml")
    for each in (module, preset):
        if os.path.lexists(each):
            raise UsageProblem(f"{printable(each)}: is there already; choose another name")
    if os.path.isdir(path):  # noqa: PTH112 (a package would be imported in its place)
        raise UsageProblem(f"{printable(path)}: is a folder; choose another name")
    written: list[Path] = []
    try:
        for each, content in ((module, TASK), (preset, PRESET.format(name=name))):
            with each.open("x", encoding="utf-8") as file:
                written.append(each)
                file.write(content)
    except OSError as error:
        for each in written:
            each.unlink(missing_ok=True)
        if error.errno == errno.EEXIST:
            raise UsageProblem(
                f"{printable(each)}: is there already; choose another name"
            ) from None
        raise MachineProblem(
            f"{printable(each)}: cannot be written: {printable(error.strerror or error)}"
        ) from None
    return module, preset


def _check_name(name: str, path: Path) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        better = "".join(each if f"a{each}".isidentifier() else "_" for each in name)
        better = better if better.isidentifier() and not keyword.iskeyword(better) else "mine"
        raise UsageProblem(
            f"{printable(path)}: {printable(name)!r} cannot be the name of a Python module; "
            f"try {printable(path.with_name(better))}.py"
        )
    if name in sys.stdlib_module_names or name in ("torch", "numpy", "batchscope"):
        raise UsageProblem(
            f"{printable(path)}: {name!r} is the name of a module of Python or of a package that "
            "is used; choose another name"
        )
