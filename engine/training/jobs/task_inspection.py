"""Runs a task's function once, in a process of its own, and tells what the conductor must know.

    python -P -m batchscope.engine.training.jobs.task_inspection FOLDER TASK [SECONDS]

TASK is a `TaskTable` as JSON. A call of the code that takes SECONDS is said. The answers on stdout
are those of `engine.data.prepare`. Conductor and viewer never import a person's code; they read
these lines.
"""

import contextlib
import hashlib
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from torch import nn

from batchscope.engine.data.prepare_messages import PrepareMessage, Reporter
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import Problem, printable
from batchscope.engine.system.scarcity import is_scarce
from batchscope.engine.task import Batch, Task, TaskProblem
from batchscope.engine.task_table import TaskFacts, TaskTable
from batchscope.engine.tasks.code_digests import CodeDigests, CodeRefused
from batchscope.engine.training.model.modes import evaluating
from batchscope.engine.training.tasks.accepted_model import refuse_uncopyable
from batchscope.engine.training.tasks.batch_structure import tensors
from batchscope.engine.training.tasks.class_errors import class_errors
from batchscope.engine.training.tasks.cut_comparison import NORMS, is_random
from batchscope.engine.training.tasks.early_check import EarlyCheck
from batchscope.engine.training.tasks.error_place import named
from batchscope.engine.training.tasks.exit_guard import guard_exit
from batchscope.engine.training.tasks.fork_guard import guard, leave_if_child
from batchscope.engine.training.tasks.function_loader import guarded
from batchscope.engine.training.tasks.task_data import TaskData
from batchscope.engine.training.tasks.task_host import TaskHost
from batchscope.engine.training.tasks.watchdog import Watchdog, taken
from batchscope.engine.training.tasks.weighted_sum import accumulate, evaluated
from batchscope.engine.training.trained_parameters import owners, trained

TIMED, TIMED_IF_SHORT = 8, 64
"""Samples of the batch that is timed."""
PASSES, SHORT_SECONDS = 3, 0.05
LOOKED_AT = 2_000
LOOK_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""How long one call of the code may take before that is said."""
LONGEST = 256
"""How many of the longest samples are named."""


def _unheard(text: str) -> None:
    """Leave a note unsaid."""


def inspect(host: TaskHost, note: Callable[[str], None] = _unheard) -> TaskFacts:
    """Make a task, run it on a few samples, and return what has shown.

    Args:
        host: makes the task.
        note: takes what a person should know of a task that can be trained.

    Raises:
        TaskProblem: it cannot be trained.
    """
    task = host.made(0)
    began_in_training = task.model.training
    with host.at_the_function():
        refuse_uncopyable(task.model)
        parts = {
            name: TaskData(name, getattr(task, name), task.collate)
            for name in ("train", "validation", "test")
            if getattr(task, name) is not None
        }
    train, loss = parts["train"], host.beside
    seconds = guarded(lambda: _sample_seconds(task, train), host.code, loss)
    random = guarded(lambda: _is_random(task, train), host.code, loss)
    norm = any(map(_normalizes_over_batches, task.model.modules()))
    check = EarlyCheck(task, train, began_in_training, random or norm)
    guarded(lambda: check.look(note), host.code, loss)
    return TaskFacts(
        train=train.size,
        validation=parts["validation"].size if "validation" in parts else 0,
        test=parts["test"].size if "test" in parts else 0,
        weights=sum(each.numel() for each in trained(task.model)),
        metrics=tuple((name, task.better.get(name, "higher")) for name in task.metrics),
        own_optimizer=task.optimizer is not None or task.parameters is not None,
        batch_norm=norm,
        random=random,
        sample_seconds=seconds,
        longest=guarded(lambda: _longest(train), host.code, "reading the samples"),
        digests=tuple(sorted(host.code.digests.items())),
        layers=tuple(name for name, _, _ in owners(task.model)),
        classes=guarded(lambda: _classes(task, parts.get("test", train)), host.code, loss),
    )


def _normalizes_over_batches(module: nn.Module) -> bool:
    """Return whether a layer is batch norm that uses the statistics of its batch.

    Frozen batch norm, which is in evaluation mode all the time, does not.
    """
    if not isinstance(module, NORMS):
        return False
    return module.training or not module.track_running_stats


def _sample_seconds(task: Task, train: TaskData) -> float:
    """Return the seconds of a sample's forward and backward pass, on this processor.

    The shortest of a few passes counts, so that another program that runs changes little. If they
    are short, a larger batch tells what a sample costs without what each pass costs.
    """
    began = time.perf_counter()
    batch = train.batch(torch.arange(min(TIMED, train.size)))
    reading = time.perf_counter() - began
    accumulate(task.loss, task.model, [batch])
    seconds = _pass_seconds(task, batch)
    if max(reading, seconds) > SHORT_SECONDS or train.size <= TIMED:
        return seconds / min(TIMED, train.size)
    size = min(TIMED_IF_SHORT, train.size)
    return _pass_seconds(task, train.batch(torch.arange(size))) / size


def _pass_seconds(task: Task, batch: Batch) -> float:
    """Return the seconds of the fastest forward and backward pass of a batch."""
    found = list[float]()
    for _ in range(PASSES):
        began = time.perf_counter()
        accumulate(task.loss, task.model, [batch])
        found.append(time.perf_counter() - began)
        if found[-1] > SHORT_SECONDS:
            break
    return min(found)


def _is_random(task: Task, train: TaskData) -> bool:
    """Return whether the loss draws random numbers.

    Raises:
        TaskProblem: it is not finite.
    """
    batch = train.batch(torch.arange(min(TIMED, train.size)))
    total = float(evaluated("loss", task.loss, task.model, [batch]).total)
    if not math.isfinite(total):
        raise TaskProblem(
            f"{named('loss', task.loss)}: the loss of the first {min(TIMED, train.size)} samples "
            f"is {total:g} before the first step"
        )
    return is_random(task, batch)


def _classes(task: Task, data: TaskData) -> int:
    """Return the number of classes that a task predicts; 0 if it does not say which.

    Raises:
        TaskProblem: what it says cannot be used.
    """
    if task.scores is None:
        return 0
    batch = data.batch(torch.arange(min(TIMED, data.size)))
    with evaluating(task.model):
        return class_errors(task.scores, task.model, batch).classes


def _longest(train: TaskData) -> tuple[int, ...]:
    """Return the numbers of the longest samples, longest first; none if all are as long."""
    if train.in_memory:
        return ()
    began, sizes = time.monotonic(), list[int]()
    for number in range(min(LOOKED_AT, train.size)):
        sample = train.batch(torch.tensor([number]))
        sizes.append(sum(each.numel() for each in tensors(sample)))
        if time.monotonic() - began > LOOK_SECONDS:
            break
    if min(sizes) == max(sizes):
        return ()
    order = sorted(range(len(sizes)), key=lambda number: -sizes[number])
    return tuple(order[:LONGEST])


def digest_of(table: TaskTable, facts: TaskFacts) -> str:
    """Return a SHA-256 of a task's code and arguments."""
    of = (table.use, table.arguments, facts.digests)
    return hashlib.sha256(msgspec.json.encode(of)).hexdigest()


def main() -> int:
    """Inspect the task that the arguments name; write one line of JSON on stdout.

    Returns:
        The exit code: 0 inspected, 2 the task cannot be used.
    """
    answers = os.dup(1)
    os.dup2(2, 1)
    guard(answers)
    reporter = Reporter(answers)
    folder, encoded, *patience = sys.argv[1:]
    seconds = float(patience[0]) if patience else PATIENCE_SECONDS
    reporter.doing("running the task")
    host: TaskHost | None = None

    def left(what: str) -> None:
        reporter.write(PrepareMessage(error=printable(what)))

    def long(place: str) -> None:
        reporter.note(f"{place}: {taken(seconds)}")

    try:
        own = CodeDigests(Path(folder))
        guard_exit(own, left)
        watchdog = Watchdog(seconds, long, own)
        reporter.at(watchdog.place)
        table = msgspec.json.decode(encoded, type=TaskTable)
        host = TaskHost(table, Path(folder))
        facts = inspect(host, reporter.note)
        prepared = Prepared(
            name=table.name,
            folder=folder,
            train=facts.train,
            test=facts.test,
            shape=(0, 0, 0),
            classes=facts.classes,
            digest=digest_of(table, facts),
            task=facts,
        )
        reporter.write(PrepareMessage(prepared=prepared))
        code = 0
    except CodeRefused as refusal:
        text = printable(refusal)
        reporter.write(PrepareMessage(error=text, refused=True, files=refusal.files))
        code = 2
    except Problem as problem:
        reporter.write(PrepareMessage(error=printable(problem)))
        code = 2
    except BaseException as error:  # a length or a copy of theirs can raise anything
        leave_if_child()
        if isinstance(error, MemoryError) or is_scarce(error):
            reporter.lost(error)
            code = 1
        else:
            with contextlib.suppress(Exception):
                traceback.print_exc()
            why = host.explained(error) if host else f"importing the task: {type(error).__name__}"
            reporter.write(PrepareMessage(error=printable(why)))
            code = 2
    with contextlib.suppress(Exception):  # their code may have put something else there
        sys.stderr.flush()
    os._exit(code)  # threads of theirs do not keep the process


if __name__ == "__main__":
    sys.exit(main())
