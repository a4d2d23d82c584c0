"""Follows a sweep to its end without a screen, as log lines."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

from batchscope.engine.errors import MachineProblem
from batchscope.engine.journal import notice
from batchscope.engine.journal.events import AnyEvent, DataProgress, EpochRecord, EpochsFinished
from batchscope.engine.journal.file import NAME
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.sweeps.launcher import (
    ask_to_stop,
    cannot_resume,
    journal_size,
    last_line,
)
from batchscope.engine.sweeps.store import conductor_lives
from batchscope.engine.sweeps.stored_journal import (
    damage_text,
    note_damage,
    reader_of,
    refuse_later,
    unreadable,
)
from batchscope.tui.headless import event_text
from batchscope.tui.headless.log_lines import Display, Line, Log, LogFormat
from batchscope.tui.render.ascii import wants_ascii

POLL_SECONDS = 0.2
FETCH_STEP = 0.1
INTERRUPTED = 130
NO_SCREEN = ("", "dumb", "unknown")


def open_log(words: argparse.Namespace, sweep: str | None = None) -> Log:
    """Return the log that the options select, with a live display if stderr can show one."""
    quiet = bool(words.quiet)
    display: Display | None = None
    if has_display(sys.stderr, words.log_format, quiet):
        from batchscope.tui.headless.live_progress import LiveDisplay

        display = LiveDisplay(sys.stderr, wants_ascii(words.ascii), words.settings.refresh)
    return Log(words.log_format, quiet=quiet, sweep=sweep, display=display)


def has_display(
    stream: TextIO, style: LogFormat, quiet: bool, environment: Mapping[str, str] = os.environ
) -> bool:
    """Return whether to draw live progress: text format, not quiet, a terminal with a cursor."""
    able = stream.isatty() and environment.get("TERM", "") not in NO_SCREEN
    return able and style == "text" and not quiet


class HeadlessFollower:
    """Reads a sweep's journal to its end and writes log lines."""

    def __init__(self, folder: Path, log: Log) -> None:
        self.folder, self.state, self._log = folder, SweepState(), log
        self._reader = reader_of(folder)
        self._fetched, self._notice, self._lost = -1.0, "", 0

    def catch_up(self, quietly: bool = False) -> None:
        """Read the new events of the journal; write their log lines unless `quietly`.

        Raises:
            UsageProblem: something else is in place of the journal, or a later version wrote it.
            MachineProblem: it cannot be read.
        """
        try:
            for event in (event for batch in self._reader.batches() for event in batch):
                before, epochs = self.state.said, self._new_epochs(event)
                self.state.apply(event)
                if not quietly:
                    self._write(event, self.state.said - before, epochs)
        except OSError as error:
            raise unreadable(self._reader.path, error) from None
        refuse_later(self.state, self._reader.path)
        self._write_damage()
        self._write_notice()

    def _write_damage(self) -> None:
        note_damage(self.state, self._reader)
        if self.state.lost != self._lost:
            self._lost = self.state.lost
            self._log.say("damaged", damage_text(self.state.lost), "warning")

    def _new_epochs(self, event: AnyEvent) -> list[EpochRecord]:
        """Return the epochs not reported before: a resumed trial repeats some."""
        if not isinstance(event, EpochsFinished):
            return []
        trial = self.state.trials.get(event.trial)
        if trial is None or trial.attempt != event.attempt or trial.done:
            return []
        last = trial.last
        if not event.records:
            return []
        if last is None or event.records[0].epoch > last.epoch:
            return list(event.records)
        known = set(trial.records.column("epoch"))
        return [record for record in event.records if record.epoch not in known]

    def _write_notice(self) -> None:
        text = notice.read(self.folder)
        if text and text != self._notice:
            self._log.say("notice", text, "warning")
        self._notice = text

    def follow(self, interrupted: threading.Event) -> bool:
        """Follow until the conductor has ended; return False if interrupted before that."""
        while True:
            # checked before reading, so that the conductor's last events are read
            alive = conductor_lives(self.folder)
            self.catch_up()
            self._log.draw(self.state, alive)
            if not alive:
                return True
            if interrupted.wait(POLL_SECONDS):
                return False

    def _write(self, event: AnyEvent, lines: int, epochs: list[EpochRecord]) -> None:
        said = list(islice(reversed(self.state.log), lines))[::-1]
        if said:
            self._log.write(event_text.said(event, self.state, said))
        match event:
            case EpochsFinished():
                # JSON has a line for every epoch, text one line for all epochs of an event
                lines_of = (
                    event_text.each_epoch if self._log.style == "json" else event_text.latest_epoch
                )
                self._log.write(lines_of(self.state, event, epochs))
            case DataProgress():
                self._log.write(self._fetching(event))

    def _fetching(self, event: DataProgress) -> Iterator[Line]:
        """Yield a line at each tenth of a download."""
        share = event.received / event.total if event.total else 0.0
        if share >= self._fetched + FETCH_STEP or self._fetched < 0:
            self._fetched = share
            yield event_text.fetching(event)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Make Ctrl-C and SIGTERM set the event that this context manager yields."""
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
    """Follow a sweep to its end and return the exit code and the last state.

    Args:
        follower: reads the journal.
        log: is closed at the end.
        ours: whether this process started the sweep. Then an interruption stops the sweep;
            otherwise it only stops following it.
        interrupted: is set by an interruption.
    """
    try:
        return _follow(follower, log, ours, interrupted), follower.state
    finally:
        log.close()


def _follow(follower: HeadlessFollower, log: Log, ours: bool, interrupted: threading.Event) -> int:
    folder = follower.folder
    if follower.follow(interrupted):
        if not follower.state.ended:
            text = f"the conductor ended unexpectedly: {last_words(folder)}; {_next(folder)}"
            log.say("conductor-gone", text, "error")
            if notice.read(folder):
                return MachineProblem.exit_code
        return exit_code(follower.state)
    if ours:
        log.stopping = True
        log.say("interrupted", "interrupted: stopping the sweep", "warning")
        ask_to_stop(folder)
        interrupted.clear()
        follower.follow(interrupted)  # a second interruption stops waiting
    else:
        text = f"the sweep is still running; return to it with `batchscope attach {folder.name}`"
        log.say("left", text)
    return INTERRUPTED


def _next(folder: Path) -> str:
    """Return what can be done with a sweep that has no conductor."""
    return cannot_resume(folder) or f"continue with `batchscope resume {folder.name}`"


def last_words(folder: Path) -> str:
    """Return the last line of the conductor's log, or that nothing is recorded."""
    if journal_size(folder) < 0:
        return f"{NAME} is missing, so nothing is known of its trials"
    return last_line(folder)


def exit_code(state: SweepState) -> int:
    """Return the exit code of a sweep without a conductor."""
    return state.ended.exit_code if state.ended else INTERRUPTED
