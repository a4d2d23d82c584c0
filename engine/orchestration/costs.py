"""Estimates the seconds that trials, and stacks of trials, will take."""

from collections import defaultdict
from collections.abc import Mapping

from batchscope.engine.analysis.time_estimate import trial_seconds
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.data.validation_split import training_size
from batchscope.engine.journal.events import Paced
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.planning.plan import alike, most_at_once
from batchscope.engine.planning.stacking import step_seconds
from batchscope.engine.spec import Settings, Trial


class Costs:
    """Expected seconds on one worker, from the estimate for one trial and the timed stacks.

    Use them to compare trials with each other; the absolute values depend on the machine.
    """

    def __init__(self, state: SweepState, data: Mapping[str, Prepared]) -> None:
        self._state, self._data = state, data
        self._read, self._paced = 0, defaultdict[bytes, list[Paced]](list)
        self._alone: dict[str, tuple[float, bytes]] = {}

    def alone(self, trial: Trial) -> float:
        """Return the expected seconds of a trial that trains alone."""
        return self._alone_and_key(trial)[0]

    def stack(self, trial: Trial, size: int) -> float:
        """Return the expected seconds of `size` replicates of a trial as one stack.

        If no stack was timed, it is the time of the replicates one after another.
        """
        seconds, key = self._alone_and_key(trial)
        for paced in reversed(self._timed(key)):
            largest = max(stack.size for stack in paced.stacks)
            one = step_seconds(1, paced.stacks)
            if largest >= size:
                return seconds * step_seconds(size, paced.stacks) / one
        return seconds * size

    def timed(self, settings: Settings, share: int) -> list[Paced]:
        """Return the timings of trials with equal cost, oldest first.

        Args:
            settings: settings of one of the trials.
            share: the images of a batch that one worker takes.
        """
        return self._timed(alike(settings, share))

    def _timed(self, key: bytes) -> list[Paced]:
        for paced in self._state.paced[self._read :]:
            trial = self._state.trials.get(paced.trial)
            if trial is not None and paced.stacks:
                self._paced[alike(trial.settings, paced.batch_size)].append(paced)
        self._read = len(self._state.paced)
        return self._paced[key]

    def _alone_and_key(self, trial: Trial) -> tuple[float, bytes]:
        known = self._alone.get(trial.configuration)
        if known is None:
            images = self._data[trial.settings.data.name].train
            size = training_size(trial.settings.data, images)
            key = alike(trial.settings, most_at_once(trial.settings, size))
            known = trial_seconds(trial.settings, images), key
            self._alone[trial.configuration] = known
        return known
