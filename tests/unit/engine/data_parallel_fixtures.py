"""Trials of several workers."""

from typing import Any

from msgspec.structs import replace

from batchscope.engine.spec import Run, Trial
from tests.unit.engine.training.stack_fixtures import trial_of


def over(workers: int, batch_size: int = 256, **tables: Any) -> Trial:
    trial = trial_of(batch_size=batch_size, **tables)
    run = Run(data_parallel=workers)
    return replace(trial, settings=replace(trial.settings, run=run))
