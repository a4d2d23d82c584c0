"""One replicate of a training: what is its own beside a row of weights."""

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.spec import Trial
from batchscope.engine.training.instruments.prober import Prober
from batchscope.engine.training.instruments.sharpness import SharpnessMeter
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.trainer.progress import Facts


class Replicate:
    """A replicate that is trained and stated, the row `index` of the stack.

    Attributes:
        facts: what it has stated since its first step.
        pending: epochs that no checkpoint holds yet.
    """

    def __init__(
        self, trial: Trial, index: int, flat: FlatModel, prober: Prober, sharpener: SharpnessMeter
    ) -> None:
        self.trial, self.index, self.flat, self.prober = trial, index, flat, prober
        self.sharpener = sharpener
        self.facts = Facts()
        self.pending: list[EpochRecord] = []

    def has_probed(self, share: float) -> bool:
        """Whether it was probed at this share of its budget."""
        return any(probe.at_share == share for probe in self.facts.probes)

    def left_to_climb(self) -> list[float]:
        """The half-widths at which its sharpness is asked for and not yet known."""
        known = {each.epsilon for each in self.facts.sharpness}
        asked = dict.fromkeys(self.trial.settings.sharpness.epsilon)
        return [each for each in asked if each not in known]
