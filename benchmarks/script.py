"""A plain script that trains the trials of a preset one after another.

    python benchmarks/script.py PRESET.toml HOME THREADS [DATA_DIR] < TRIALS

It trains as you would without batchscope: index a tensor, take a step, and evaluate after each
epoch on the test set and on as many training images. It uses batchscope's initial weights,
order of images, and schedules of learning rate and batch size, but no instruments. TRIALS is a JSON
list of ids; the result on stdout is a `Trained` as JSON.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.prepare import prepare
from batchscope.engine.data.validation_split import validation_size
from batchscope.engine.experiment.preset import load_preset
from batchscope.engine.schedule.course import Course, Stage
from batchscope.engine.schedule.target import has_target, is_check, is_met
from batchscope.engine.spec import Settings, Train, Trial, trials_of
from batchscope.engine.training.batches import Images, Part, epoch_order, load_images
from batchscope.engine.training.model.build import build_model

EVALUATION_BATCH_SIZE = 1000
CPU = torch.device("cpu")
Figures = tuple[float, float]


class Trained(msgspec.Struct):
    """The seconds of training and evaluation, and each trial's test loss and accuracy."""

    seconds: float
    figures: dict[str, Figures]


def beyond(settings: Settings) -> str:
    """Return which of these settings the script does not support; empty if it supports all."""
    if settings.train.seconds is not None:
        return "where a budget in seconds ends depends on the pace"
    if settings.train.precision != "fp32":
        return "bf16 is left out"
    return ""


def optimizer_of(weights: Iterable[nn.Parameter], train: Train, course: Course) -> optim.Optimizer:
    """Return the optimizer of a preset for the parameters of a network."""
    lr, decay, adam = (
        course.rates.lr,
        train.weight_decay,
        (course.rates.betas, course.rates.epsilon),
    )
    match train.optimizer:
        case "sgd":
            return optim.SGD(weights, lr, weight_decay=decay)
        case "momentum" | "nesterov":
            nesterov = train.optimizer == "nesterov"
            return optim.SGD(weights, lr, train.momentum, weight_decay=decay, nesterov=nesterov)
        case "adam":
            return optim.Adam(weights, lr, *adam, weight_decay=decay)
        case "adamw":
            return optim.AdamW(weights, lr, *adam, weight_decay=decay)
        case "adagrad":
            return optim.Adagrad(weights, lr, weight_decay=decay)
        case "rmsprop":
            return optim.RMSprop(weights, lr, weight_decay=decay)


@torch.no_grad()
def evaluate(model: nn.Module, images: Images, part: Part) -> Figures:
    """Return the mean loss and accuracy on a part of the images."""
    loss, right, count = 0.0, 0, 0
    model.eval()
    for some, labels in images.batches(part, EVALUATION_BATCH_SIZE):
        logits = model(some)
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    model.train()
    return loss / count, right / count


def figures(judged: Figures) -> dict[str, float | None]:
    """Loss and accuracy by name."""
    return dict(zip(("loss", "accuracy"), judged, strict=True))


def train(trial: Trial, images: Images) -> Figures:
    """Train a trial; return its test loss and accuracy after the last epoch."""
    run = _Run(trial, images)
    while not run.over:
        run.epoch()
        evaluate(run.model, images, "train")
        tested = evaluate(run.model, images, "test")
        judged = evaluate(run.model, images, "validation") if images.validates else tested
        run.over = run.over or is_met(trial.settings, figures(judged))
    return tested


class _Run:
    """The training of one trial."""

    def __init__(self, trial: Trial, images: Images) -> None:
        settings, self.images, self.seed = trial.settings, images, trial.seed
        self.settings = settings
        self.model = build_model(settings.model, DATASETS[settings.data.name], trial.seed)
        self.course = Course(settings, images.train_size)
        self.train, named = settings.train, settings.memory.micro_batch_size
        self.optimizer = optimizer_of(self.model.parameters(), settings.train, self.course)
        self.micro = named if named != "auto" else sys.maxsize
        self.varies = bool(
            settings.schedule.kind != "constant"
            or settings.phases
            or settings.scaling.warmup_epochs
        )
        self.number = self.steps = self.samples = 0
        self.over = False

    def epoch(self) -> None:
        """Train one epoch, or less if the budget or the target ends it."""
        self.number += 1
        seen, size = 0, self.images.train_size
        for stage, batch in self._batches():
            if self.varies:
                lr = self.course.rate(stage, self.steps, self.samples, 0.0)
                self.optimizer.param_groups[0]["lr"] = lr
            self._step(batch)
            self.steps, self.samples = self.steps + 1, self.samples + len(batch)
            seen += len(batch)
            self.over = self.steps == self.course.total_steps
            if has_target(self.train) and seen < size and not self.over:
                self.over = self._reached(seen, len(batch))

    def _batches(self) -> Iterator[tuple[Stage, Tensor]]:
        """Yield the batches of an epoch, with the batch sizes of the schedule."""
        drawn = epoch_order(
            self.images.train_size,
            self.seed,
            self.number,
            self.train.sampling == "with-replacement",
        )
        order = self.images.of_training(drawn)
        while len(order) and not self.over:
            stage = self.course.stage(self.steps, self.samples, 0.0)
            taken = 0
            for batch in torch.split(order, stage.batch_size):
                yield stage, batch
                taken += len(batch)
                if self.over or not stage.lasts(self.steps, self.samples, 0.0):
                    break
            order = order[taken:]

    def _step(self, batch: Tensor) -> None:
        images, labels, model = self.images.train, self.images.train_labels, self.model
        self.optimizer.zero_grad()
        how = self.train.loss_reduction
        if len(batch) <= self.micro:
            loss = functional.cross_entropy(model(images[batch]), labels[batch], reduction=how)
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            for part in torch.split(batch, self.micro):
                loss = functional.cross_entropy(model(images[part]), labels[part], reduction="sum")
                (loss / len(batch) if how == "mean" else loss).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _reached(self, seen: int, batch: int) -> bool:
        if not is_check(seen, batch, self.images.train_size, self.train.target_checks):
            return False
        part: Part = "validation" if self.images.validates else "test"
        return is_met(self.settings, figures(evaluate(self.model, self.images, part)))


def main(preset: str, home: str, threads: str, data_dir: str | None = None) -> None:
    wanted = set(msgspec.json.decode(sys.stdin.buffer.read(), type=list[str]))
    torch.set_num_threads(int(threads))
    loaded: dict[tuple[str, float], Images] = {}
    figures, seconds = dict[str, Figures](), 0.0
    for configuration in load_preset(Path(preset)).configurations:
        data = configuration.settings.data
        if (data.name, data.validation) not in loaded:
            prepared = prepare(data.name, Path(home), Path(data_dir) if data_dir else None)
            held = validation_size(data, prepared.train)
            loaded[data.name, data.validation] = load_images(prepared, CPU, held)
        images = loaded[data.name, data.validation]
        for trial in trials_of(configuration):
            if trial.id in wanted:
                began = time.perf_counter()
                figures[trial.id] = train(trial, images)
                seconds += time.perf_counter() - began
    sys.stdout.buffer.write(msgspec.json.encode(Trained(seconds, figures)))


if __name__ == "__main__":
    main(*sys.argv[1:])
