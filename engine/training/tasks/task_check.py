"""Tells whether a task can be measured: what `batchscope check` shows.

    python -P -m batchscope.engine.training.tasks.task_check FOLDER TASK BATCH_SIZE

TASK is a `TaskTable` as JSON. Each row is a line of JSON on stdout.

Each check is a row with a verdict: `ok`; `note`, which restricts what can be had; `wrong`, which
would make figures wrong.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from batchscope.engine.errors import Problem, printable
from batchscope.engine.formatting import shown_size
from batchscope.engine.task import TaskProblem
from batchscope.engine.task_table import TaskTable
from batchscope.engine.tasks.code_digests import CodeDigests
from batchscope.engine.training.batches import epoch_order
from batchscope.engine.training.peak_memory import measured
from batchscope.engine.training.tasks.accepted_model import refuse_uncopyable
from batchscope.engine.training.tasks.batch_structure import tensors
from batchscope.engine.training.tasks.check_row import CheckRow, Verdict, start_row
from batchscope.engine.training.tasks.cut_comparison import (
    DROPOUTS,
    NORMS,
    TOLERANCE,
    compared,
    is_random,
    split_differs,
)
from batchscope.engine.training.tasks.data_check import DataCheck
from batchscope.engine.training.tasks.error_place import explained, named
from batchscope.engine.training.tasks.exit_guard import guard_exit
from batchscope.engine.training.tasks.fork_guard import guard
from batchscope.engine.training.tasks.function_loader import guarded
from batchscope.engine.training.tasks.metric_check import MODES, metric_values
from batchscope.engine.training.tasks.name_check import NameCheck
from batchscope.engine.training.tasks.own_buffers import OwnBuffers, replaced
from batchscope.engine.training.tasks.own_optimizer import groups_of, refuse_optimizer
from batchscope.engine.training.tasks.split_check import check_split
from batchscope.engine.training.tasks.task_host import TaskHost
from batchscope.engine.training.tasks.watchdog import Watchdog, began
from batchscope.engine.training.tasks.weighted_sum import accumulate, evaluated
from batchscope.engine.training.trained_parameters import trained

TIMED_STEPS = 5
LOSS = "loss"
PATIENCE_SECONDS = 120.0
"""How long a check may take before it is given up."""


class TaskCheck:
    """Checks one task on a device.

    Args:
        host: makes the task.
        batch_size: number of samples of the batch that is compared and timed.
        device: where to compute.
    """

    def __init__(
        self,
        host: TaskHost,
        batch_size: int = 32,
        device: torch.device | None = None,
    ) -> None:
        self._host, self._code = host, host.code
        self._device = device or torch.device("cpu")
        self.task = host.made(0)
        self._model = self.task.model
        self._began_in_training = self._model.training
        with host.at_the_function():
            refuse_uncopyable(self._model)
            self._data = DataCheck(self.task)
        self._train = self._data.train
        self._compiled = host.compiled
        self._buffers = OwnBuffers(self._model)
        self._places = [(each, each.data_ptr()) for each in trained(self._model)]
        self._size = max(1, min(batch_size, self._train.size))
        self._names = NameCheck(self.task, self._size)

    def rows(self) -> Iterator[CheckRow]:
        """Yield the rows of all checks; a failure of one does not stop the others."""
        checks = (
            ("data", self._data.amounts),
            ("model", self._parameters),
            ("same seed, same bits", self._same_bits),
            ("optimizer", self._optimizer),
            (LOSS, self._loss),
            ("same sample each time", self._data.read_twice),
            ("cut of a batch", self._cut),
            ("own split", self._split),
            ("batch norm", self._batch_norm),
            ("randomness", self._randomness),
            ("batch of one", self._one),
            ("metrics", self._metrics),
            ("classes", self._names.classes),
            ("longest batch", self._data.lengths),
            ("a step", self._step),
            ("after the passes", self._moved),
        )
        for name, check in checks:
            try:
                found = guarded(check, self._code, self._host.beside)
            except TaskProblem as problem:
                found = ("wrong", self._host.placed(str(problem)))
            if found:
                verdict, text = found
                yield CheckRow(name=name, verdict=verdict, text=printable(text))
                if (name, verdict) == (LOSS, "wrong"):  # the rest would say it again
                    return
        yield self._names.row()

    def _batch(self, count: int, start: int = 0) -> Tensor:
        """Return the numbers of a batch, in the order of a first epoch."""
        return epoch_order(self._train.size, 0, 1)[start : start + count]

    # ---- what there is

    def _parameters(self) -> tuple[Verdict, str]:
        model = self._model
        own = trained(model)
        frozen = [each for each in model.parameters() if not each.requires_grad]
        text = f"{sum(each.numel() for each in own):,} weights"
        if not self._began_in_training:
            text += ", in evaluation mode (dropout is off and batch norm is fixed): model.train()"
            return "note", text
        if frozen:
            text += f", {sum(each.numel() for each in frozen):,} frozen"
        named_twice = model.named_parameters(remove_duplicate=False)
        if len([each for _, each in named_twice if each.requires_grad]) > len(own):
            text += ", some of them tied"
        if self._compiled:
            text += "; trained without torch.compile, which compiles anew for each size of a part"
            return "note", text
        return "ok", text

    # ---- whether it can be measured

    def _same_bits(self) -> tuple[Verdict, str]:
        first, again, other = (self._host.made(seed).model.state_dict() for seed in (0, 0, 1))
        differing = [
            name
            for name, value in first.items()
            if name not in again or not _same(value, again[name])
        ]
        if differing:
            return "wrong", (
                f"two calls with one seed give other weights ({', '.join(differing[:3])}): draw "
                "them with torch's generator, which is seeded before the call"
            )
        if all(name in other and _same(value, other[name]) for name, value in first.items()):
            return "note", (
                "another seed gives the same weights too, so replicates differ only in the order "
                "of their samples: draw weights with torch's generator, and do not seed it again"
            )
        return "ok", "two calls with one seed give the same weights"

    def _optimizer(self) -> tuple[Verdict, str] | None:
        task, model = self.task, self._model
        if task.optimizer is None and task.parameters is None:
            return None
        own = trained(model)
        groups, text = groups_of(task, model, own), ""
        if task.optimizer is not None:
            made = task.optimizer(groups, 0.01)
            refuse_optimizer(task, made, own)
            text = f"{type(made).__name__}, "
        return "ok", f"{text}{len(groups)} groups of parameters"

    def _loss(self) -> tuple[Verdict, str]:
        self._model.zero_grad(set_to_none=True)
        batch = self._train.batch(self._batch(self._size))
        total, weight = accumulate(self.task.loss, self._model, [batch])
        if not math.isfinite(float(total)):
            return "wrong", f"{named('loss', self.task.loss)}: the sum is {float(total):g}"
        if self._began_in_training and not self._model.training:
            return "wrong", f"{named('loss', self.task.loss)}: {MODES}"
        return "ok", f"a sum of {float(total):.4g} and a weight of {float(weight):g}"

    def _moved(self) -> tuple[Verdict, str] | None:
        """Say what the passes put in the place of a weight or a buffer."""
        self._buffers.rows()
        for parameter, place in self._places:
            if parameter.data_ptr() != place:
                moved = replaced(self._model, parameter)
                return "wrong", f"{named('loss', self.task.loss)}: {moved}"
        return None

    def _split(self) -> tuple[Verdict, str] | None:
        if self.task.split is None or self._size < 2:
            return None
        if self._data.unsteady is None:
            check_split(self.task, self._model, self._train, self._batch(self._size))
        found = split_differs(self.task, self._train, self._batch(self._size))
        counts = " and ".join(map(str, found))
        worst = max(found, key=lambda parts: (math.isnan(found[parts]), found[parts]))
        if found[worst] <= TOLERANCE[torch.float32]:
            return "ok", f"{counts} parts give the gradient of the whole, within {found[worst]:.1g}"
        differs = f"{worst} parts give a gradient that differs by {found[worst]:.2g} from the whole"
        if _of_kind(self._model, NORMS) or self._random or self._data.unsteady is not None:
            return "note", f"{differs}, as batches of this task do that are cut; see the other rows"
        return "wrong", (
            f"{named('split', self.task.split)}: {differs}: a part must hold its samples as they "
            "are in the whole batch, and each sample must be in one part"
        )

    def _cut(self) -> tuple[Verdict, str]:
        if self._size < 2:
            return "note", "there is one sample only, so nothing can be cut"
        if self._data.unsteady is not None:
            return "note", "samples differ each time they are read, so parts cannot be compared"
        found = compared(self.task, self._train, self._batch(self._size))
        if found.exact:
            how = "float64" if not found.problem else f"float32 (in float64: {found.problem})"
            return "ok", f"whole = halves = a ragged cut in {how}, within {found.differs:.1g}"
        if not math.isfinite(found.differs):
            return "wrong", f"{named('loss', self.task.loss)}: the gradient is not finite"
        if found.is_mean:
            return "wrong", f"{named('loss', self.task.loss)}: {found.mean_text}"
        if _of_kind(self._model, NORMS):
            return "note", (
                f"{found.worst} differ by {found.differs:.2g}: batch norm normalizes each part by "
                "itself"
            )
        if changed := self._changed_buffers():
            return "note", (
                f"{found.worst} differ by {found.differs:.2g}: each pass changes the buffer "
                f"{changed[0]}, and a cut batch has more passes; the batch size in memory is part "
                "of the result"
            )
        if self._random:
            return "note", (
                f"{found.worst} differ by {found.differs:.2g}: the forward pass draws random "
                "numbers, so a cut is exact in distribution only"
            )
        return "wrong", (
            f"{named('loss', self.task.loss)}: {found.worst} differ by {found.differs:.2g} from "
            "the whole batch: either the weight is not the number of what was added up (a mean?), "
            "or the loss of a sample depends on the other samples of its batch, which must not be "
            "cut then"
        )

    def _changed_buffers(self) -> list[str]:
        """Return the names of the buffers that a pass of a step changes."""
        before = {name: each.clone() for name, each in self._model.named_buffers()}
        evaluated(LOSS, self.task.loss, self._model, [self._train.batch(self._batch(self._size))])
        return [name for name, each in self._model.named_buffers() if not _same(each, before[name])]

    def _batch_norm(self) -> tuple[Verdict, str] | None:
        norms = _of_kind(self._model, NORMS)
        if not norms:
            return None
        return "note", (
            f"{_counted(len(norms), 'layer')} ({norms[0]}, …): a batch that is cut normalizes over "
            "each part, which is another training; the batch size in memory is part of the result"
        )

    def _randomness(self) -> tuple[Verdict, str]:
        if not self._random:
            return "ok", "the loss of a batch is the same each time"
        layers = _of_kind(self._model, DROPOUTS)
        what = (
            _counted(len(layers), "dropout layer") if layers else "the forward pass draws numbers"
        )
        return "note", (
            f"{what}: each part of a batch draws its own, so a cut is exact in distribution only"
        )

    @cached_property
    def _random(self) -> bool:
        return is_random(self.task, self._train.batch(self._batch(self._size)))

    def _one(self) -> tuple[Verdict, str]:
        self._model.zero_grad(set_to_none=True)
        try:
            accumulate(self.task.loss, self._model, [self._train.batch(self._batch(1))])
        except ValueError as error:
            if not _of_kind(self._model, NORMS):
                raise
            return "note", f"batch norm cannot train on one sample ({error})"
        return "ok", "a batch of one sample has a gradient"

    def _metrics(self) -> tuple[Verdict, str]:
        again = self._data.unsteady is None
        numbers = self._batch(self._size)
        values = metric_values(self.task, self._model, self._train, numbers, again)
        texts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return "ok", f"before training, on {self._size} samples: {texts}"

    def _step(self) -> tuple[Verdict, str]:
        model, batch = self._model, self._train.batch(self._batch(self._size))
        existing = [*model.parameters(), *model.buffers(), *tensors(batch)]

        def step() -> None:
            model.zero_grad(set_to_none=True)
            accumulate(self.task.loss, model, [batch])

        with measured(self._device, existing) as peak:
            step()
        began = time.perf_counter()
        for _ in range(TIMED_STEPS):
            step()
        seconds = (time.perf_counter() - began) / TIMED_STEPS
        return "ok", (
            f"forward and backward of {self._size} samples: {1000 * seconds:.3g} ms, "
            f"{shown_size(peak.bytes)} at its peak"
        )


def _of_kind(model: nn.Module, kind: type | tuple[type, ...]) -> list[str]:
    """Return the names of a model's layers of a kind."""
    return [name or "the model" for name, each in model.named_modules() if isinstance(each, kind)]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return bool(one == other)


def main() -> int:
    """Check the task that the arguments name; write each row as a line of JSON on stdout.

    Returns:
        The exit code: 0 it can be measured, 2 something is wrong.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    guard(answers)
    folder, encoded, batch_size, *patience = sys.argv[1:]
    wrong = False

    def tell(row: CheckRow) -> None:
        nonlocal wrong
        wrong = wrong or row.verdict == "wrong"
        try:
            os.write(answers, msgspec.json.encode(row) + b"\n")
        except BrokenPipeError:  # nobody reads any more
            os._exit(2)
        began()

    def silent(place: str) -> None:
        where = f"{place}: " if place else ""
        text = f"{where}nothing has happened for {seconds:g} s; it is not waited for any longer"
        tell(CheckRow(name="the task", verdict="wrong", text=text))
        os._exit(2)

    def left(what: str) -> None:
        tell(CheckRow(name="the task", verdict="wrong", text=printable(what)))
        os._exit(2)

    seconds = float(patience[0]) if patience else PATIENCE_SECONDS
    watchdog = Watchdog(seconds, silent, anywhere=True)
    try:
        table = msgspec.json.decode(encoded, type=TaskTable)
        watchdog.code = CodeDigests(Path(folder))
        start = time.monotonic()
        guard_exit(watchdog.code, left)
        check = TaskCheck(TaskHost(table, Path(folder)), int(batch_size))
        if (slow := start_row(time.monotonic() - start)) is not None:
            tell(slow)
        for row in check.rows():
            tell(row)
    except Problem as problem:
        tell(CheckRow(name="the task", verdict="wrong", text=printable(problem)))
    except BaseException as error:
        code = watchdog.code or CodeDigests(Path(folder))
        text = explained(error, code, "the task")
        tell(CheckRow(name="the task", verdict="wrong", text=text))
    with contextlib.suppress(Exception):  # their code may have put something else there
        sys.stderr.flush()
    os._exit(2 if wrong else 0)  # threads of theirs do not keep the process


if __name__ == "__main__":
    sys.exit(main())
