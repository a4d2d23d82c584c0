"""Settles the numeric plan of each trial before its first step.

A plan that was written down is used again. Otherwise, unless the preset names a micro-batch size,
a worker executes what may fit; trials that are alike in all that memory and pace depend on share
one measuring.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from engine import orders
from engine.batch_norm import ghostly, pieces, refusal
from engine.control import Control
from engine.crew import Member
from engine.devices import Device, memory_of
from engine.estimate import trial_seconds
from engine.events import AnyEvent, Measured, Note, Planned, TrialEnded
from engine.fitting import HEADROOM, Choice, choose, fits, told_apart
from engine.plan import (
    DRAW_MICRO_BATCH_SIZE,
    LEAST_SECONDS,
    MOST_SHARE,
    Plan,
    alike,
    make_plan,
)
from engine.prepared import Prepared
from engine.sizes import shown_size
from engine.spec import Trial
from engine.split import training_size
from engine.state import SweepState

FLOAT_BYTES, LABEL_BYTES = 4, 8
UNBOUNDED = 1 << 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker trains: its device, how many workers share that, and its threads."""

    device: Device
    workers: int
    threads: int


class NothingFits(Exception):
    """Not even one image at a time keeps below the limit."""


class Planner:
    """Has every trial's plan written down by way of `heard`; `limit` bounds a device, in bytes."""

    def __init__(
        self,
        state: SweepState,
        heard: Callable[[AnyEvent], None],
        control: Control,
        limit: int | None,
    ) -> None:
        self._state, self._heard, self._control, self._limit = state, heard, control, limit
        self._under_way: dict[bytes, asyncio.Lock] = {}
        self._warned: set[str] = set()

    async def settle(
        self, member: Member, place: Place, trial: Trial, attempt: int, data: Prepared
    ) -> str | None:
        """Write down the plan of a trial, or its end where none can be had.

        Returns why the worker was lost, if it was.
        """
        if trial.id in self._state.plans:
            return None
        size = training_size(trial.settings.data, data.train)
        whole = make_plan(trial, size, place.threads)
        asked, named = self._asked(trial), trial.settings.memory.micro_batch_size != "auto"
        counts = pieces(trial.settings, whole.batch_size, size)
        refused = refusal(counts, whole.micro_batch_size if named else None)
        if refused:
            self._fail(trial, attempt, refused)
            return None
        if named and asked is None:
            self._write(trial, whole)
            return None
        share = _free(place, data) if asked is None else worker_share(asked, place, data)
        key = alike(trial.settings, whole.largest)
        async with self._under_way.setdefault(key, asyncio.Lock()):
            found = self._known(key, place, asked, share)
            if found is None:
                before = len(self._state.measured)
                order = orders.Measure(
                    members=(trial,),
                    plan=whole,
                    attempt=attempt,
                    data=data,
                    device_name=place.device.title,
                    asked_bytes=asked,
                    limit_bytes=share,
                    seconds=_seconds(trial, data),
                )
                lost = await member.work(order, self._heard, self._control)
                if lost is not None:
                    return lost
                new = [m for m in self._state.measured[before:] if m.trial == trial.id]
                found = new[0] if new else None
        if found is not None:
            self._plan(trial, attempt, whole, found)
        return None

    def _plan(self, trial: Trial, attempt: int, whole: Plan, found: Measured) -> None:
        try:
            self._write(trial, chosen(whole, found, not trial.settings.model.batch_norm))
        except NothingFits as problem:
            self._fail(trial, attempt, str(problem))

    def _write(self, trial: Trial, plan: Plan) -> None:
        """Write a plan down, and say it once a configuration where accumulation is not exact."""
        if plan.largest_batch_size is not None:
            told = (
                f"{plan.reason}; {plan.largest:,} is the largest batch, {plan.batch_size:,} asked"
            )
            plan = msgspec.structs.replace(plan, reason=told)
        ghost = ghostly(trial.settings, plan)
        if ghost:
            plan = msgspec.structs.replace(plan, reason=f"{plan.reason}; {ghost}")
        self._heard(Planned(plan=plan))
        if ghost and trial.configuration not in self._warned:
            self._warned.add(trial.configuration)
            text = f"{ghost}: the same batch size under another cut is another training"
            self._heard(Note(level="warning", text=text, trial=trial.id))

    def _fail(self, trial: Trial, attempt: int, reason: str) -> None:
        self._heard(TrialEnded(trial=trial.id, attempt=attempt, status="failed", reason=reason))

    def _asked(self, trial: Trial) -> int | None:
        """The smaller of the limits that command line and preset set for a device, if any."""
        limits = [self._limit, trial.settings.memory.limit_bytes]
        return min((limit for limit in limits if limit is not None), default=None)

    def _known(
        self, key: bytes, place: Place, asked: int | None, share: int | None
    ) -> Measured | None:
        """What was measured of a trial like this one, on such a device, within such a limit.

        A resumed sweep may have fewer workers, and so more for each: what fitted still does, and
        replicates keep the same plan.
        """
        for found in reversed(self._state.measured):
            trial = self._state.trials.get(found.trial)
            there = (found.device_name, found.asked_bytes) == (place.device.title, asked)
            if trial is not None and there and alike(trial.settings, found.batch_size) == key:
                # what did not fit into what was free, or into less, may fit by now
                enough = asked is None or share is None or found.limit_bytes <= share
                settled = found.limit_bytes == share or _best(found)
                return found if enough and settled else None
        return None


def chosen(whole: Plan, found: Measured, exact: bool = True) -> Plan:
    """The plan with the micro-batch size that was chosen of those measured, or that is named.

    Where a cut is not `exact`, none is made for speed.

    Raises:
        NothingFits: not even the smallest keeps below the limit.
    """
    choice, named = _best(found, exact), whole.micro_batch_size < whole.largest
    if choice is None:
        raise NothingFits(_too_little(found, named))
    if named:
        choice = Choice(whole.micro_batch_size, whole.reason)
    micro = choice.micro_batch_size
    fitting = [s.micro_batch_size for s in found.shapes if fits(s, found.limit_bytes)]
    draw = DRAW_MICRO_BATCH_SIZE
    return msgspec.structs.replace(
        whole,
        micro_batch_size=micro,
        accumulation_steps=-(-whole.largest // micro),
        evaluation_batch_size=found.evaluation_batch_size,
        draw_micro_batch_size=draw if found.asked_bytes is None else min(draw, max(fitting)),
        reason=choice.reason,
    )


def _seconds(trial: Trial, data: Prepared) -> float:
    """How long measuring may take: a share of the trial's time."""
    return max(LEAST_SECONDS, MOST_SHARE * trial_seconds(trial.settings, data.train))


def _best(found: Measured, exact: bool = True) -> Choice | None:
    return choose(found.batch_size, found.shapes, found.limit_bytes, found.held_bytes, exact)


def worker_share(total: int, place: Place, data: Prepared) -> int:
    """Live tensor bytes that a worker may hold of a device's `total`, data included.

    On a CPU the workers share one copy of the data; a GPU's have one each.
    """
    if place.device.handle is not None:
        return total // place.workers
    held = data_bytes(data)
    return min(total, max(0, total - held) // place.workers + held)


def data_bytes(data: Prepared) -> int:
    """Bytes of the images and labels of a data set as tensors."""
    images = data.train + data.test
    part = min(data.train, data.test)
    return images * (math.prod(data.shape) * FLOAT_BYTES + LABEL_BYTES) + part * LABEL_BYTES


def _free(place: Place, data: Prepared) -> int | None:
    """What is free of a CPU's memory for one worker; a GPU is asked by its worker (None)."""
    if place.device.handle is not None:
        return None
    available = memory_of(place.device).available
    return worker_share(UNBOUNDED if available is None else available, place, data)


def _too_little(found: Measured, named: bool) -> str:
    least = min(found.shapes, key=lambda shape: shape.micro_batch_size)
    needs, has = "more", shown_size(found.limit_bytes)
    if not least.failed:
        needs, has = told_apart(least.peak_bytes / (1 - HEADROOM), found.limit_bytes)
        needs += " with the data and a headroom of a tenth"
    count = least.micro_batch_size
    images = "one image at a time fits" if count == 1 else f"{count:,} images at a time fit"
    what = f"memory.micro_batch_size = {count} does not fit" if named else f"not even {images}"
    return f"{what}: it needs {needs}, and a worker may hold {has}"
