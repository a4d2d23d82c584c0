"""Executes the user's commands on a running sweep and records the results in the journal."""

from pathlib import Path

from batchscope.engine.errors import Problem, printable
from batchscope.engine.journal import events as ev
from batchscope.engine.orchestration.control import Control
from batchscope.engine.orchestration.dispatcher import SKIPPED
from batchscope.engine.orchestration.journal_writer import JournalWriter
from batchscope.engine.orchestration.trial_queue import TrialQueue
from batchscope.engine.sweeps import add_batch_size, commands, sweep_file
from batchscope.engine.sweeps.requests import retry_refusal, skip_refusal


class CommandHandler:
    """Executes one command after another; a command that cannot be done is refused in the log."""

    def __init__(
        self, folder: Path, ledger: JournalWriter, queue: TrialQueue, control: Control
    ) -> None:
        self._folder, self._ledger, self._queue, self._control = folder, ledger, queue, control

    def do(self, command: commands.AnyCommand) -> None:
        """Execute a command."""
        match command:
            case commands.Stop():
                self._control.stop()
            case commands.Pause():
                self._pause(True)
            case commands.Continue():
                self._pause(False)
            case commands.Skip(trial=trial):
                self._skip(trial)
            case commands.Retry(trial=trial):
                self._retry(trial)
            case commands.Add(batch_size=size):
                self._add(size)
            case commands.AcceptCode():
                self._control.accepts_code = True
        self._ledger.sync()

    def _pause(self, paused: bool) -> None:
        """Pause or continue the sweep; do nothing if it is in that state already."""
        if paused != self._control.paused:
            self._ledger.write(ev.SweepPaused() if paused else ev.SweepContinued())
            self._control.pause(paused)

    def _skip(self, name: str) -> None:
        trial = self._ledger.state.trials.get(name)
        refused = skip_refusal(trial) if trial else f"there is no trial {printable(name)}"
        if refused or trial is None:
            self._refuse(refused)
        elif self._queue.is_out(name):
            self._control.drop(name)
        else:
            self._ledger.heard(
                ev.TrialEnded(trial=name, attempt=trial.attempt, status="skipped", reason=SKIPPED)
            )
            self._line_up()

    def _retry(self, name: str) -> None:
        trial = self._ledger.state.trials.get(name)
        refused = retry_refusal(trial) if trial else f"there is no trial {printable(name)}"
        if refused or trial is None:
            if trial is None or trial.status != "queued":  # resuming has queued it already
                self._refuse(refused)
            return
        self._ledger.write(ev.TrialRetried(trial=name, attempt=trial.attempt))
        self._line_up()

    def _add(self, size: int) -> None:
        state = self._ledger.state
        try:
            preset = add_batch_size.with_batch_size(sweep_file.read_raw(self._folder), size, state)
        except Problem as problem:
            self._refuse(str(problem))
            return
        new = add_batch_size.added(preset, set(state.configurations))
        try:
            # stored first: a conductor that starts later finds it and states it
            sweep_file.store(self._folder, preset.raw)
        except OSError as error:
            why = printable(error.strerror or error)
            self._refuse(f"batch size {size:,}: sweep.toml cannot be written: {why}")
            return
        self._ledger.write(ev.ConfigurationsAdded(configurations=new))
        self._queue.preset = preset
        self._line_up()

    def _line_up(self) -> None:
        self._queue.line_up()
        self._control.notify()

    def _refuse(self, why: str) -> None:
        self._ledger.write(ev.Note(level="warning", text=f"refused: {why}"))
