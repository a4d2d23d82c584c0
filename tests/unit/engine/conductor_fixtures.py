"""A conductor's journal and queue in a folder, and workers that only say how it went."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchscope.engine.data.prepared import Prepared
from batchscope.engine.experiment.preset import parse_preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.events import AnyEvent, TrialEnded, TrialStarted
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.trial_queue import Group, TrialQueue
from batchscope.engine.processes import orders

DATA = {
    "digits": Prepared(
        name="digits", folder="", train=1437, test=360, shape=(1, 8, 8), classes=10, digest=""
    )
}


RAW: dict[str, Any] = {
    "title": "made up",
    "seeds": 2,
    "data": {"name": "digits"},
    "model": {"name": "mlp"},
    "train": {"lr": 0.1, "epochs": 1},
    "run": {"stack": "never"},
    "grid": {"batch_size": [8, 64]},
}


class House:
    """A queue that is filled, with the ledger that it reads."""

    def __init__(
        self, folder: Path, raw: dict[str, Any] = RAW, data: Mapping[str, Prepared] = DATA
    ) -> None:
        preset = parse_preset(raw, "made-up", "made-up.toml")
        self.ledger = JournalWriter(folder)
        self.ledger.write(
            ev.SweepOpened(
                id="sweep",
                preset="made-up",
                title="",
                question="",
                source="",
                configurations=preset.configurations,
                selection=preset.selection,
            ),
            ev.ConductorStarted(pid=1, machine={}),
        )
        self.queue = TrialQueue(preset, self.ledger)
        self.queue.fill(data)

    def end(self, group: Group, status: ev.TrialStatus) -> None:
        for trial in group.trials:
            self.ledger.heard(ev.TrialEnded(trial=trial.id, attempt=1, status=status))
        self.queue.give_back(group)

    def take(self) -> Group:
        taken = self.queue.take()
        assert taken is not None
        return taken

    def rest(self) -> list[str]:
        """Everything that is left, taken in order."""
        found = []
        while self.queue:
            found.append(" ".join(trial.id for trial in self.take().trials))
        return found


FIXED = {**RAW, "memory": {"micro_batch_size": 8}}


Fails = Callable[[str, str], bool]


@dataclass
class ScriptedMember:
    """A worker whose trainings end at once, well or with its device."""

    number: int
    device: str
    fails: Fails
    done: list[tuple[str, str]]
    fault: str = ""
    free_bytes: int | None = None
    sharing: int = 1

    async def work(
        self, order: orders.TrainOrder, heard: Callable[[AnyEvent], None], control: Control
    ) -> str | None:
        name = order.active[0]
        started = TrialStarted(
            trial=name,
            attempt=order.attempt,
            worker=self.number,
            device=self.device,
            batch_size=order.plan.batch_size,
            micro_batch_size=order.plan.micro_batch_size,
            total_steps=1,
            steps_per_epoch=1,
            parameters=1,
            init_norm=1.0,
            lr=0.1,
        )
        heard(started)
        await asyncio.sleep(0.001)
        if self.fails(self.device, name):
            self.fault = f"{self.device}: CUDA error"
            return self.fault
        self.done.append((self.device, name))
        heard(TrialEnded(trial=name, attempt=order.attempt, status="finished"))
        return None


def began(order: orders.TrainOrder, name: str) -> ev.TrialStarted:
    return ev.TrialStarted(
        trial=name,
        attempt=order.attempt,
        worker=0,
        device="cpu",
        batch_size=order.plan.batch_size,
        micro_batch_size=order.plan.micro_batch_size,
        total_steps=23,
        steps_per_epoch=23,
        parameters=1,
        init_norm=1.0,
        lr=0.1,
        stacked=len(order.members),
    )
