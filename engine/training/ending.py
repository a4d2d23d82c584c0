"""What is asked for of a replicate once its budget is spent, before its end is stated."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.training import statements
from engine.training.holding import Pause
from engine.training.telling import Teller

if TYPE_CHECKING:
    from engine.training.loop import Training
    from engine.training.member import Member


class Ending:
    """Measures and leaves what the settings and the job of a training ask for."""

    def __init__(self, training: "Training", teller: Teller, pause: Pause) -> None:
        self._training, self._teller, self._pause = training, teller, pause

    def sharpen(self, member: "Member", keep: Callable[[], None]) -> None:
        """Measure how sharp the minimum is that a member has come to, box by box.

        `keep` makes what was measured durable, if it is time to.
        What a replicate's `go_on` raises goes through: the weights are back by then.
        """
        for epsilon in member.left_to_climb():
            held = self._pause.seconds
            found = member.sharpener.measure(epsilon)
            if found.cut:
                self._teller.cut(member.sharpener.micro_batch_size, probe=True)
            found = found._replace(seconds=found.seconds - (self._pause.seconds - held))
            event = statements.sharpness(self._training, member, epsilon, found)
            member.facts.sharpness.append(event)
            keep()
            self._teller.state(event)

    def leave_weights(self, member: "Member") -> None:
        """Leave its final weights on the disk, where somebody asked for them."""
        folder = self._training.job.weights.get(member.trial.id)
        if folder is not None:
            self._teller.leave(member, folder)
