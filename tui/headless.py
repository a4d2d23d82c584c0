"""Without a screen: follow a sweep as log lines, and sum it up."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from engine import journal, notice
from engine.catalog import conductor_lives
from engine.events import AnyEvent, DataProgress, EpochsFinished
from engine.figures import by_batch_size, epoch_times, last_values, mean_and_deviation
from engine.findings.parting import part_lines
from engine.findings.report import Findings, find
from engine.findings.sizing import size_lines
from engine.findings.summary import mean_of
from engine.launching import LOG, ask_to_stop
from engine.problems import MachineProblem, printable
from engine.shared_times import stack_mark, stack_note, stacked
from engine.state import SweepState
from engine.tuning import rejected
from tui.choices import choice_text, sign_of
from tui.plain import json_text
from tui.units import number
from tui.verdicts import MARKS, effect_text, remarks, word_of

POLL_SECONDS = 0.2
FETCH_STEP = 0.1
INTERRUPTED = 130

LogFormat = Literal["text", "json"]


class Log:
    """Log lines on stderr, flushed one by one; nothing but text, also at a terminal."""

    def __init__(self, style: LogFormat, stream: TextIO | None = None) -> None:
        self._style, self._stream = style, stream or sys.stderr

    def say(self, text: str, level: str = "info", at: float | None = None, **more: object) -> None:
        """Write one line; a reader that went away is no reason to stop."""
        moment = datetime.fromtimestamp(at if at is not None else time.time()).astimezone()
        if self._style == "json":
            fields = {"time": moment.isoformat(timespec="milliseconds"), "level": level}
            line = json_text({**fields, "message": text, **more}, self._stream)
        else:
            mark = "" if level == "info" else f"{level}: "
            line = f"{moment:%H:%M:%S} {mark}{printable(text)}"
        with suppress(OSError, ValueError):
            print(line, file=self._stream, flush=True)


class Follower:
    """Reads a sweep's journal to its end and says what happens."""

    def __init__(self, folder: Path, log: Log) -> None:
        self.folder, self.state, self._log = folder, SweepState(), log
        self._reader = journal.Reader(folder / journal.NAME)
        self._fetched, self._notice = -1.0, ""

    def catch_up(self, quietly: bool = False) -> None:
        """Take in what the journal says by now; `quietly` without log lines."""
        for event in (event for batch in self._reader.batches() for event in batch):
            before = self.state.said
            self.state.apply(event)
            if not quietly:
                self._tell(event, self.state.said - before)
        self._tell_notice()

    def _tell_notice(self) -> None:
        text = notice.read(self.folder)
        if text and text != self._notice:
            self._log.say(text, "warning")
        self._notice = text

    def follow(self, interrupted: threading.Event) -> bool:
        """Follow until no conductor lives; False if interrupted before."""
        while True:
            alive = conductor_lives(self.folder)  # asked first: what it wrote last is then read
            self.catch_up()
            if not alive:
                return True
            if interrupted.wait(POLL_SECONDS):
                return False

    def _tell(self, event: AnyEvent, lines: int) -> None:
        for line in list(self.state.log)[-lines:] if lines else ():
            self._log.say(line.text, line.level, line.at)
        match event:
            case EpochsFinished():
                self._tell_epoch(event)
            case DataProgress():
                self._tell_fetching(event)

    def _tell_epoch(self, event: EpochsFinished) -> None:
        last, trial = event.records[-1], self.state.trials[event.trial]
        of, size = trial.settings.train.epochs, stacked([trial])
        together = f" for {size} replicates together" if size > 1 else ""
        self._log.say(
            f"{event.trial}: epoch {last.epoch}{f' of {of}' if of else ''}, "
            f"train {last.train_accuracy:.4f}, test {last.test_accuracy:.4f}, "
            f"{last.seconds:.3g} s{together}",
            at=event.at,
            trial=event.trial,
            epoch=last.epoch,
            train_accuracy=last.train_accuracy,
            test_accuracy=last.test_accuracy,
            epoch_seconds=last.seconds,
        )

    def _tell_fetching(self, event: DataProgress) -> None:
        share = event.received / event.total if event.total else 0.0
        if share >= self._fetched + FETCH_STEP or self._fetched < 0:
            self._fetched = share
            size = f" of {event.total / 1e6:.1f}" if event.total else ""
            self._log.say(
                f"fetching {event.name}: {event.received / 1e6:.1f}{size} MB", at=event.at
            )


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
    follower: Follower, log: Log, ours: bool, interrupted: threading.Event
) -> tuple[int, SweepState]:
    """Follow a sweep to its end; the exit code and the last state.

    An interruption stops the sweep if it is `ours`, and only stops following it otherwise.
    """
    if follower.follow(interrupted):
        if not follower.state.ended:
            log.say(f"the conductor is gone: {last_words(follower.folder)}", "error")
            if notice.read(follower.folder):
                return MachineProblem.exit_code, follower.state
        return exit_code(follower.state), follower.state
    folder = follower.folder
    if ours:
        log.say("interrupted: stopping the sweep", "warning")
        ask_to_stop(folder)
        interrupted.clear()
        follower.follow(interrupted)  # a second interruption ends the waiting
    else:
        log.say(f"the sweep goes on: `batchscope attach {folder.name}` returns to it")
    return INTERRUPTED, follower.state


def last_words(folder: Path) -> str:
    """The last line of the conductor's log."""
    with suppress(OSError):
        lines = (folder / LOG).read_text("utf-8", "replace").splitlines()
        return printable(lines[-1]) if lines else "it left no word"
    return "it left no word"


def exit_code(state: SweepState) -> int:
    """The code of a sweep that nobody conducts any more."""
    return state.ended.exit_code if state.ended else INTERRUPTED


def summary(folder: Path, state: SweepState, export: Path | None) -> dict[str, Any]:
    """The sweep in one object: how it ended, and each configuration over its seeds."""
    times = {time.configuration: time for time in epoch_times(state)}
    rows, lost = [], rejected(state)
    for name in by_batch_size(state):
        accuracies = last_values(state, name, lambda record: record.test_accuracy)
        mean, deviation = mean_and_deviation(accuracies) if accuracies else (None, None)
        time = times.get(name)
        rows.append(
            {
                "configuration": name,
                "label": state.configurations[name].label,
                "batch_size": state.replicates(name)[0].batch_size,
                "trials": len(state.replicates(name)),
                "finished": len(accuracies),
                "test_accuracy_mean": mean,
                "test_accuracy_std": deviation,
                "epoch_seconds": time.seconds if time else None,
                "samples_per_second": time.samples_per_second if time else None,
                "rejected": name in lost,
                "stacked": time.stacked if time else stacked(state.replicates(name)),
            }
        )
    found = find(state)
    sharp = {name: mean_of(state, name, "sharpness") for name in state.configurations}
    for row in rows:
        row["sharpness"] = msgspec.to_builtins(sharp[str(row["configuration"])])
    return {
        "id": folder.name,
        "preset": state.opened.preset if state.opened else None,
        "title": state.opened.title if state.opened else None,
        "state": state.phase(conductor_lives(folder)),
        "reason": (state.ended.reason if state.ended else "") or None,
        "trials": len(state.trials),
        "finished": state.count("finished"),
        "failed": state.count("failed"),
        "diverged": state.count("diverged"),
        "configurations": rows,
        "claims": msgspec.to_builtins(list(found.claims)),
        "recommendation": found.recommendation,
        "choices": msgspec.to_builtins(found.choices),
        "critical_batch_size": msgspec.to_builtins(found.critical_batch_size),
        "noise_scale": msgspec.to_builtins(list(found.noise_scale)),
        "export": str(export) if export else None,
        "bias_variance": msgspec.to_builtins(list(found.bias_variance)),
    }


def sharpness_lines(rows: list[dict[str, Any]], width: int) -> list[str]:
    """Mean and interval of each configuration that it was measured of; empty without any."""
    found = [(row["label"], row["sharpness"]) for row in rows if row["sharpness"]]
    lines = ["", "sharpness, % of 1 + loss in the first box (95 % interval)"] if found else []
    for label, mean in found:
        low, high = mean["low"], mean["high"]
        within = "" if low is None else f" [{number(low)}, {number(high)}]"
        lines.append(f"{label:>{width}}  {number(mean['mean'])}{within}, n={mean['n']}")
    return lines


def findings_text(found: Findings) -> list[str]:
    """The claims with their verdicts, what was chosen, and the recommendation."""
    lines = [""] if found.claims else []
    for verdict in found.claims:
        sign, _ = MARKS[verdict.verdict]
        lines.append(f"{sign} {verdict.statement}")
        told = "  ".join(part for part in (effect_text(verdict), remarks(verdict)) if part)
        lines.append(f"  {word_of(verdict)}  {told}".rstrip())
    if found.choices:
        lines += ["", *(f"{sign_of(each)[0]} {choice_text(each)}" for each in found.choices)]
    if found.critical_batch_size:
        lines += ["", *size_lines(found.critical_batch_size)]
    if found.bias_variance:
        lines += ["", *part_lines(found.bias_variance)]
    return [*lines, "", found.recommendation] if found.recommendation else lines


def summary_text(of: dict[str, Any]) -> str:
    """The summary as lines for a person."""
    lines = [f"{of['title']}", f"sweep {of['id']}: {of['state']}, ", ""]
    lines[1] += f"{of['finished']} of {of['trials']} trials finished"
    lines[1] += f", {of['diverged']} diverged" if of["diverged"] else ""
    if of["reason"]:
        lines[1] += f": {of['reason']}"
    rows = [row for row in of["configurations"] if not row["rejected"]]
    width = max([len(row["label"]) for row in rows] + [len("batch size")])
    lines.append(f"{'batch size':>{width}}  seeds  test accuracy     epoch time  samples/s")
    for row in rows:
        mean, deviation = row["test_accuracy_mean"], row["test_accuracy_std"]
        accuracy = "-" if mean is None else f"{mean:.4f}"
        accuracy += "" if deviation is None else f" ± {deviation:.4f}"
        seconds, rate = row["epoch_seconds"], row["samples_per_second"]
        lines.append(
            f"{row['label']:>{width}}  {row['finished']:>2}/{row['trials']:<2}  {accuracy:<16}  "
            f"{'-' if seconds is None else f'{seconds:.4g} s':>10}  "
            f"{'-' if rate is None else f'{rate:,.0f}':>9}  {stack_mark(row['stacked'])}".rstrip()
        )
    note = stack_note([row["stacked"] for row in rows if row["epoch_seconds"] is not None])
    lines += [note] if note else []
    lines += sharpness_lines(rows, width)
    lines += findings_text(msgspec.convert(of, Findings))
    if of["export"]:
        lines += ["", f"exported to {of['export']}"]
    return "\n".join(map(printable, lines))
