"""Records the begin and the end of a sweep in its journal."""

import os
from pathlib import Path

from batchscope.engine.analysis.completeness import complete
from batchscope.engine.analysis.final_range import final_range
from batchscope.engine.analysis.no_results import no_results
from batchscope.engine.devices.devices import machine
from batchscope.engine.experiment.preset import Preset
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.fresh_seeds import trials_to_come
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.sweeps.add_batch_size import added
from batchscope.engine.sweeps.launch_file import Launch


class SweepRecord:
    """The first and the last events of a conductor.

    Args:
        folder: the sweep's folder.
        launch: how the sweep was started.
        ledger: the journal.
    """

    def __init__(self, folder: Path, launch: Launch, ledger: JournalWriter) -> None:
        self._folder, self._launch, self._ledger = folder, launch, ledger
        self._state = ledger.state

    def begin(self, preset: Preset) -> None:
        """Record that a conductor runs, and what the sweep is if it is new."""
        if self._state.opened is None:
            self._ledger.write(
                ev.SweepOpened(
                    id=self._folder.name,
                    preset=preset.name,
                    title=preset.title,
                    question=preset.question,
                    source=preset.source,
                    configurations=preset.configurations,
                    notes=tuple(dict.fromkeys((*self._launch.notes, *preset.notes))),
                    claims=preset.claims,
                    selection=preset.selection,
                    interpolation=preset.interpolation,
                    judging=preset.judging,
                )
            )
        self._ledger.write(ev.ConductorStarted(pid=os.getpid(), machine=machine()))
        new = added(preset, set(self._state.configurations))
        if new:  # the last conductor ended before it could state them
            self._ledger.write(ev.ConfigurationsAdded(configurations=new))

    def close(self, stopping: bool) -> int:
        """Record how the sweep has ended by itself, or by a stop; return the exit code.

        It is 1 if a trial failed, and if none finished with figures: there is nothing to go by.
        """
        if stopping and not complete(self._state):
            return self.end("stopped", 130)
        nothing = no_results(self._state)
        why = nothing.what if nothing else ""
        if self._state.count("failed"):
            return self.end("failed", 1, why)
        return self.end("finished", 1 if nothing else 0, why)

    def end(self, state: ev.SweepEnding, exit_code: int, reason: str = "") -> int:
        """Record the end of the sweep, and of the trials that still run; return the exit code."""
        for trial in self._state.trials.values():
            if trial.status == "running":  # its worker was ended during the trial
                stopped = ev.TrialEnded(trial=trial.id, attempt=trial.attempt, status="stopped")
                self._ledger.write(stopped)
        found = final_range(self._state)
        self._ledger.write(
            ev.SweepEnded(
                state=state,
                seconds=self._seconds(),
                trials=len(self._state.trials) + trials_to_come(self._state),
                finished=self._state.count("finished"),
                failed=self._state.count("failed"),
                reason=reason,
                exit_code=exit_code,
                metric=found.measure if found else "",
                best=found.best if found else None,
                worst=found.worst if found else None,
            )
        )
        return exit_code

    def _seconds(self) -> float:
        """Return the seconds since this conductor began, without pauses."""
        now = self._ledger.clock()
        began = self._state.conductor.at if self._state.conductor else now
        return now - began - self._state.paused_between(began, now)
