"""Thirty kinds of task, broken or unusual: `make(seed, kind)`.

Tests copy this file into a folder of its own. Where a kind goes wrong, its line ends with a comment
of its name, and a message must name that line.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from batchscope import Task

Batch = tuple[Tensor, Tensor]
SIZE = 40
calls: dict[str, int] = {}
unrelated = nn.Linear(3, 1)


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    x, y = batch
    return ((model(x).squeeze(1) - y) ** 2).sum(), len(y)


def data() -> Batch:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(SIZE, 3, generator=generator)
    return x, x @ torch.tensor([1.0, -2.0, 0.5])


def plain(**changed: Any) -> Task:
    x, y = data()
    given = {"model": nn.Linear(3, 1), "train": (x, y), "test": (x[:7], y[:7]), "loss": loss}
    return Task(**{**given, **changed})


# ---- what a loss can do


def step_7(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    calls["step"] = calls.get("step", 0) + (model.training and len(batch[1]) == 5)
    if calls["step"] > 7:
        raise ValueError("no label 7")  # step-7
    return loss(model, batch)


def mean(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # mean
    total, weight = loss(model, batch)
    return total / weight, weight


def one_value(model: nn.Module, batch: Batch) -> Any:  # no-weight
    return loss(model, batch)[0]


def nan(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # nan
    total, weight = loss(model, batch)
    return total * float("nan"), weight


def later_nan(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    total, weight = loss(model, batch)
    calls["nan"] = calls.get("nan", 0) + (model.training and len(batch[1]) == 5)
    return total * (float("nan") if calls["nan"] > 7 else 1.0), weight


def no_weight(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    total, weight = loss(model, batch)
    few = torch.tensor(float(weight)) * (weight != 5)
    return total * (weight != 5), few


def negative(model: nn.Module, batch: Batch) -> tuple[Tensor, float]:  # weight-negative
    return loss(model, batch)[0], -1.0


def nan_weight(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:  # weight-nan
    return loss(model, batch)[0], torch.tensor(float("nan"))


def infinite_weight(model: nn.Module, batch: Batch) -> tuple[Tensor, float]:  # weight-infinite
    return loss(model, batch)[0], float("inf")


def learned_weight(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:  # weight-learned
    return loss(model, batch)[0], next(model.parameters()).square().sum()


def text_weight(model: nn.Module, batch: Batch) -> tuple[Tensor, Any]:  # weight-text
    return loss(model, batch)[0], "5"


def slope(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Add the derivative by the inputs, which require a gradient."""
    x, _ = batch
    total, weight = loss(model, batch)
    with torch.enable_grad():
        (found,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return total + found.square().sum(), weight


def elsewhere(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    x, y = batch
    return ((model(x.to("meta")).squeeze(1) - y) ** 2).sum(), len(y)  # wrong-device


def on_meta(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # device-of-sum
    total, weight = loss(model, batch)
    return total.to("meta"), weight


def yields(model: nn.Module, batch: Batch) -> Iterator[Any]:  # generator-loss
    yield loss(model, batch)


def prints(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    print('{"type": "trial_ended"}', flush=True)
    os.write(1, b"a word on descriptor 1\n")
    return loss(model, batch)


def exits(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    calls["exit"] = calls.get("exit", 0) + (len(batch[1]) == 5)
    if calls["exit"] > 3:
        sys.exit("no more money")  # sys-exit
    return loss(model, batch)


def forks(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child:
        os.waitpid(child, 0)
    return loss(model, batch)


def leaves_threads(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    threading.Thread(target=threading.Event().wait, args=(3600.0,)).start()
    return loss(model, batch)


def reseeds(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
    return loss(model, batch)


def sleeps_in_step(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    calls["sleep"] = calls.get("sleep", 0) + (model.training and len(batch[1]) == 5)
    if calls["sleep"] > 7:
        time.sleep(3600.0)  # sleeps-in-step
    return loss(model, batch)


def killed(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return loss(model, batch)


def crashes(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    ctypes.string_at(0)  # crashes
    return loss(model, batch)


def hangs(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    threading.Event().wait()  # hangs-in-the-loss
    return loss(model, batch)


def leaves(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    calls["leave"] = calls.get("leave", 0) + (model.training and len(batch[1]) == 5)
    if calls["leave"] > 7:
        os._exit(0)  # leaves-in-step
    return loss(model, batch)


def sleeps(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    time.sleep(0.001)
    return loss(model, batch)


def backward_twice(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Penalize the gradient of the output, for which the weights are differentiated twice."""
    x, y = batch
    inputs = x.clone().requires_grad_()
    output = model(inputs).squeeze(1)
    (slope,) = torch.autograd.grad(output.sum(), inputs, create_graph=True)
    return ((output - y) ** 2 + (slope.square().sum(1) - 1.0) ** 2).sum(), len(y)


def own_autocast(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    x, y = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
    assert output.dtype == torch.bfloat16 or x.dtype == torch.float64
    return ((output.to(x.dtype).squeeze(1) - y) ** 2).sum(), len(y)


def half(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # half
    total, weight = loss(model, batch)
    return total.to(torch.bfloat16), weight


def clears(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # zero-grad
    model.zero_grad()
    return loss(model, batch)


def goes_backward(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # own-backward
    total, weight = loss(model, batch)
    total.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return total, weight


def clamps(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # replaced-weights
    for each in model.parameters():
        each.data = each.data.clamp(-1.0, 1.0)
    return loss(model, batch)


def other_model(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:  # other-model
    return loss(unrelated, batch)


def area(model: nn.Module, batch: Batch) -> Any:  # metric-f1
    return 0.75


class Wordless(RuntimeError):
    """An error that ends the program when somebody asks for its text."""

    def __str__(self) -> str:
        raise SystemExit(3)


def wordless(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    raise Wordless  # wordless


# ---- models


class Net(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.second(torch.tanh(self.first(x)))
        return output


class Tied(nn.Module):
    """Two square layers with one weight, as a parameter or as memory."""

    def __init__(self, by_storage: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)
        weight = self.first.weight
        self.second.weight = nn.Parameter(weight.data) if by_storage else weight

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return output


class Partly(Net):
    """With a frozen layer, and one that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.first.requires_grad_(False)
        self.unused = nn.Linear(7, 7)


class Counting(Net):
    """With buffers that are no floats, one of which is a new tensor after each pass."""

    steps: Tensor
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(3, dtype=torch.bool), persistent=False)
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps = self.steps + 1
            self.seen |= (x > 0.0).any(0)
        return super().forward(x)


class Growing(Net):
    """With a buffer that grows."""

    cache: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.cache = torch.zeros(len(self.cache) + 1)
        return super().forward(x)


class Complex(nn.Module):
    """A complex layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 1, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.complex64) @ self.weight).abs()


class Words(nn.Module):
    """An embedding with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 1, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.words((x[:, 0] > 0).long())
        return output


class Recomputing(Net):
    """Computes its first layer again in the backward pass."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        hidden = checkpoint(lambda: torch.tanh(self.first(x)), use_reentrant=self.reentrant)
        output: Tensor = self.second(hidden)
        return output


class Locked(Net):
    """With a lock, of which there is no copy."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Scheduled(torch.optim.SGD):
    """An optimizer that lowers its rate by itself."""

    def __init__(self, groups: Any, lr: float) -> None:
        super().__init__(groups, lr=lr)
        self.schedule = torch.optim.lr_scheduler.StepLR(self, 2)

    def step(self, closure: Any = None) -> Any:
        found = super().step(closure)
        self.schedule.step()
        return found


def lbfgs(groups: Any, lr: float) -> Any:  # lbfgs
    return torch.optim.LBFGS(groups, lr=lr)


def no_groups(model: nn.Module) -> list[dict[str, Any]]:  # no-groups
    return [{"params": []}]


def unfit(groups: Any, lr: float) -> Any:  # other-optimizer
    return torch.optim.SGD(unrelated.parameters(), lr=lr)


# ---- data


class Fails(torch.utils.data.Dataset[Batch]):
    """A data set with a sample that cannot be read."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, number: int) -> Batch:
        x, y = data()
        if number == 33:
            raise OSError(f"sample {number} is damaged")  # damaged-sample
        return x[number], y[number]


class NoLength(Fails):
    """A data set whose length cannot be read."""

    def __len__(self) -> int:
        raise OSError("the index is damaged")  # no-length


class NoText:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Hangs(Fails):
    """A data set with a sample that never comes."""

    def __getitem__(self, number: int) -> Batch:
        if number == 3:
            threading.Event().wait()  # hangs-in-a-sample
        return super().__getitem__(number)


def samples() -> Iterator[Batch]:
    yield data()


def huge() -> Batch:
    """Ten gigabytes that are never touched, so that they take no memory."""
    return torch.empty(10 << 30, dtype=torch.uint8).view(-1, 1 << 20), torch.zeros(10 << 10)


def huge_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    x, y = batch
    return loss(model, (x[:, :3].float(), y))


def same_name(kind: str) -> Task:
    """Import `helper`, which is another module for each kind."""
    sys.path.insert(0, str(Path(__file__).parent / kind))
    import helper  # type: ignore[import-not-found]

    assert kind == helper.KIND
    return plain()


def make(seed: int, kind: str = "plain") -> Task:
    """Return the task of a kind."""
    x, y = data()
    if kind == "raises":
        raise KeyError("the configuration")  # raises
    if kind == "interrupts":
        raise SystemExit  # interrupts
    if kind == "keyboard":
        raise KeyboardInterrupt  # keyboard
    if kind == "os-exit":
        os._exit(7)  # os-exit
    if kind == "exits-in-c":
        ctypes.CDLL(None)._exit(7)
    if kind == "sleeps-for-ever":
        time.sleep(3600.0)  # sleeps-for-ever
    if kind == "deletes-itself":
        Path(__file__).unlink()
    if kind == "not-a-task":
        return {"model": Net()}  # type: ignore[return-value]
    if kind == "prints-loudly":
        print("a word\n" * 20_000, flush=True)
    if kind in ("one", "other"):
        return same_name(kind)
    if kind == "ddp":
        return plain(model=nn.DataParallel(Net()))
    if kind == "compiled":
        return plain(model=torch.compile(Net()))
    if kind == "cuda":
        return plain(model=Net().to("cuda:7"))  # cuda
    if kind == "too-large":
        return plain(train=torch.empty(1 << 58))  # too-large
    if kind == "huge":
        return replace(plain(), train=huge(), test=None, loss=huge_loss)
    if kind == "module-list":
        return plain(model=[Net()])
    if kind == "lazy":
        return plain(model=nn.LazyLinear(1))
    losses = {
        "step-7": step_7,
        "mean": mean,
        "no-weight": one_value,
        "nan": nan,
        "later-nan": later_nan,
        "weight-0": no_weight,
        "weight-negative": negative,
        "weight-nan": nan_weight,
        "weight-infinite": infinite_weight,
        "weight-learned": learned_weight,
        "weight-text": text_weight,
        "wrong-device": elsewhere,
        "device-of-sum": on_meta,
        "lambda": lambda model, batch: loss(model, batch),
        "generator-loss": yields,
        "prints": prints,
        "sys-exit": exits,
        "forks": forks,
        "threads": leaves_threads,
        "reseeds": reseeds,
        "sleeps": sleeps,
        "sleeps-in-step": sleeps_in_step,
        "leaves-in-step": leaves,
        "killed": killed,
        "crashes": crashes,
        "hangs-in-the-loss": hangs,
        "double-backward": backward_twice,
        "autocast": own_autocast,
        "half": half,
        "wordless": wordless,
        "zero-grad": clears,
        "own-backward": goes_backward,
        "replaced-weights": clamps,
        "other-model": other_model,
    }
    if kind in losses:
        return plain(loss=losses[kind])
    models: dict[str, Callable[[], nn.Module]] = {
        "tied": lambda: Tied(False),
        "tied-by-storage": lambda: Tied(True),
        "frozen-and-unused": Partly,
        "buffers": Counting,
        "growing-buffer": Growing,
        "complex": Complex,
        "sparse": Words,
        "checkpointing": lambda: Recomputing(False),
        "checkpointing-reentrant": lambda: Recomputing(True),
        "frozen": lambda: Net().requires_grad_(False),
        "no-copy": Locked,
        "meta": lambda: Net().to("meta"),
        "double": lambda: Net().double(),
    }
    if kind in models:
        return plain(model=models[kind]())
    others: dict[str, dict[str, Any]] = {
        "plain": {},
        "prints-loudly": {},
        "deletes-itself": {},
        "empty": {"train": (x[:0], y[:0])},
        "unequal": {"train": (x, y[:-1])},
        "generator": {"train": samples()},
        "damaged-sample": {"train": Fails()},
        "no-length": {"train": NoLength()},
        "inputs-with-gradients": {
            "train": (x.clone().requires_grad_(), y),
            "test": (x.clone().requires_grad_(), y),
            "loss": slope,
        },
        "arrays": {"train": (x.numpy(), y.numpy())},
        "no-text": {"train": NoText()},
        "hangs-in-a-sample": {"train": Hangs()},
        "metric-f1": {"metrics": {"f1": area}},
        "lbfgs": {"optimizer": lbfgs},
        "scheduler": {"optimizer": Scheduled},
        "other-optimizer": {"optimizer": unfit},
        "no-groups": {"parameters": no_groups},
        "cross-entropy": {"loss": functional.cross_entropy},
    }
    return plain(**others[kind])


lazily = lambda seed, kind="plain": make(seed, kind)  # noqa: E731
