"""One replicate of a training: its state apart from its row of weights."""

from batchscope.engine.journal.events import EpochRecord
from batchscope.engine.spec import Trial
from batchscope.engine.training.instruments.prober import Prober
from batchscope.engine.training.instruments.sharpness import SharpnessMeter
from batchscope.engine.training.model.flat_model import FlatModel
from batchscope.engine.training.trainer.progress import History


class Replicate:
    """A replicate that is trained and reported: row `index` of the stack.

    Attributes:
        history: what it has reported since its first step.
        pending: epochs that are in no checkpoint yet.
    """

    def __init__(
        self,
        trial: Trial,
        index: int,
        flat: FlatModel,
        prober: Prober,
        sharpness_meter: SharpnessMeter,
    ) -> None:
        self.trial, self.index, self.flat, self.prober = trial, index, flat, prober
        self.sharpness_meter = sharpness_meter
        self.history = History()
        self.pending: list[EpochRecord] = []

    def has_probed(self, share: float) -> bool:
        """Return whether the replicate was probed at this share of its budget."""
        return any(probe.at_share == share for probe in self.history.probes)

    def epsilons_to_measure(self) -> list[float]:
        """Return the half-widths ε for which the sharpness has not been measured yet."""
        measured = {each.epsilon for each in self.history.sharpness}
        wanted = dict.fromkeys(self.trial.settings.sharpness.epsilon)
        return [each for each in wanted if each not in measured]
