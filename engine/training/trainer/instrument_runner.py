"""Runs the instruments: probes at the moments that settings name, and what comes after the last
step."""

from collections.abc import Callable

from batchscope.engine.training.cancellation import Dropped, PauseGate
from batchscope.engine.training.trainer import event_builders
from batchscope.engine.training.trainer.replicate import Replicate
from batchscope.engine.training.trainer.reporter import Reporter
from batchscope.engine.training.trainer.state import TrainingState


class Ending:
    """Measures and leaves what the settings and the job of a training ask for."""

    def __init__(self, training: TrainingState, teller: Reporter, pause: PauseGate) -> None:
        self._training, self._teller, self._pause = training, teller, pause

    def sharpen(self, member: Replicate, keep: Callable[[], None]) -> None:
        """Measure how sharp the minimum is that a member has come to, box by box.

        `keep` makes what was measured durable, if it is time to.
        What a replicate's `go_on` raises goes through: the weights are back by then.
        """
        for epsilon in member.left_to_climb():
            held = self._pause.seconds
            measured = member.sharpener.measure(epsilon)
            if measured.cut:
                self._teller.cut(member.sharpener.micro_batch_size, probe=True)
            measured = measured._replace(seconds=measured.seconds - (self._pause.seconds - held))
            event = event_builders.sharpness(self._training, member, epsilon, measured)
            member.facts.sharpness.append(event)
            keep()
            self._teller.state(event)

    def leave_weights(self, member: Replicate) -> None:
        """Leave its final weights on the disk, where somebody asked for them."""
        folder = self._training.job.weights.get(member.trial.id)
        if folder is not None:
            self._teller.leave(member, folder)


class InstrumentRunner:
    """Has a training hold still where a moment has come; its clock does not count that.

    `keep` makes what was found durable, if it is time to, and `let_go` ends a replicate that
    nobody wants any more.
    """

    def __init__(
        self,
        training: TrainingState,
        teller: Reporter,
        pause: PauseGate,
        keep: Callable[[], None],
        let_go: Callable[[Replicate], None],
    ) -> None:
        self._training, self._teller, self._pause = training, teller, pause
        self._keep, self._let_go = keep, let_go

    def examine(self) -> None:
        """Probe all where a moment has come."""
        training, seconds = self._training, self._training.clock.total()
        share = training.moments.reached(training.at.steps, seconds)
        if share is None:
            return
        with training.off_the_clock():
            while share is not None:
                self._probe_all(share)
                share = training.moments.reached(training.at.steps, seconds)

    def examine_last(self, member: Replicate) -> None:
        """Probe one at its end, if that is a moment and has not come."""
        share = self._training.moments.last
        if share is not None:
            self._probe(member, share)

    def _probe_all(self, share: float) -> None:
        """Probe each at this moment, which is still to come until all of them are."""
        self._training.moments.put_back(share)
        for member in list(self._training.active):
            self._probe(member, share)
        self._training.moments.take(share)

    def _probe(self, member: Replicate, share: float) -> None:
        if member.has_probed(share):
            return
        held = self._pause.seconds
        try:
            probe = member.prober.probe(share)
        except Dropped:
            self._let_go(member)
            return
        if probe.cut:
            self._teller.cut(member.prober.micro_batch_size, probe=True)
        probe = probe._replace(seconds=probe.seconds - (self._pause.seconds - held))
        event = event_builders.probed(self._training, member, share, probe)
        member.facts.probes.append(event)
        self._keep()
        self._teller.state(event)
