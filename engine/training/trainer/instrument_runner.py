"""Runs the measurements that interrupt a training: probes, and those after its last step."""

from collections.abc import Callable

from batchscope.engine.training.cancellation import Dropped, PauseGate
from batchscope.engine.training.trainer import event_builders
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.reporter import Reporter
from batchscope.engine.training.trainer.state import TrainingState


class FinalMeasurements:
    """Measures and saves what settings and job ask for after the last step."""

    def __init__(self, training: TrainingState, reporter: Reporter, pause: PauseGate) -> None:
        self._training, self._reporter, self._pause = training, reporter, pause

    def measure_sharpness(self, member: Replicate, save_if_due: Callable[[], None]) -> None:
        """Measure the sharpness of a member's minimum, one box after the other.

        Exceptions of the replicate's `check_cancelled` pass through; the weights are restored
        before.

        Args:
            member: the replicate.
            save_if_due: called after each box; writes a checkpoint if one is due.
        """
        for epsilon in member.epsilons_to_measure():
            paused = self._pause.seconds
            measured = member.sharpness_meter.measure(epsilon)
            if measured.cut:
                self._reporter.cut(member.sharpness_meter.micro_batch_size, probe=True)
            measured = measured._replace(seconds=measured.seconds - (self._pause.seconds - paused))
            event = event_builders.sharpness(self._training, member, epsilon, measured)
            member.history.sharpness.append(event)
            save_if_due()
            self._reporter.state(event)

    def save_weights(self, member: Replicate) -> None:
        """Write the final weights of a member to disk, if the job asks for them."""
        folder = self._training.job.weights.get(member.trial.id)
        if folder is not None:
            self._reporter.save_weights(member, folder)
        order = self._training.job.kept.get(member.trial.id)
        if order is not None:
            self._reporter.keep_weights(member, order)


class InstrumentRunner:
    """Probes the replicates at the moments that the settings name, with the clock stopped.

    Args:
        training: the present state of the training.
        reporter: reports what was found.
        pause: counts the seconds of a pause, which are no part of a probe's time.
        save_if_due: writes a checkpoint if one is due.
        stop: ends a replicate that was dropped during its probe.
    """

    def __init__(
        self,
        training: TrainingState,
        reporter: Reporter,
        pause: PauseGate,
        save_if_due: Callable[[], None],
        stop: Callable[[Replicate], None],
    ) -> None:
        self._training, self._reporter, self._pause = training, reporter, pause
        self._save_if_due, self._stop = save_if_due, stop

    def probe_if_due(self) -> None:
        """Probe all replicates if the training has reached a moment for it."""
        training, seconds = self._training, self._training.clock.total()
        share = training.moments.reached(training.at.steps, seconds)
        if share is None:
            return
        with training.off_the_clock():
            while share is not None:
                self._probe_all(share)
                share = training.moments.reached(training.at.steps, seconds)

    def probe_at_end(self, member: Replicate) -> None:
        """Probe a replicate that ends, if the end is one of the moments and was not reached yet."""
        share = self._training.moments.last
        if share is not None:
            self._probe(member, share)

    def _probe_all(self, share: float) -> None:
        """Probe every replicate; checkpoints list the moment as due until all are probed."""
        self._training.moments.put_back(share)
        for member in list(self._training.active):
            self._probe(member, share)
        self._training.moments.take(share)

    def _probe(self, member: Replicate, share: float) -> None:
        if member.has_probed(share):
            return
        paused = self._pause.seconds
        try:
            probe = member.prober.probe(share)
        except Dropped:
            self._stop(member)
            return
        if probe.cut:
            self._reporter.cut(member.prober.micro_batch_size, probe=True)
        probe = probe._replace(seconds=probe.seconds - (self._pause.seconds - paused))
        event = event_builders.probed(self._training, member, share, probe)
        member.history.probes.append(event)
        self._save_if_due()
        self._reporter.state(event)
