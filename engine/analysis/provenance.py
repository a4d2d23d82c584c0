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
