"""Data sets that loader processes read: each draws, holds or breaks something."""

import ctypes
import os
import random
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from batchscope.engine.task import Task
from tests.unit.engine.training.tasks.task_fixtures import squared

SIZE, FEATURES = 41, 3
Sample = tuple[Tensor, Tensor]


class Samples(torch.utils.data.Dataset[Sample]):
    """Samples that are made from their number alone."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Sample:
        x = torch.arange(FEATURES) * 0.1 + torch.tensor(number / self.size).sin()
        return x, x.sum()


class Drawn(Samples):
    """Samples with noise from every generator there is."""

    def __getitem__(self, number: int) -> Sample:
        x, y = super().__getitem__(number)
        noise = random.random() + float(np.random.rand())
        return x + torch.rand(FEATURES), y + noise


class FromFile(Samples):
    """Samples in a file that is opened once; reading moves its position."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        self.file.write(np.arange(size * FEATURES, dtype=np.float32).tobytes())
        self.file.seek(0)

    def __getitem__(self, number: int) -> Sample:
        self.file.seek(number * FEATURES * 4)
        x = torch.frombuffer(bytearray(self.file.read(FEATURES * 4)), dtype=torch.float32) / 100
        return x, x.sum()

    def __del__(self) -> None:
        self.file.close()


class Unpicklable(Samples):
    """Samples of a data set that holds what no process can send to another."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.lock = threading.Lock()
        self.change: Callable[[Tensor], Tensor] = lambda x: x * 2

    def __getitem__(self, number: int) -> Sample:
        with self.lock:
            x, y = super().__getitem__(number)
            return self.change(x), y


class Broken(Samples):
    """One sample cannot be read."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        super().__init__()
        self.fault = fault

    def __getitem__(self, number: int) -> Sample:
        if number == 7:
            self.fault()
        return super().__getitem__(number)


class Odd(Samples):
    """One sample is of another shape or kind than the others."""

    def __init__(self, sample: Any) -> None:
        super().__init__()
        self.sample = sample

    def __getitem__(self, number: int) -> Any:
        return self.sample if number == 7 else super().__getitem__(number)


ODD: dict[str, tuple[Any, str]] = {
    "longer": ((torch.zeros(FEATURES + 1), torch.zeros(())), "(tensor (4,), tensor ())"),
    "without a label": ((torch.zeros(FEATURES),), "(tensor (3,))"),
    "None": (None, "None"),
    "an object": (object(), "a value of type object"),
    "a text": ("a text", "a value of type str"),
}


def raises() -> None:
    raise ValueError("no such picture")


def prints() -> None:
    os.write(1, b'{"kind":"ended"}\n')


def waits() -> None:
    threading.Event().wait()  # in a loader


def deadlocks() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()  # in a loader


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "raises": (raises, "ValueError: no such picture"),
    "calls sys.exit": (lambda: exit(4), "called sys.exit: 4"),
    "leaves the process": (lambda: os._exit(4), "ended with exit code 4"),
    "aborts": (os.abort, "killed by SIGABRT"),
    "reads where nothing is": (lambda: ctypes.string_at(0), "killed by SIGSEGV"),
    "interrupts": (lambda: signal.raise_signal(signal.SIGUSR1), "killed by SIGUSR1"),
}


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def task_of(data: Any, test: Any = None) -> Task:
    """Return a linear regression on a data set."""
    torch.manual_seed(0)
    return Task(model=nn.Linear(FEATURES, 1), train=data, test=test, loss=squared)
