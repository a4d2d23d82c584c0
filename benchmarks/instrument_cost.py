"""Measure the cost of an instrument: the time of steps with it and without it, alternately.

    python benchmarks/instrument_cost.py [noise_scale] [layer_norms] [--data-dir DIR] [--rounds 15]

The result is the ratio of the median times of a round, on one thread. A round has enough steps for
every instrument to measure at least once. The bar is 1.03. `all` removes all instruments. The data
are the digits; with `--data-dir` (torchvision's layout) also MNIST.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from memory import CPU, MODELS, cases, prepared_data

from batchscope.engine.planning.plan import make_plan
from batchscope.engine.spec import Data, Memory, Settings, Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.instruments.noise_scale import every
from batchscope.engine.training.trainer.train_step import Stepper

SIZES = (2, 32, 256, 1024)
LONGEST_SECONDS = 4.0


def stepper_of(data: str, model: str, size: int, micro: int, images: Images) -> Stepper:
    settings = Settings(
        data=Data(name=data),
        model=MODELS[model],
        train=Train(batch_size=size, lr=1e-6, epochs=1),
        memory=Memory(micro_batch_size=micro),
    )
    trial = Trial(id="bench", configuration="bench", seed=0, settings=settings)
    return Stepper((trial,), make_plan(trial, images.train_size, 1), images, CPU)


def period(stepper: Stepper, batch: torch.Tensor) -> float:
    """Return the seconds of a round: enough steps that each instrument measures at least one."""
    began = time.perf_counter()
    for number in range(1, every(batch.shape[1]) + 1):
        stepper.step(batch, number, 0)
    stepper.end_slice()
    stepper.end_epoch()
    return time.perf_counter() - began


def cost(stepper: Stepper, name: str, batch: torch.Tensor, rounds: int) -> float:
    """Return the time with the instrument divided by the time without it."""
    loud = stepper.instruments
    silent = [each for each in loud if name not in (each.NAME, "all")]
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds + 1):
        for on in (True, False) if turn % 2 else (False, True):
            stepper.use(loud if on else silent)
            seconds = period(stepper, batch)
            if turn:
                taken[on].append(seconds)
        if turn and sum(taken[True]) > LONGEST_SECONDS and turn >= 3:
            break
    return median(taken[True]) / median(taken[False])


Row = tuple[str, str, str, int, int, float]


def rows(names: list[str], data: str, images: Images, rounds: int) -> Iterator[Row]:
    for model, _ in cases(data):
        for size in SIZES:
            for micro in dict.fromkeys((size, max(1, size // 4))):
                batch = torch.arange(min(size, images.train_size)).unsqueeze(0)
                for name in names:
                    stepper = stepper_of(data, model, size, micro, images)
                    yield name, data, model, size, micro, cost(stepper, name, batch, rounds)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("instruments", nargs="*", default=["noise_scale", "layer_norms"])
    ask.add_argument("--data-dir")
    ask.add_argument("--rounds", type=int, default=15)
    words = ask.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        for data, prepared in prepared_data(Path(home), words.data_dir).items():
            for row in rows(words.instruments, data, load_images(prepared, CPU), words.rounds):
                print("{:<12} {:>7} {:>14} {:>5} = n × {:<5} {:.3f}".format(*row), flush=True)


if __name__ == "__main__":
    main()
