"""The keys of the board that control the sweep and its trials."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from batchscope.engine.errors import Problem, printable
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.add_batch_size import added, with_batch_size
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.requests import ask, retry_refusal, skip_refusal
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.engine.sweeps.sweep_file import read_raw
from batchscope.engine.sweeps.trust import sweep_question
from batchscope.tui.config.commands import Command
from batchscope.tui.config.panes import PANE_KEYS
from batchscope.tui.screens.add_batch_size import AddBatchSize, AdditionPreview
from batchscope.tui.screens.answering_screen import AnsweringScreen
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.screens.trust_dialog import ask_trust
from batchscope.tui.viewmodel.view import View

UNHEARD = "The sweep ended before it could do that; nothing was changed"
REFUSED = "refused: "
NOT_LOADED = "The sweep is still being loaded"
NOT_SENT = "The command could not be sent to the sweep"
TRIALS = PANE_KEYS["trials"]


def in_words(phase: str) -> str:
    """Return the phase of a sweep as the rest of a sentence: is running, was stopped."""
    verbs = {"stopped": "was", "interrupted": "was", "failed": "has"}
    return f"{verbs.get(phase, 'is')} {phase}"


class ControlScreen(AnsweringScreen):
    """A screen on one sweep that sends commands to the sweep's conductor.

    The last line shows a message until the journal shows that the command was carried out, or
    until the conductor refuses it or ends.
    """

    view: View
    folder: Path | None

    def __init__(self) -> None:
        super().__init__()
        self._awaited: list[tuple[Callable[[], bool], str]] = []
        self._said_before = 0

    def unsay(self, text: str) -> None:
        """Remove a message, if it is still shown."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw what has changed since the last time."""
        raise NotImplementedError

    def trial(self) -> TrialState | None:
        """Return the trial that keys act on, if one is selected."""
        raise NotImplementedError

    def fits(self, command: Command) -> bool:
        """Return whether a command can do anything in the sweep's present state."""
        match command.action:
            case "resume":
                return self.resumable()
            case "stop" | "pause":
                return self.view.alive
            case "skip":
                trial = self.trial()
                return self.view.alive and trial is not None and not skip_refusal(trial)
            case "retry":
                trial = self.trial()
                return trial is not None and not retry_refusal(trial)
        return True

    def heed(self) -> None:
        """Update the message about commands that were sent: done, refused, or too late."""
        for done, promise in self._awaited:
            if done():
                self.unsay(promise)
        self._awaited = [(done, promise) for done, promise in self._awaited if not done()]
        state = self.view.state
        new = state.said - self._said_before
        refusals = [line.text for line in list(state.log)[-new:] if new] if self._awaited else []
        self._said_before = state.said
        for text in refusals:
            if text.startswith(REFUSED):
                self._awaited.clear()
                self.say(text)
        if self._awaited and not self.view.alive:
            self._awaited.clear()
            self.say(UNHEARD)

    def action_pause(self) -> None:
        """Pause the sweep, or resume it after a pause."""
        state = self.view.state
        match self.view.phase:
            case "paused":
                promise = "Resuming…"
                self._send(commands.Continue(), lambda: state.paused_at is None, promise)
            case "running" | "preparing":
                promise = "Pausing after the current step…"
                self._send(commands.Pause(), lambda: state.paused_at is not None, promise)
            case phase:
                self.say(f"Nothing to pause: the sweep {in_words(phase)}")

    def action_skip(self) -> None:
        """Skip the selected trial, after asking."""
        trial = self.trial()
        if trial is None:
            self.say(f"Select a trial first, in pane {TRIALS}; then X skips it")
        elif refused := skip_refusal(trial):
            self.say(refused)
        elif not self.view.alive:
            self.say(f"The sweep is not running. r resumes it; then X skips {trial.id}")
        else:
            kept = "Its results so far are kept. R runs it again from the start."
            self.app.push_screen(
                ConfirmDialog(f"Skip {printable(trial.id)}?", kept, "skip", "cancel"),
                lambda yes: self._skip(trial, yes),
            )

    def action_retry(self) -> None:
        """Run the selected trial again."""
        trial = self.trial()
        if trial is None:
            self.say(f"Select a trial first, in pane {TRIALS}; then R runs it again")
        elif refused := retry_refusal(trial):
            self.say(refused)
        else:
            attempt, status = trial.attempt, trial.status
            self._ask(
                commands.Retry(trial.id),
                lambda: (trial.attempt, trial.status) != (attempt, status),
                f"Queueing {trial.id} again…",
            )

    def action_add(self) -> None:
        """Ask for a batch size, then add it to the grid."""
        folder, state = self.folder, self.view.state
        if folder is None or state.opened is None:
            self.say(NOT_LOADED)
            return
        if self.view.stopping:
            self.say("The sweep is stopping; add the batch size once it has stopped")
            return
        try:
            raw = read_raw(folder)
        except Problem as problem:
            self.say(str(problem))
            return

        def check(size: int) -> AdditionPreview:
            try:
                after = with_batch_size(raw, size, state)
            except Problem as problem:
                return AdditionPreview(False, str(problem))
            new = added(after, set(state.configurations))
            trials = sum(len(configuration.seeds) for configuration in new)
            more = "" if self.view.alive else ", and resumes the sweep"
            return AdditionPreview(True, f"Adds {trials} trials{more}")

        self.app.push_screen(AddBatchSize(check), self._add)

    def action_stop(self) -> None:
        """Stop the sweep, after asking."""
        if not self.view.alive or self.folder is None:
            self.say(f"Nothing to stop: the sweep {in_words(self.view.phase)}")
            return
        self.app.push_screen(
            ConfirmDialog(
                "Stop this sweep?",
                "Finished trials are kept, and running ones are saved. r resumes it.",
                "stop",
                "keep running",
            ),
            self._stop,
        )

    def action_resume(self) -> None:
        """Resume the sweep, if it does not run and is not finished."""
        if self.resumable() and self.folder:
            folder = self.folder
            self._begin(
                "The sweep could not be resumed", "Resuming…", lambda: start_conductor(folder)
            )
        else:
            self.say(f"Nothing to resume: the sweep {in_words(self.view.phase)}")

    def resumable(self) -> bool:
        """Return whether the sweep does not run and has unfinished trials."""
        return self.view.loaded and not self.view.alive and self.view.phase != "finished"

    def _skip(self, trial: TrialState, yes: bool | None) -> None:
        if not yes:
            self.say("")
            return
        self._send(
            commands.Skip(trial.id),
            lambda: trial.status not in ("queued", "running"),
            f"Skipping {trial.id}…",
        )

    def _add(self, size: int | None) -> None:
        if size is None:
            self.say("")
            return
        known = len(self.view.state.configurations)
        self._ask(
            commands.Add(size),
            lambda: len(self.view.state.configurations) > known,
            f"Adding batch size {size:,}…",
        )

    def _ask(self, command: commands.AnyCommand, done: Callable[[], bool], promise: str) -> None:
        """Send a command to the conductor; start one if none is running."""
        if self.view.stopping:
            self.say("The sweep is stopping; try again once it has stopped")
        elif self.folder is None:
            self.say(NOT_LOADED)
        elif conductor_lives(self.folder):
            self._send(command, done, promise)
        else:
            folder = self.folder
            self._begin(NOT_SENT, promise, lambda: ask(folder, command))

    def _stop(self, yes: bool | None) -> None:
        if not yes:
            self.say("")
        else:
            promise = "Stopping…"
            if self._send(commands.Stop(), lambda: not self.view.alive, promise):
                self.view.stopping = True
                self.say(promise)

    def _send(self, command: commands.AnyCommand, done: Callable[[], bool], promise: str) -> bool:
        """Send a command and show a message until it is done; return False if it was not sent."""
        if self.folder is None or not conductor_lives(self.folder):
            self.say("The sweep is not running any more")
            return False
        try:
            commands.send(self.folder, command)
        except OSError as error:
            why = printable(error.strerror or error)
            self.app.push_screen(MessageDialog(NOT_SENT, why))
            return False
        self._awaited.append((done, promise))
        self.say(promise)
        return True

    def _begin(self, problem: str, promise: str, begin: Callable[[], None]) -> None:
        """Start a conductor once its code may be run; `promise` is shown meanwhile."""
        assert self.folder is not None
        home, question = self.folder.parent.parent, sweep_question(self.folder)
        begun = partial(self._begin_now, problem, promise, begin)
        ask_trust(self.app, home, question, begun, self.say)

    def _begin_now(self, problem: str, promise: str, begin: Callable[[], None]) -> None:
        """Start a conductor in the background."""

        async def start() -> None:
            try:
                await self.batchscope.launches.run(begin)
            except Problem as error:
                self.app.push_screen(MessageDialog(problem, str(error)))
            self.say("")

        self.run_worker(start(), name="conduct", exclusive=False)
        self.say(promise)
