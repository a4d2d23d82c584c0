"""The order to train a group of replicates, as a worker receives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchscope.engine.planning.plan import Plan
from batchscope.engine.processes.orders import WeightsOrder
from batchscope.engine.spec import Trial
from batchscope.engine.training.data_parallel.leader import Team


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train, and where.

    Attributes:
        members: all replicates of the plan, which differ only in their seeds. All are computed, so
            that the bits of one do not depend on which others are still active.
        active: ids of the members that are trained to an end and reported.
        plan: micro-batch size, threads and precision of the group.
        attempt: number of the attempt.
        worker: number of the worker.
        device: name of the device, such as "cpu" or "cuda:0".
        checkpoints: folder for checkpoints; the training resumes from the newest one in it that is
            of the same trials on the same images. None: no checkpoints.
        data_digest: SHA-256 of the images.
        weights: for some trials, the folder in which to save the final weights.
        team: the workers that divide every batch of a trial; None for one worker.
        kept: for some trials, where to keep the final weights for others to load.
    """

    members: tuple[Trial, ...]
    active: tuple[str, ...]
    plan: Plan
    attempt: int
    worker: int
    device: str
    checkpoints: Path | None = None
    data_digest: str = ""
    weights: Mapping[str, Path] = field(default_factory=dict)
    team: Team | None = None
    kept: Mapping[str, WeightsOrder] = field(default_factory=dict)
