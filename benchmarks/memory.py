"""Check the planning of memory: its measured peaks, its choices and its cost.

    python benchmarks/memory.py [--data-dir DIR] [--json] [--only peaks|choices|cost]

- peaks: compare the measured live tensor bytes of a step with the growth of the process. A process
  also needs memory for the operators themselves, and memory comes in pages.
- choices: compare the chosen micro-batch with the fastest of all that fit, timed alternately.
- cost: compare the seconds of planning with the seconds of the trial, for the included presets.

All use the digits; with `--data-dir` (torchvision's layout) also the presets and networks on MNIST.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import torch

from batchscope.engine.analysis.time_estimate import trial_seconds
from batchscope.engine.data.prepare import prepare
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.devices.devices import cores
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.experiment.preset_catalog import preset_files
from batchscope.engine.formatting import shown_size
from batchscope.engine.planning.micro_batch import HEADROOM, choose_micro_batch, fits
from batchscope.engine.planning.plan import LEAST_SECONDS, MOST_SHARE, make_plan
from batchscope.engine.processes.orders import Measure
from batchscope.engine.schedule.budget import planned_steps, samples_after
from batchscope.engine.spec import Data, Model, Settings, Train, Trial
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.jobs.micro_batch_bench import Bench, measure
from batchscope.engine.training.trainer.optimizers import load_optimizers
from batchscope.engine.training.trainer.train_step import Stepper

CPU = torch.device("cpu")
UNLIMITED = 1 << 50
ROUNDS = 9
EPOCHS = 20  # the trial's length limits the time for planning
MODELS = {
    "mlp": Model(name="mlp"),
    "mlp 1024-1024": Model(name="mlp", hidden=(1024, 1024)),
    "cnn": Model(name="cnn"),
    "lenet": Model(name="lenet"),
}
Row = dict[str, Any]


def trial_of(data: str, model: Model, batch_size: int) -> Trial:
    train = Train(batch_size=batch_size, lr=0.01, epochs=EPOCHS, optimizer="momentum")
    settings = Settings(data=Data(name=data), model=model, train=train)
    return Trial(id="bench", configuration="bench", seed=0, settings=settings)


def cases(data: str) -> Iterator[tuple[str, Model]]:
    for name, model in MODELS.items():
        if data != "digits" or name != "lenet":  # too small for LeNet
            yield name, model


# ---- peaks


def peaks(data: str, prepared: Prepared) -> Iterator[Row]:
    """Measure each step in a separate process, so that none reuses memory of another."""
    where = msgspec.json.encode(prepared).decode()
    for name, _ in cases(data):
        for size in (64, 256, 1024):
            command = [sys.executable, __file__, "--step", where, name, str(size)]
            said = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(said.stdout)
            ratio = row["process"] / row["tensors"]
            yield {"data": data, "model": name, "micro_batch_size": size, **row, "ratio": ratio}


def one_step(prepared: Prepared, name: str, size: int) -> Row:
    """Return the growth of tensors and of this process in a step of two micro-batches."""
    torch.set_num_threads(1)
    images, trial = load_images(prepared, CPU), trial_of(prepared.name, MODELS[name], 2 * size)
    plan = make_plan(trial, images.train_size, threads=1)
    size, batch = min(size, plan.batch_size), torch.arange(plan.batch_size).unsqueeze(0)
    stepper = Stepper((trial,), plan, images, CPU)
    images.train.sum()  # loads the pages of the data
    for of in (batch[:, :16], batch):  # a small step first, to load libraries and optimizer
        stepper.micro_batch_size = min(8, size) if of.shape[1] == 16 else size
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = status("VmRSS")
        stepper.gradient(of)
        stepper.update(stepper.unmeasured(of.shape[1]))
        stepper.end_epoch()
    grown = status("VmHWM") - before
    bench = Bench((trial,), plan, images, CPU, UNLIMITED)
    bench._execute(size)
    bench._execute(size)  # the optimizer has its state now
    return {"tensors": bench._shapes[size].peak_bytes - bench.held_bytes, "process": grown}


def status(key: str) -> int:
    """Return a figure of `/proc/self/status` in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


# ---- choices


def choices(data: str, images: Images) -> Iterator[Row]:
    for name, model in cases(data):
        for batch_size in (256, 1024):
            trial = trial_of(data, model, batch_size)
            whole = peak_of(trial, images, min(batch_size, images.train_size))
            held = peak_of(trial, images, 8)
            for share in (2.0, 0.4):  # of the whole batch's extra memory
                limit = (held + share * (whole - held)) / (1 - HEADROOM)
                yield choice(data, name, trial, images, int(limit))


def peak_of(trial: Trial, images: Images, size: int) -> int:
    bench = Bench((trial,), make_plan(trial, images.train_size, 1), images, CPU, UNLIMITED)
    bench._execute(size)
    return bench._shapes[size].peak_bytes


def choice(data: str, name: str, trial: Trial, images: Images, limit: int) -> Row:
    plan = make_plan(trial, images.train_size, threads=1)
    bench = Bench((trial,), plan, images, CPU, limit)
    allowed = MOST_SHARE * trial_seconds(trial.settings, images.train_size)
    tried = bench.shapes(max(LEAST_SECONDS, allowed))
    chosen = choose_micro_batch(plan.batch_size, tried, limit, bench.held_bytes)
    assert chosen is not None
    sizes = {1 << power for power in range(3, 12) if 1 << power < plan.batch_size}
    able = [s for s in sorted({*sizes, plan.batch_size}) if fitting(bench, s, limit)]
    pace = paces(trial, images, sorted({*able, chosen.micro_batch_size}))
    fastest = max(pace, key=lambda size: pace[size])
    return {
        "data": data,
        "model": name,
        "batch_size": plan.batch_size,
        "limit": limit,
        "chosen": chosen.micro_batch_size,
        "fastest": fastest,
        "share": pace[chosen.micro_batch_size] / pace[fastest],
        "reason": chosen.reason,
    }


def fitting(bench: Bench, size: int, limit: int) -> bool:
    if size not in bench._shapes:
        bench._execute(size)
    return fits(bench._shapes[size], limit)


def paces(trial: Trial, images: Images, sizes: list[int]) -> dict[int, float]:
    """Return the images per second of whole steps at each size, timed alternately."""
    stepper = Stepper((trial,), make_plan(trial, images.train_size, 1), images, CPU)
    for group in stepper.optimizer.param_groups:
        group["lr"] = 0.0
    batch = torch.arange(min(trial.batch_size, images.train_size)).unsqueeze(0)
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for turn in range(ROUNDS + 1):
        for size in sizes:
            stepper.micro_batch_size = size
            began = time.perf_counter()
            for _ in range(3):
                stepper.gradient(batch)
                stepper.update(stepper.unmeasured(batch.shape[1]))
                stepper.end_epoch()
            if turn:  # the first turn is a warm-up
                seconds[size].append(time.perf_counter() - began)
    return {size: 3 * batch.shape[1] / median(times) for size, times in seconds.items()}


# ---- cost


def costs(data_sets: dict[str, Prepared]) -> Iterator[Row]:
    for name, path in preset_files().items():
        configurations = load_preset(path).configurations
        at = {c.settings.train.batch_size: c for c in configurations if is_automatic(c.settings)}
        for batch_size in sorted({min(at, default=0), max(at, default=0)} - {0}):
            data = data_sets.get(at[batch_size].settings.data.name)
            if data is not None:
                yield cost(name, at[batch_size].settings, data)


def is_automatic(settings: Settings) -> bool:
    return settings.memory.micro_batch_size == "auto"


def cost(preset: str, settings: Settings, data: Prepared) -> Row:
    trial = Trial(id="bench", configuration="bench", seed=0, settings=settings)
    plan = make_plan(trial, data.train, threads=1)
    allowed = max(LEAST_SECONDS, MOST_SHARE * trial_seconds(settings, data.train))
    began = time.perf_counter()
    images = load_images(data, CPU)
    order = Measure((trial,), plan, 1, data, "cpu", None, UNLIMITED, allowed)
    measured = measure(order, images, CPU)
    took = time.perf_counter() - began
    steps = planned_steps(settings.train, data.train, plan.batch_size)
    seconds = settings.train.seconds
    if seconds is None:
        assert steps is not None
        chosen = choose_micro_batch(
            plan.batch_size, measured.shapes, UNLIMITED, measured.held_bytes
        )
        assert chosen is not None
        shape = next(s for s in measured.shapes if s.micro_batch_size == chosen.micro_batch_size)
        seconds = samples_after(steps, data.train, plan.batch_size) / shape.samples_per_second
    bar = max(1.0, MOST_SHARE * seconds)
    return {
        "preset": preset,
        "batch_size": plan.batch_size,
        "planning": took,
        "trial": seconds,
        "share": took / seconds,
        "of_bar": took / bar,
    }


# ---- all of it


def prepared_data(home: Path, data_dir: str | None) -> dict[str, Prepared]:
    data_sets = {"digits": prepare("digits", home, None)}
    if data_dir:
        data_sets["mnist"] = prepare("mnist", home, Path(data_dir))
    return data_sets


def show(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    if not rows:
        return
    lines = [list(rows[0]), *([shown(key, row[key]) for key in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)))


def shown(key: str, value: object) -> str:
    if key in ("tensors", "process", "limit"):
        return shown_size(int(str(value)))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--data-dir")
    ask.add_argument("--json", action="store_true")
    ask.add_argument("--only", choices=("peaks", "choices", "cost"))
    ask.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    words = ask.parse_args()
    if words.step:
        where, name, size = words.step
        prepared = msgspec.json.decode(where, type=Prepared)
        print(json.dumps(one_step(prepared, name, int(size))))
        return
    torch.set_num_threads(1)
    load_optimizers()  # before the first measurement
    report: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as home:
        data_sets = prepared_data(Path(home), words.data_dir)
        images = {name: load_images(data, CPU) for name, data in data_sets.items()}
        if words.only in (None, "peaks"):
            report["peaks"] = [row for name, data in data_sets.items() for row in peaks(name, data)]
        if words.only in (None, "choices"):
            report["choices"] = [row for n, data in images.items() for row in choices(n, data)]
        if words.only in (None, "cost"):
            report["cost"] = list(costs(data_sets))
    if words.json:
        print(json.dumps({"cores": cores(), "torch": torch.__version__, **report}))
        return
    for title, rows in report.items():
        show(title, rows)


if __name__ == "__main__":
    main()
