"""Has workers measure loss and accuracy along the lines between two solutions."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec

from batchscope.engine.analysis import interpolation_lines
from batchscope.engine.data.prepared import Prepared
from batchscope.engine.journal.events import AnyEvent, Interpolated, Note
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.crew import WorkerHandle
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.retry_policy import RETRIES, Deaths
from batchscope.engine.processes import orders
from batchscope.engine.spec import Trial


class InterpolationJobs:
    """The lines that are still to be measured; at most one worker has each."""

    def __init__(
        self, ledger: JournalWriter, data: Mapping[str, Prepared], control: Control
    ) -> None:
        self._ledger, self._data, self._control = ledger, data, control
        self._deaths = Deaths()
        self._in_hand: set[tuple[str, str]] = set()

    def __bool__(self) -> bool:
        """Return whether any line is not measured yet; workers may be measuring some of them."""
        return bool(interpolation_lines.left(self._ledger.state))

    def free(self) -> list[interpolation_lines.Pair]:
        """Return the lines that are not measured yet and that no worker is measuring."""
        return [
            p
            for p in interpolation_lines.left(self._ledger.state)
            if _names(p) not in self._in_hand
        ]

    def take(self) -> interpolation_lines.Pair | None:
        """Reserve one of the `free` lines for the caller; return None if there is none."""
        for pair in self.free()[:1]:
            self._in_hand.add(_names(pair))
            return pair
        return None

    def weights_of(self, trials: Iterable[str]) -> dict[str, str]:
        """Return the folders for the final weights of the trials that are an end of a line."""
        state = self._ledger.state
        return {
            name: str(self._ledger.weights_of(name))
            for name in trials
            if interpolation_lines.is_end(state, name)
        }

    async def draw(self, member: WorkerHandle, pair: interpolation_lines.Pair) -> bool:
        """Have a worker measure a line; return False if the worker was lost.

        After too many lost workers the line is given up and the sweep continues without it.
        """
        names, lines = _names(pair), list[Interpolated]()

        def heard(event: AnyEvent) -> None:
            if isinstance(event, Interpolated):
                lines.append(event)
            else:
                self._ledger.heard(event)

        try:
            lost = await member.work(self._order(pair), heard, self._control)
            if lost is not None:
                self._ledger.lost(member.number, lost)
                wait = self._deaths.another(" ".join(names), 0)
                if wait is None:
                    self._write(pair, f"{lost} (after {RETRIES} retries)")
                else:
                    await asyncio.sleep(wait)
            for line in lines:
                if line.points or line.reason:
                    self._ledger.write(line)
                    self._ledger.sync()
        finally:
            self._in_hand.discard(names)
        return lost is None

    def note_hindered(self) -> None:
        """Add a warning for each line that has no result because a trial did not finish."""
        state = self._ledger.state
        said = {line.text for line in state.log}
        for text in interpolation_lines.hindered(state):
            if text not in said:
                self._ledger.write(Note(level="warning", text=text))

    def _write(self, pair: interpolation_lines.Pair, reason: str) -> None:
        start, end = _names(pair)
        self._ledger.write(Interpolated(start=start, end=end, reason=reason))
        self._ledger.sync()

    def _order(self, pair: interpolation_lines.Pair) -> orders.Interpolate:
        state = self._ledger.state
        assert state.opened is not None
        assert state.opened.interpolation is not None
        start, end = pair
        return orders.Interpolate(
            members=(_trial(start), _trial(end)),
            weights=(
                str(self._ledger.weights_of(start.id)),
                str(self._ledger.weights_of(end.id)),
            ),
            line=state.opened.interpolation,
            plan=msgspec.structs.replace(state.plans[start.id], members=(start.id,)),
            data=self._data[start.settings.data.name],
        )


def _names(pair: interpolation_lines.Pair) -> tuple[str, str]:
    start, end = pair
    return start.id, end.id


def _trial(state: TrialState) -> Trial:
    return Trial(
        id=state.id,
        configuration=state.configuration,
        seed=state.seed,
        settings=state.settings,
    )
