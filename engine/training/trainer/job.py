"""What a worker is asked to train, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from batchscope.engine.planning.plan import Plan
from batchscope.engine.spec import Trial
from batchscope.engine.training.data_parallel.leader import Team


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a worker is asked to train, and where.

    The `members` of the plan differ in their seeds alone. All are computed, so that the bits of one
    do not depend on who else is there; only those that `active` names are trained to an end and
    stated. With `checkpoints`, a folder, the training is kept there and goes on from what it holds
    of the same trials on the same images, which `data_digest` tells. `weights` are the folders in
    which members that finish leave their final weights. The `team` divides every batch of a trial
    that has several workers.
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
