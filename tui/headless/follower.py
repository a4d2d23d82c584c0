"""Without a screen: follow a sweep to its end, as log lines."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TextIO

from batchscope.engine.errors import MachineProblem, printable
from batchscope.engine.journal import file as journal
from batchscope.engine.journal import notice
from batchscope.engine.journal.events import AnyEvent, DataProgress, EpochRecord, EpochsFinished
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launcher import LOG, ask_to_stop
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.tui.headless import event_text
from batchscope.tui.headless.log_lines import Display, Line, Log, LogFormat
from batchscope.tui.render.ascii import wants_ascii

POLL_SECONDS = 0.2
FETCH_STEP = 0.1
INTERRUPTED = 130
NO_SCREEN = ("", "dumb", "unknown")


def open_log(words: argparse.Namespace, sweep: str | None = None) -> Log:
    """The log that the words of the command line ask for, with a display where one can be."""
    quiet = bool(words.quiet)
    display: Display | None = None
    if has_display(sys.stderr, words.log_format, quiet):
        from batchscope.tui.headless.live_progress import LiveDisplay

        display = LiveDisplay(sys.stderr, wants_ascii(words.ascii), words.settings.refresh)
    return Log(words.log_format, quiet=quiet, sweep=sweep, display=display)


def has_display(
    stream: TextIO, style: LogFormat, quiet: bool, environment: Mapping[str, str] = os.environ
) -> bool:
    """Whether progress can be drawn: text for somebody who sees it, on a terminal that can move."""
    able = stream.isatty() and environment.get("TERM", "") not in NO_SCREEN
    return able and style == "text" and not quiet


class HeadlessFollower:
    """Reads a sweep's journal to its end and says what happens."""

    def __init__(self, folder: Path, log: Log) -> None:
        self.folder, self.state, self._log = folder, SweepState(), log
        self._reader = journal.Reader(folder / journal.NAME)
        self._fetched, self._notice = -1.0, ""

    def catch_up(self, quietly: bool = False) -> None:
        """Take in what the journal says by now; `quietly` without log lines."""
        for event in (event for batch in self._reader.batches() for event in batch):
            before, known = self.state.said, self._unknown(event)
            self.state.apply(event)
            if not quietly:
                self._tell(event, self.state.said - before, known)
        self._tell_notice()

    def _unknown(self, event: AnyEvent) -> list[EpochRecord]:
        """The epochs that an event states for the first time: a resumed trial repeats some."""
        if not isinstance(event, EpochsFinished):
            return []
        trial = self.state.trials.get(event.trial)
        if trial is None or trial.attempt != event.attempt or trial.done:
            return []
        last = trial.last
        if last is None or event.records[0].epoch > last.epoch:
            return list(event.records)
        known = set(trial.records.column("epoch"))
        return [record for record in event.records if record.epoch not in known]

    def _tell_notice(self) -> None:
        text = notice.read(self.folder)
        if text and text != self._notice:
            self._log.say("notice", text, "warning")
        self._notice = text

    def follow(self, interrupted: threading.Event) -> bool:
        """Follow until no conductor lives; False if interrupted before."""
        while True:
            alive = conductor_lives(self.folder)  # asked first: what it wrote last is then read
            self.catch_up()
            self._log.draw(self.state, alive)
            if not alive:
                return True
            if interrupted.wait(POLL_SECONDS):
                return False

    def _tell(self, event: AnyEvent, lines: int, epochs: list[EpochRecord]) -> None:
        said = list(islice(reversed(self.state.log), lines))[::-1]
        if said:
            self._log.write(event_text.said(event, self.state, said))
        match event:
            case EpochsFinished():
                # a collector gets every epoch, a person one line a statement
                tell = (
                    event_text.each_epoch if self._log.style == "json" else event_text.latest_epoch
                )
                self._log.write(tell(self.state, event, epochs))
            case DataProgress():
                self._log.write(self._fetching(event))

    def _fetching(self, event: DataProgress) -> Iterator[Line]:
        """A line at every tenth of a download."""
        share = event.received / event.total if event.total else 0.0
        if share >= self._fetched + FETCH_STEP or self._fetched < 0:
            self._fetched = share
            yield event_text.fetching(event)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    flag = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: flag.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(
    follower: HeadlessFollower, log: Log, ours: bool, interrupted: threading.Event
) -> tuple[int, SweepState]:
    """Follow a sweep to its end; the exit code and the last state.

    An interruption stops the sweep if it is `ours`, and only stops following it otherwise.
    """
    try:
        return _follow(follower, log, ours, interrupted), follower.state
    finally:
        log.close()


def _follow(follower: HeadlessFollower, log: Log, ours: bool, interrupted: threading.Event) -> int:
    folder = follower.folder
    if follower.follow(interrupted):
        if not follower.state.ended:
            log.say("conductor-gone", f"the conductor is gone: {last_words(folder)}", "error")
            if notice.read(folder):
                return MachineProblem.exit_code
        return exit_code(follower.state)
    if ours:
        log.stopping = True
        log.say("interrupted", "interrupted: stopping the sweep", "warning")
        ask_to_stop(folder)
        interrupted.clear()
        follower.follow(interrupted)  # a second interruption ends the waiting
    else:
        goes_on = f"the sweep goes on: `batchscope attach {folder.name}` returns to it"
        log.say("left", goes_on)
    return INTERRUPTED


def last_words(folder: Path) -> str:
    """The last line of the conductor's log."""
    with suppress(OSError):
        lines = (folder / LOG).read_text("utf-8", "replace").splitlines()
        return printable(lines[-1]) if lines else "it left no word"
    return "it left no word"


def exit_code(state: SweepState) -> int:
    """The code of a sweep that nobody conducts any more."""
    return state.ended.exit_code if state.ended else INTERRUPTED
