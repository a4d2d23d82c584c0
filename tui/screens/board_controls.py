"""What a person can ask of the sweep on the board, and of its trials."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from batchscope.engine.errors import Problem, printable
from batchscope.engine.journal.sweep_state import TrialState
from batchscope.engine.sweeps import commands
from batchscope.engine.sweeps.add_batch_size import added, read_raw, with_batch_size
from batchscope.engine.sweeps.launcher import start_conductor
from batchscope.engine.sweeps.requests import ask, retry_refusal, skip_refusal
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.tui.config.commands import PANE_KEYS, Command
from batchscope.tui.screens.add_batch_size import AddBatchSize, AdditionPreview
from batchscope.tui.screens.answering_screen import AnsweringScreen
from batchscope.tui.screens.dialog import ConfirmDialog, MessageDialog
from batchscope.tui.viewmodel.view import View

UNHEARD = "the sweep ended before it heard that; nothing was changed"
REFUSED = "refused: "
TRIALS = PANE_KEYS["trials"]


class ControlScreen(AnsweringScreen):
    """A screen on one sweep, whose conductor takes what is asked here by way of its commands.

    What was asked is done once the journal says so; where the conductor ends before, that is said.
    """

    view: View
    folder: Path | None

    def __init__(self) -> None:
        super().__init__()
        self._awaited: list[tuple[Callable[[], bool], str]] = []
        self._said_before = 0

    def unsay(self, text: str) -> None:
        """Take back what was said, if it still stands."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw what has changed since the last time."""
        raise NotImplementedError

    def trial(self) -> TrialState | None:
        """The trial that a key would act on, if one is chosen."""
        raise NotImplementedError

    def fits(self, command: Command) -> bool:
        """Whether a command that asks something of the sweep makes sense as it is now."""
        match command.action:
            case "resume":
                return self.resumable()
            case "stop" | "pause" | "skip":
                return self.view.alive
        return True

    def heed(self) -> None:
        """Look whether what was asked for has happened, or cannot happen any more."""
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
        """Hold the sweep still, or let it go on."""
        state = self.view.state
        match self.view.phase:
            case "paused":
                promise = "the sweep has been asked to go on"
                self._send(commands.Continue(), lambda: state.paused_at is None, promise)
            case "running" | "preparing":
                promise = "the sweep has been asked to pause: what runs holds after its step"
                self._send(commands.Pause(), lambda: state.paused_at is not None, promise)
            case phase:
                self.say(f"nothing to pause: the sweep is {phase}")

    def action_skip(self) -> None:
        """Ask, then end the chosen trial."""
        trial = self.trial()
        if trial is None:
            self.say(f"X skips the trial that is chosen in pane {TRIALS}: open that first")
        elif refused := skip_refusal(trial):
            self.say(refused)
        elif not self.view.alive:
            self.say(f"the sweep is {self.view.phase}: r resumes it, then X skips {trial.id}")
        else:
            kept = "What it measured so far is kept; R queues it anew, from its start."
            self.app.push_screen(
                ConfirmDialog(f"Skip {printable(trial.id)}?", kept, "skip it", "let it be"),
                lambda yes: self._skip(trial, yes),
            )

    def action_retry(self) -> None:
        """Queue the chosen trial anew."""
        trial = self.trial()
        if trial is None:
            self.say(f"R tries the trial again that is chosen in pane {TRIALS}: open that first")
        elif refused := retry_refusal(trial):
            self.say(refused)
        else:
            attempt, status = trial.attempt, trial.status
            self._ask(
                commands.Retry(trial.id),
                lambda: (trial.attempt, trial.status) != (attempt, status),
                f"{trial.id} has been asked to be queued anew",
            )

    def action_add(self) -> None:
        """Ask for a batch size, then have it run."""
        folder, state = self.folder, self.view.state
        if folder is None or state.opened is None:
            self.say("nothing is known of this sweep yet")
            return
        if self.view.stopping:
            self.say("the sweep is being stopped; a batch size can be added once it has")
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
            more = "" if self.view.alive else "; a conductor is started, also for what else is left"
            return AdditionPreview(True, f"adds {trials} trials{more}")

        self.app.push_screen(AddBatchSize(check), self._add)

    def action_stop(self) -> None:
        """Ask, then stop."""
        if not self.view.alive or self.folder is None:
            self.say(f"nothing to stop: the sweep is {self.view.phase}")
            return
        self.app.push_screen(
            ConfirmDialog(
                "Stop this sweep?",
                "What has finished is kept; trials that run now begin anew when it is resumed.",
                "stop it",
                "let it run",
            ),
            self._stop,
        )

    def action_resume(self) -> None:
        """Start a conductor where none lives."""
        if self.resumable() and self.folder:
            folder = self.folder
            self._begin("The sweep could not be resumed", lambda: start_conductor(folder))
        else:
            self.say(f"nothing to resume: the sweep is {self.view.phase}")

    def resumable(self) -> bool:
        """Whether a conductor would find anything to do."""
        return self.view.loaded and not self.view.alive and self.view.phase != "finished"

    def _skip(self, trial: TrialState, yes: bool | None) -> None:
        if not yes:
            self.say(f"{trial.id} goes on as it was")
            return
        self._send(
            commands.Skip(trial.id),
            lambda: trial.status not in ("queued", "running"),
            f"{trial.id} has been asked to end as skipped",
        )

    def _add(self, size: int | None) -> None:
        if size is None:
            self.say("no batch size was added")
            return
        known = len(self.view.state.configurations)
        self._ask(
            commands.Add(size),
            lambda: len(self.view.state.configurations) > known,
            f"the sweep has been asked to run batch size {size:,} as well",
        )

    def _ask(self, command: commands.AnyCommand, done: Callable[[], bool], promise: str) -> None:
        """Have a conductor do something, a new one where none lives."""
        if self.view.stopping:
            self.say("the sweep is being stopped; ask again once it has")
        elif self.folder is None:
            self.say("nothing is known of this sweep yet")
        elif conductor_lives(self.folder):
            self._send(command, done, promise)
        else:
            folder = self.folder
            self._begin("The sweep could not be told", lambda: ask(folder, command))

    def _stop(self, yes: bool | None) -> None:
        if not yes:
            self.say("the sweep goes on")
        else:
            promise = "the sweep has been asked to stop"
            if self._send(commands.Stop(), lambda: not self.view.alive, promise):
                self.view.stopping = True
                self.say(promise)

    def _send(self, command: commands.AnyCommand, done: Callable[[], bool], promise: str) -> bool:
        """Send a command to the conductor and say so until it is done; False if nobody takes it."""
        if self.folder is None or not conductor_lives(self.folder):
            self.say("no conductor lives any more, so nobody could be asked")
            return False
        try:
            commands.send(self.folder, command)
        except OSError as error:
            why = printable(error.strerror or error)
            self.app.push_screen(MessageDialog("The sweep could not be told", why))
            return False
        self._awaited.append((done, promise))
        self.say(promise)
        return True

    def _begin(self, problem: str, begin: Callable[[], None]) -> None:
        """Have a conductor begin, in the background."""

        async def start() -> None:
            try:
                await asyncio.to_thread(begin)
            except Problem as error:
                self.app.push_screen(MessageDialog(problem, str(error)))
            self.say("")

        self.run_worker(start(), name="conduct", exclusive=False)
        self.say("starting a conductor…")
