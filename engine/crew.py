"""The conductor's workers as processes: hiring, giving orders, listening, dismissing."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine import journal, orders
from engine.events import AnyEvent, Measured, TrialEnded, WorkerLost, WorkerReady
from engine.launching import module_command
from engine.problems import MachineProblem, printable

LONGEST_LINE = 256 << 20
HALT_PATIENCE_SECONDS = 20.0
DISMISSAL_SECONDS = 3.0
LAST_LINES = 5

Heard = Callable[[AnyEvent], None]


class Member:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, number: int, log: Path) -> None:
        self.process, self.number, self._log = process, number, log

    async def next_event(self) -> AnyEvent | None:
        """The next fact it states; None once it is gone."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            with contextlib.suppress(msgspec.MsgspecError):
                return journal.decode(line)
        return None

    async def order(self, order: orders.AnyOrder) -> None:
        """Send an order; a worker that is gone is noticed by whoever listens to it."""
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(orders.encode(order) + b"\n")
            await self.process.stdin.drain()

    async def work(
        self, order: orders.Measure | orders.Train, heard: Heard, stopping: asyncio.Event
    ) -> str | None:
        """Have a trial measured or trained; None once that ended, or why the worker was lost."""
        await self.order(order)
        halting = asyncio.create_task(self._halt_when(stopping))
        try:
            while event := await self.next_event():
                heard(event)
                if isinstance(event, TrialEnded | Measured) and event.trial == order.trial.id:
                    return None
        finally:
            halting.cancel()
        return await self.last_words()

    async def last_words(self) -> str:
        """How a worker that is gone ended, with the end of its log."""
        code = await self.process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        with contextlib.suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
            if lines and code > 0:
                return f"the worker {how}: {printable(lines[-1])}"
        return f"the worker {how}"

    async def _halt_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        await self.order(orders.Halt())
        await asyncio.sleep(HALT_PATIENCE_SECONDS)
        self.process.kill()


class Crew:
    """The workers of one conductor; each inherits the sweep's lock."""

    def __init__(self, folder: Path, lock: int, heard: Heard) -> None:
        self._folder, self._lock, self._heard = folder, lock, heard
        self._members: dict[int, Member] = {}

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that were hired and not yet dismissed."""
        return [member.process.pid for member in self._members.values()]

    async def hire(self, number: int, device: str, threads: int) -> Member:
        """Start a worker and wait until it is ready.

        Raises:
            MachineProblem: it could not take the device.
        """
        log = self._folder / f"worker-{number}.log"
        with open(log, "ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *module_command("engine.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                pass_fds=(self._lock,),
                # the order in which NVML counts GPUs, so that a name means the same card
                env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **os.environ},
                limit=LONGEST_LINE,
            )
        member = Member(process, number, log)
        self._members[number] = member
        await member.order(orders.Setup(worker=number, device=device, threads=threads))
        while event := await member.next_event():
            if isinstance(event, WorkerLost):
                raise MachineProblem(event.reason)
            self._heard(event)
            if isinstance(event, WorkerReady):
                return member
        raise MachineProblem(f"no worker could be started: {await member.last_words()}")

    async def dismiss(self) -> None:
        """End every worker: by the end of its stdin, then by force."""
        for member in self._members.values():
            if member.process.stdin:
                member.process.stdin.close()
        for member in self._members.values():
            try:
                await asyncio.wait_for(member.process.wait(), DISMISSAL_SECONDS)
            except TimeoutError:
                member.process.kill()
                await member.process.wait()
        self._members.clear()
