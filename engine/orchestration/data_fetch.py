"""Prepares a data set in a separate process, records its progress, and replaces it if it dies."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from batchscope.engine.data.prepare_messages import HEARTBEAT_SECONDS, PrepareMessage
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.journal.events import AnyEvent, DataProgress, DataReady, Note
from batchscope.engine.orchestration.crew import DISMISSAL_SECONDS, PINGS, START_PATIENCE
from batchscope.engine.orchestration.retry_policy import RETRIES, Deaths
from batchscope.engine.sweeps.launcher import module_command
from batchscope.engine.system.parent_death import ended_with_parent
from batchscope.engine.system.scarcity import is_scarce
from batchscope.engine.system.untrusted_files import decode_json
from batchscope.engine.task_table import TaskFacts, TaskTable
from batchscope.engine.tasks.code_digests import CodeRefused, code_changed
from batchscope.engine.tasks.module_digests import digest_of_file

SILENCE_SECONDS = 60.0
EXPLAIN_SECONDS = 10.0
"""How long nothing may seem to happen before the journal says what is waited for."""
LONGEST_LINE = 1 << 20

WHAT = {
    "train": "the numbers of training samples",
    "validation": "the numbers of validation samples",
    "test": "the numbers of test samples",
    "weights": "the numbers of weights",
    "metrics": "the metrics",
}
"""What a change of code must leave as it is, so that plans and checkpoints fit."""

Write = Callable[[AnyEvent], None]

PREPARATION = "batchscope.engine.data.prepare"
INSPECTION = "batchscope.engine.training.jobs.task_inspection"


class PreparerLost(Exception):
    """The process ended or fell silent before it had a result; the message says how."""


async def fetch(
    name: str,
    home: Path,
    data_dir: str | None,
    write: Write,
    silence: float = SILENCE_SECONDS,
) -> Prepared:
    """Prepare a data set under `home`, from `data_dir` or the network.

    A process that is lost is replaced as often as a worker is.

    Args:
        name: the name of the data set.
        home: batchscope's home folder.
        data_dir: a folder that holds the images already; None to download them.
        write: records an event in the journal.
        silence: the seconds without a word after which the process is killed.

    Raises:
        MachineProblem: the images could not be read or downloaded, or too many processes were lost.
        OSError: no process can be started at present.
    """
    arguments = [PREPARATION, name, str(home), *([data_dir] if data_dir else [])]
    return await _supervised(name, "prepares the images", arguments, write, silence)


async def inspect(
    task: TaskTable, folder: str, write: Write, silence: float = SILENCE_SECONDS
) -> Prepared:
    """Run a task's function once in a process of its own, and return what has shown.

    If it cannot be trained, or too many processes were lost, the result says why: its trials fail,
    and those of other tasks go on.

    Raises:
        CodeRefused: its code may not be run, so the sweep stops.
    """
    arguments = [INSPECTION, folder, msgspec.json.encode(task).decode(), f"{silence:g}"]
    try:
        return await _supervised(task.name, "runs the task", arguments, write, silence)
    except MachineProblem as problem:
        text = str(problem).removeprefix(f"{task.name}: ")
        facts = TaskFacts(train=0, problem=text)
        return Prepared(task.name, folder, 0, 0, (0, 0, 0), 0, digest="", task=facts)


async def _supervised(
    name: str, does: str, arguments: list[str], write: Write, silence: float
) -> Prepared:
    """Run a process until it has a result; replace it if it is lost."""
    deaths = Deaths()
    while True:
        preparer = _Preparer(name, does, write, silence, arguments[0] == INSPECTION)
        try:
            return await preparer.run(arguments)
        except PreparerLost as lost:
            wait = deaths.another(name, 0)
            text = f"{name}: the process that {does} {lost}"
            if wait is None:
                raise MachineProblem(f"{text} (after {RETRIES} retries)") from None
            write(Note(text=f"{text}; it is started again", level="warning"))
            await asyncio.sleep(wait)


class _Preparer:
    """One process that prepares a data set, or runs a person's code once (`own`)."""

    def __init__(self, name: str, does: str, write: Write, silence: float, own: bool) -> None:
        self._name, self._does, self._write, self._silence = name, does, write, silence
        self._own = own
        self._doing, self._since, self._explained = "", time.monotonic(), False
        self._place = ""

    async def run(self, arguments: list[str]) -> Prepared:
        """Start the process, a module and its arguments, and wait for its result.

        Raises:
            PreparerLost: it was lost.
            MachineProblem: it says that the images cannot be prepared.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *module_command(arguments[0]),
                *arguments[1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                preexec_fn=ended_with_parent(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            if is_scarce(error):  # the caller waits longer for what passes
                raise
            why = getattr(error, "strerror", None) or str(error)
            raise PreparerLost(f"could not be started: {why}") from None
        try:
            return await self._result(process)
        finally:
            await _end(process)

    async def _result(self, process: asyncio.subprocess.Process) -> Prepared:
        assert process.stdout is not None
        silent, most = 0, PINGS * START_PATIENCE  # it cannot answer while it loads libraries
        while silent < most:
            try:
                async with asyncio.timeout(self._silence / PINGS):
                    line = await process.stdout.readline()
            except TimeoutError:
                # counted, so that a machine or a conductor that slept loses no process
                silent += 1
                if silent * self._silence / PINGS > 2 * HEARTBEAT_SECONDS:  # it would have said
                    self._explain(f"waiting for the process that {self._does}")
                continue
            except ValueError:  # a line without an end
                continue
            if not line:
                code = await process.wait()
                how = _how(code) + self._at()
                if self._own and code >= 0:  # their code ended it, and would again
                    raise MachineProblem(f"{self._name}: the process that {self._does} {how}")
                raise PreparerLost(how)
            silent, most = 0, PINGS
            with contextlib.suppress(msgspec.MsgspecError):  # the line of a process that was killed
                if prepared := self._heard(decode_json(line, PrepareMessage)):
                    return prepared
        patience = self._silence * most / PINGS
        raise PreparerLost(f"was killed after {patience:g} s without an answer{self._at()}")

    def _heard(self, message: PrepareMessage) -> Prepared | None:
        """Record what the process says, and return its result, if it has one."""
        if message.received is not None:
            self._since = time.monotonic()
            received, total = message.received, message.total
            self._write(DataProgress(name=self._name, received=received, total=total))
        if message.note:
            self._write(Note(text=f"{self._name}: {printable(message.note)}", level="warning"))
        if message.refused:
            raise CodeRefused(message.error, *message.files)
        if message.error:
            raise MachineProblem(message.error)
        if message.lost:
            raise PreparerLost(f"gave up: {printable(message.lost)}")
        self._place = message.place or self._place
        if message.doing:
            self._explain(message.doing)
        return message.prepared

    def _explain(self, doing: str) -> None:
        """Write what is waited for, once it has taken `EXPLAIN_SECONDS`."""
        now = time.monotonic()
        if doing != self._doing:
            self._doing, self._since, self._explained = doing, now, False
        elif not self._explained and now - self._since > EXPLAIN_SECONDS:
            self._explained = True
            self._write(Note(text=f"{self._name}: still {printable(doing)}{self._at()}"))

    def _at(self) -> str:
        """Return where a person's code stood when that was last heard, as the end of a line."""
        return f", at {printable(self._place)}" if self._place else ""


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait until the process has ended; kill it if it does not end by itself."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        await asyncio.wait_for(process.wait(), DISMISSAL_SECONDS)
    except TimeoutError:  # it may be stopped
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def prepared(
    name: str,
    preparing: Coroutine[Any, Any, Prepared],
    recorded: DataReady | None,
    write: Write,
    accepts_code: bool = False,
    sweep: str = "",
) -> Prepared:
    """Prepare data, and record them unless the journal holds them (`recorded`).

    Args:
        name: the name of the data set or of the task.
        preparing: prepares them.
        recorded: what the journal says of them; None at the start of a sweep.
        write: records an event in the journal.
        accepts_code: whether to go on with code of a task that has changed.
        sweep: the sweep's id, for messages.

    Raises:
        CodeRefused: the code of a task has changed.
        MachineProblem: the data could not be read, or differ from those in the journal.

    The problem of a task is not recorded as data: another start may find it solved.
    """
    data = await preparing
    if data.task and data.task.problem:
        if recorded:  # it worked when the sweep began, so its trials can be resumed
            raise MachineProblem(f"{name}: {data.task.problem}")
        write(Note(text=f"{name}: {data.task.problem}", level="error"))
        return data
    if recorded and recorded.task and data.task:
        data = _with_code(data, data.task, recorded.task, accepts_code, sweep)
    elif recorded and recorded.digest != data.digest:
        raise MachineProblem(
            f"{name}: the images have changed since this sweep began; start a new sweep to train "
            "on them"
        )
    if not recorded or (data.task and recorded.task != data.task):
        write(
            DataReady(
                name=name,
                train=data.train,
                test=data.test,
                shape=data.shape,
                digest=data.digest,
                task=data.task,
            )
        )
    return data


def _with_code(
    data: Prepared, found: TaskFacts, known: TaskFacts, accepts: bool, sweep: str
) -> Prepared:
    """Return a task as the journal knows it; or, if its code may have changed, as it is now.

    Raises:
        CodeRefused: the code has changed and that is not accepted, or it is another experiment.
    """
    now, folder = dict(found.digests), Path(data.folder)
    # modules that are imported later than by the first run
    now |= {name: digest_of_file(folder / name) for name, _ in known.digests if name not in now}
    changed = sorted(name for name, digest in known.digests if now[name] != digest)
    if not changed:  # times differ each time; those of the start count
        return msgspec.structs.replace(data, task=known)
    if not accepts:
        raise code_changed(changed, sweep)
    for what in ("train", "validation", "test", "weights", "metrics"):
        if getattr(found, what) != getattr(known, what):
            raise CodeRefused(
                f"{data.name}: the changed code ({', '.join(changed[:3])}) makes another "
                f"experiment of it: {WHAT[what]} differ; start a new sweep",
                *changed,
            )
    facts = msgspec.structs.replace(
        known,
        digests=tuple(sorted((name, each) for name, each in now.items() if each)),
        accepted=tuple(sorted({*known.accepted, *changed})),
    )
    return msgspec.structs.replace(data, task=facts)
