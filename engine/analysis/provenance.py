"""Compares the machines, data and initial weights of two sweeps."""

import math
from collections.abc import Sequence
from typing import Any

from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.spec import Settings

OF_TIME = ("processor", "cores", "gpus", "devices", "workers", "threads")
"""The facts about a machine that affect times."""
SAME_START = 1e-6
"""Initial norms that differ by less than this share belong to the same weights."""


def machine_of(state: SweepState) -> dict[str, Any]:
    """Return the machine, the devices that trained, and the numbers of workers and threads."""
    machine = dict(state.conductor.machine) if state.conductor else {}
    devices = sorted({each.device_name for each in state.workers.values()})
    threads = sorted({plan.threads for plan in state.plans.values()})
    return {
        **machine,
        **({"devices": devices, "workers": len(state.workers)} if devices else {}),
        **({"threads": threads} if threads else {}),
    }


def same_images(a: SweepState, b: SweepState, x: Settings, y: Settings) -> bool:
    """Return whether two configurations are tested on the same images, as far as is known."""
    one, other = a.data.get(x.data.name), b.data.get(y.data.name)
    if one is None or other is None:
        return x.data.name == y.data.name
    return one.digest == other.digest


def same_data(a: SweepState, b: SweepState, x: Settings, y: Settings, part: str) -> bool:
    """Return whether a metric of two configurations was measured on the same data, as far as known.

    Of a task it is assumed that a function that brings as many samples brings the same ones: see
    `changed_code`. Held out data are the same if the same share is held out.

    Args:
        part: where it was measured: `test`, `validation` or `train`.
    """
    if (x.task is None) != (y.task is None):
        return False
    if part == "validation" and x.data.validation != y.data.validation:
        return False
    if x.task is None or y.task is None:
        return same_images(a, b, x, y)
    if x.task.use != y.task.use:
        return False
    one, other = x.task.facts, y.task.facts
    if one is None or other is None:
        return True
    counts = [(each.train, each.validation, each.test) for each in (one, other)]
    return counts[0][2] == counts[1][2] if part == "test" else counts[0] == counts[1]


def changed_code(x: Settings, y: Settings) -> list[str]:
    """Return the files of a task's code that are not the same in two configurations."""
    if x.task is None or y.task is None or not (x.task.facts and y.task.facts):
        return []
    one, other = dict(x.task.facts.digests), dict(y.task.facts.digests)
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def same_start(left: Sequence[TrialState], right: Sequence[TrialState]) -> bool:
    """Return whether trials of the same seed began with the same weights, judged by their norms."""
    norms = {trial.seed: trial.started.init_norm for trial in left if trial.started}
    shared = [
        (norms[trial.seed], trial.started.init_norm)
        for trial in right
        if trial.started and trial.seed in norms
    ]
    return all(
        one is None or other is None or math.isclose(one, other, rel_tol=SAME_START)
        for one, other in shared
    )
