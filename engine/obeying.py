"""Does what people ask of a running sweep; what comes of it is stated in the journal."""

from pathlib import Path

from engine import adding, commands
from engine import events as ev
from engine.asking import retry_refusal, skip_refusal
from engine.control import Control
from engine.ledger import Ledger
from engine.problems import Problem, printable
from engine.queueing import TrialQueue
from engine.serving import SKIPPED


class Servant:
    """Takes one command after the other; what cannot be done is refused in the log."""

    def __init__(self, folder: Path, ledger: Ledger, queue: TrialQueue, control: Control) -> None:
        self._folder, self._ledger, self._queue, self._control = folder, ledger, queue, control

    def do(self, command: commands.AnyCommand) -> None:
        """Do what a command says."""
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
        self._ledger.sync()

    def _pause(self, paused: bool) -> None:
        """Hold the sweep still, or let it go on; nothing where it is so already."""
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
            if trial is None or trial.status != "queued":  # a new conductor has queued it itself
                self._refuse(refused)
            return
        self._ledger.write(ev.TrialRetried(trial=name, attempt=trial.attempt))
        self._line_up()

    def _add(self, size: int) -> None:
        state = self._ledger.state
        try:
            preset = adding.with_batch_size(adding.read_raw(self._folder), size, state)
        except Problem as problem:
            self._refuse(str(problem))
            return
        new = adding.added(preset, set(state.configurations))
        try:
            adding.store(self._folder, preset.raw)  # first: what is there but not stated is found
        except OSError as error:
            self._refuse(f"batch size {size:,}: the disk says {printable(error.strerror or error)}")
            return
        self._ledger.write(ev.ConfigurationsAdded(configurations=new))
        self._queue.preset = preset
        self._line_up()

    def _line_up(self) -> None:
        self._queue.line_up()
        self._control.tell()

    def _refuse(self, why: str) -> None:
        self._ledger.write(ev.Note(level="warning", text=f"refused: {why}"))
