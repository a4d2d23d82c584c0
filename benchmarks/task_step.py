"""Time a step of a task against a plain loop that a careful person writes, side by side.

    python benchmarks/task_step.py [--optimizer sgd] [--rounds 41] [--sizes 1 4 16 ...]

The task is trained as users get it, with all its instruments ("ours"), and with none ("bare"). The
loop is

    x, y = images.index_select(0, batch), labels.index_select(0, batch)
    optimizer.zero_grad(set_to_none=True)
    functional.cross_entropy(model(x), y).backward()
    optimizer.step()

with torch's optimizer, fused. It records nothing; the other loop records the gradient norm of every
step as a careful person would (`torch.nn.utils.get_total_norm`, read once at the end), as "ours"
does. All four take the same steps from the same weights, on one thread, alternately; a round holds
enough steps that every instrument measures at least once. Instruments that measure only some steps
do so as in a training of 2,000 steps or of one epoch, whichever is longer; in shorter trainings
they measure more. Times are of the processor, which a busy machine disturbs less. The bar is 1.00
against the loop that records the norm, as the geometric mean over the batch sizes of a network.
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in a worker, before numpy is imported

import torch
from interleaving import geometric_mean, in_turn, judged, ratio, row
from torch import Tensor, nn, optim
from torch.nn import functional

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Data, Memory, Model, Settings, Train, Trial
from batchscope.engine.task import Task
from batchscope.engine.task_table import TaskTable
from batchscope.engine.training.instruments.noise_scale import every
from batchscope.engine.training.tasks.task_dataset import TaskDataset
from batchscope.engine.training.trainer.train_step import Stepper

SIZES = (1, 4, 16, 64, 256, 1024)
SAMPLES, SHAPE, CLASSES = 4096, (1, 28, 28), 10
TOTAL_STEPS = 2_000
LR, MOMENTUM = 0.001, 0.9
SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 25.0
CPU = torch.device("cpu")
BAR = 1.0
Batch = tuple[Tensor, Tensor]
Contender = Callable[[], float]


def mlp() -> nn.Module:
    """Return a perceptron of 109,386 weights."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, 128), nn.ReLU()),
        *(nn.Linear(128, 64), nn.ReLU()),
        nn.Linear(64, CLASSES),
    )


def cnn() -> nn.Module:
    """Return a network of two convolutions and 20,490 weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(784, 24), nn.ReLU()),
        nn.Linear(24, CLASSES),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {"mlp": mlp, "cnn": cnn}


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    images, labels = batch
    return functional.cross_entropy(model(images), labels, reduction="sum"), len(labels)


def data() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(SAMPLES, *SHAPE, generator=generator)
    return images, torch.randint(CLASSES, (SAMPLES,), generator=generator)


def batches(size: int, steps: int) -> list[Tensor]:
    """Return the numbers of the samples of some batches, each (1, B)."""
    generator = torch.Generator().manual_seed(size)
    order = [
        torch.randperm(SAMPLES, generator=generator) for _ in range(-(-steps * size // SAMPLES))
    ]
    return list(torch.cat(order)[: steps * size].view(steps, 1, size))


def stepper_of(network: str, train: Train) -> Stepper:
    """Return what takes the steps of a task in our trainer."""
    torch.manual_seed(0)
    task = Task(model=NETWORKS[network](), train=data(), loss=loss)
    settings = Settings(
        data=Data(name="mine:make"),
        model=Model(name="task"),
        train=train,
        task=TaskTable(use="mine:make"),
        memory=Memory(micro_batch_size=train.batch_size),
    )
    trial = Trial(id="bench", configuration="bench", seed=0, settings=settings)
    return Stepper((trial,), make_plan(trial, SAMPLES, 1), TaskDataset(task, 0, CPU), CPU)


def ours(network: str, train: Train, work: list[Tensor], bare: bool) -> Contender:
    """Return what times a round of steps in our trainer."""
    stepper = stepper_of(network, train)
    if bare:
        stepper.use([])

    def timed() -> float:
        began = time.process_time()
        for number, batch in enumerate(work):
            slot = number % stepper.slice_steps
            stepper.step(batch, number + 1, slot)
            if slot + 1 == stepper.slice_steps:
                stepper.end_slice()
        stepper.end_slice()
        stepper.end_epoch()
        return time.process_time() - began

    return timed


def loop(network: str, train: Train, work: list[Tensor], norms: bool) -> Contender:
    """Return what times a round of steps in a plain loop."""
    torch.manual_seed(0)
    model, (images, labels) = NETWORKS[network](), data()
    parameters = list(model.parameters())
    optimizer: optim.Optimizer
    if train.optimizer == "adam":
        optimizer = optim.Adam(parameters, lr=LR, fused=True)
    else:
        momentum = MOMENTUM if train.optimizer == "momentum" else 0.0
        optimizer = optim.SGD(parameters, lr=LR, momentum=momentum, fused=True)
    work = [each[0] for each in work]

    def timed() -> float:
        began, kept = time.process_time(), []
        for batch in work:
            x, y = images.index_select(0, batch), labels.index_select(0, batch)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            if norms:
                gradients = [each.grad for each in parameters if each.grad is not None]
                kept.append(nn.utils.get_total_norm(gradients))
            optimizer.step()
        if kept:
            torch.stack(kept).tolist()
        return time.process_time() - began

    return timed


def contenders(network: str, train: Train, steps: int) -> dict[str, Contender]:
    work = batches(train.batch_size, steps)
    return {
        "ours": ours(network, train, work, False),
        "bare": ours(network, train, work, True),
        "loop": loop(network, train, work, False),
        "loop with norms": loop(network, train, work, True),
    }


def steps_of(network: str, train: Train) -> int:
    """Return how many steps a round has."""
    least = every(train.batch_size)
    timed = loop(network, train, batches(train.batch_size, 8), False)
    seconds = min(timed() for _ in range(3)) / 8
    return -(-max(1, round(SHORTEST_SECONDS / seconds)) // least) * least


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--optimizer", choices=("sgd", "momentum", "adam"), default="sgd")
    ask.add_argument("--rounds", type=int, default=41)
    ask.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    ask.add_argument("--networks", nargs="*", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    words = ask.parse_args()
    torch.set_num_threads(1)
    widths = (4, 6, 9, 22, 22, 22)
    titles = ("net", "B", "loop, µs", "ours / loop", "bare / loop", "ours / loop w. norms")
    print(row(widths, titles))
    for network in words.networks:
        found = list[float]()
        for size in words.sizes:
            epochs = -(-TOTAL_STEPS * size // SAMPLES)
            train = Train(batch_size=size, lr=LR, epochs=epochs, optimizer=words.optimizer)
            steps = steps_of(network, train)
            taken = in_turn(contenders(network, train, steps), words.rounds, LONGEST_SECONDS)
            same = ratio(taken["ours"], taken["loop with norms"])
            found.append(same.value)
            micros = min(taken["loop"]) / steps * 1e6
            others = [ratio(taken[name], taken["loop"]) for name in ("ours", "bare")]
            print(row(widths, (network, size, f"{micros:.0f}", *others, same)), flush=True)
        mean = geometric_mean(found)
        print(judged(f"{network}: {mean:.2f} ≤ {BAR:.2f}, ours / loop with norms", mean <= BAR))


if __name__ == "__main__":
    main()
