"""One replicate of a training: what is its own beside a row of weights."""

from engine.events import EpochRecord
from engine.spec import Trial
from engine.training.flat import FlatModel
from engine.training.position import Facts
from engine.training.probing import Prober


class Member:
    """A replicate that is trained and stated, the row `index` of the stack.

    Attributes:
        facts: what it has stated since its first step.
        pending: epochs that no checkpoint holds yet.
    """

    def __init__(self, trial: Trial, index: int, flat: FlatModel, prober: Prober) -> None:
        self.trial, self.index, self.flat, self.prober = trial, index, flat, prober
        self.facts = Facts()
        self.pending: list[EpochRecord] = []

    def has_probed(self, share: float) -> bool:
        """Whether it was probed at this share of its budget."""
        return any(probe.at_share == share for probe in self.facts.probes)
