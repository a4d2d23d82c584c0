"""Log lines of events: names, figures, texts, --quiet, and no repetitions."""

import io
import json
import re
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from batchscope.engine.journal import events as ev
from batchscope.engine.journal import file as journal
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.tui.headless import event_text
from batchscope.tui.headless.follower import HeadlessFollower, has_display
from batchscope.tui.headless.log_lines import Line, Log, LogFormat, full_text, json_line, short_text
from tests.messages import says
from tests.unit.state_fixtures import (
    FOUR,
    ONE,
    THREE,
    TWO,
    conductor,
    epochs,
    history,
    opened,
    started,
)

AT = 1_800_000_000.125  # 2027-01-15 08:00:00 UTC
SILENT = {
    ev.JournalOpened,
    ev.Measuring,
    ev.Planned,
    ev.Progress,
    ev.Predicted,
    ev.MemorySampled,
    ev.CodeLoaded,
}


@pytest.fixture(autouse=True)
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A zone that is not UTC and has no summer."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def written(folder: Path, events: Iterable[Any]) -> Path:
    """A sweep's folder whose journal holds these events."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / journal.NAME).write_bytes(b"".join(map(journal.sealed, events)))
    return folder


def told(folder: Path, style: LogFormat = "json", quiet: bool = False) -> list[str]:
    stream = io.StringIO()
    HeadlessFollower(folder, Log(style, stream, quiet, folder.name)).catch_up()
    return stream.getvalue().splitlines()


def parsed(folder: Path, quiet: bool = False) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told(folder, quiet=quiet)]


# ---- one line


def test_a_line_of_text_in_a_file_has_date_zone_and_level() -> None:
    line = Line("note", "a\nb\x1b[2J", "warning", AT)
    assert full_text(line) == "2027-01-15T17:00:00+09:00 warning: a�b�[2J"
    assert full_text(Line("note", "fine", at=AT)) == "2027-01-15T17:00:00+09:00 info: fine"


def test_a_line_on_a_terminal_is_short() -> None:
    assert short_text(Line("note", "fine", at=AT)) == "17:00:00 fine"
    assert short_text(Line("note", "bad", "error", AT)) == "17:00:00 error: bad"


def test_a_line_of_json_has_its_five_keys_first() -> None:
    line = Line("note", "a\nb\x1b", "warning", AT, {"trial": "x", "n": None})
    text = json_line(line, "id", io.StringIO())
    assert text.isprintable()
    assert list(json.loads(text).items()) == [
        ("time", "2027-01-15T17:00:00.125+09:00"),
        ("level", "warning"),
        ("event", "note"),
        ("message", "a\nb\x1b"),
        ("sweep", "id"),
        ("trial", "x"),
        ("n", None),
    ]


def test_a_closed_stream_is_ignored() -> None:
    stream = io.StringIO()
    stream.close()
    log = Log("json", io.StringIO())
    log._stream = stream
    log.say("note", "nobody hears it")


class Pipe(io.StringIO):
    """Counts what reaches the reader."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def flush(self) -> None:
        self.seen.append(self.getvalue())


def test_every_line_is_flushed_as_it_is_said() -> None:
    pipe = Pipe()
    log = Log("json", pipe)
    for count in (1, 2, 3):
        log.say("note", str(count))
        assert pipe.seen[-1].count("\n") == count


# ---- names and figures


def test_every_kind_of_event_has_a_name_or_no_line() -> None:
    assert set(event_text.KINDS) | SILENT == set(get_args(ev.AnyEvent))
    assert not set(event_text.KINDS) & SILENT
    for name, _ in event_text.KINDS.values():
        assert re.fullmatch("[a-z]+(-[a-z]+)*", name)


def test_the_named_figures_are_fields_of_their_events() -> None:
    for kind, (_, fields) in event_text.KINDS.items():
        assert set(fields) <= set(kind.__struct_fields__)  # type: ignore[attr-defined]


def test_the_documented_names_are_used() -> None:
    page = (Path(__file__).parents[4] / "docs" / "headless.md").read_text("utf-8")
    section = page.partition("\n| event | keys")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([a-z-]+)`", section, re.MULTILINE))
    names = {name for name, _ in event_text.KINDS.values()} - {"trial-ended"}
    names |= {f"trial-{status}" for status in ("finished", "diverged", "failed", "skipped")}
    own = {"headless", "sweep-created", "interrupted", "left", "resumable", "conductor-gone"}
    own |= {"weights-missing", "files-kept", "reading", "exporting"}
    assert listed == names | {"trial-stopped", "notice", "paused"} | own


def test_a_whole_history_line_by_line(tmp_path: Path) -> None:
    lines = parsed(written(tmp_path / "the-id", history()))
    assert {line["sweep"] for line in lines} == {"the-id"}
    names = [line["event"] for line in lines]
    assert names[:7] == [
        *("sweep-opened", "note", "data-progress", "data-ready", "worker-ready", "worker-ready"),
        "trial-started",
    ]
    assert names[-1] == "sweep-ended"
    ends = [(line["event"], line["trial"]) for line in lines if line.get("status")]
    assert ends == [
        ("trial-finished", ONE),
        ("trial-stopped", TWO),
        ("trial-failed", THREE),
        ("trial-skipped", FOUR),
        ("trial-finished", TWO),
        ("trial-diverged", THREE),
    ]
    ended = lines[-1]
    assert (ended["state"], ended["exit_code"], ended["reason"]) == ("finished", 0, None)
    assert ended["message"] == "sweep finished, 4 of 4 trials finished, 1 diverged, 1 skipped"


def test_lines_of_one_event_always_have_the_same_keys(tmp_path: Path) -> None:
    lines = parsed(written(tmp_path / "x", history()))
    for name in {line["event"] for line in lines} - {"note"}:
        keys = {tuple(line) for line in lines if line["event"] == name}
        assert len(keys) == 1, (name, keys)


def test_an_epoch_has_the_figures_of_its_trial_and_its_record(tmp_path: Path) -> None:
    events = [opened(), conductor(), started(ONE), epochs(ONE, 1, 1, 2)]
    first, second = [
        line for line in parsed(written(tmp_path / "x", events)) if line["event"] == "epoch"
    ]
    assert says(second["message"], f"{ONE}: epoch 2 of 40 | 0.7500 | 0.5000 | 0.125 s")
    del first["message"], first["time"]
    assert first == {
        "level": "info",
        "event": "epoch",
        "sweep": "x",
        "trial": ONE,
        "configuration": "b8",
        "batch_size": 8,
        "seed": 0,
        "attempt": 1,
        "epoch": 1,
        "epochs": 40,
        "steps": 10,
        "samples": 80,
        "lr": 0.1,
        "train_loss": 0.25,
        "train_accuracy": 0.75,
        "test_loss": 0.5,
        "test_accuracy": 0.5,
        "validation_loss": None,
        "validation_accuracy": None,
        "epoch_seconds": 0.125,
        "stacked": 1,
    }


# ---- which epochs are told


def test_json_has_every_epoch_and_text_one_line_per_event(tmp_path: Path) -> None:
    events = [opened(), conductor(), started(ONE), epochs(ONE, 1, *range(1, 8)), epochs(ONE, 1, 8)]
    folder = written(tmp_path / "x", events)
    found = [line["epoch"] for line in parsed(folder) if line["event"] == "epoch"]
    assert found == list(range(1, 9))
    first, second = (line.partition(": ")[2] for line in told(folder, "text") if "epoch" in line)
    assert says(first, f"{ONE}: epochs 1 to 7 of 40 | 0.7500")
    assert says(second, f"{ONE}: epoch 8 of 40 | 0.7500")


def test_repeated_epochs_of_a_resumed_trial_are_logged_once(tmp_path: Path) -> None:
    events = [
        opened(),
        conductor(),
        started(ONE),
        epochs(ONE, 1, 1, 2, 3),
        epochs(ONE, 1, 2, 3, 4, 5),  # as after a checkpoint
        epochs(ONE, 1, 4, 5),
        started(ONE, 2),
        epochs(ONE, 1, 6),  # of an attempt that was given up
        epochs(ONE, 2, 1, 2),
    ]
    lines = parsed(written(tmp_path / "x", events))
    found = [(line["attempt"], line["epoch"]) for line in lines if line["event"] == "epoch"]
    assert found == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 1), (2, 2)]


def test_a_download_is_logged_at_each_tenth(tmp_path: Path) -> None:
    steps: list[ev.AnyEvent] = [
        ev.DataProgress(name="mnist", received=n * 1000, total=1_000_000) for n in range(1001)
    ]
    lines = parsed(written(tmp_path / "x", [opened(), *steps]))
    found = [line["received"] for line in lines if line["event"] == "data-progress"]
    assert len(found) in (10, 11)
    assert all(later - sooner >= 100_000 for sooner, later in pairwise(found))


# ---- quiet, and where there is a display


def test_quiet_keeps_warnings_and_errors(tmp_path: Path) -> None:
    folder = written(tmp_path / "x", history())
    everything, quiet = parsed(folder), parsed(folder, quiet=True)
    assert quiet == [line for line in everything if line["level"] in ("warning", "error")]
    assert {line["level"] for line in quiet} == {"warning", "error"}


class Seen:
    """A display that remembers what it was given."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.calls: list[str] = []

    def scroll(self, lines: Any) -> None:
        self.lines += lines
        self.calls.append("scroll")

    def draw(self, state: SweepState, alive: bool, stopping: bool) -> None:
        self.calls.append("draw")

    def close(self) -> None:
        self.calls.append("close")


def test_with_a_display_lines_are_printed_together_above_it(tmp_path: Path) -> None:
    seen, stream = Seen(), io.StringIO()
    log = Log("text", stream, display=seen)
    follower = HeadlessFollower(written(tmp_path / "x", history()), log)
    follower.catch_up()
    assert seen.calls == []
    log.draw(follower.state, True)
    assert seen.calls == ["scroll", "draw"]
    assert len(seen.lines) == len(told(follower.folder, "text"))
    log.close()
    assert seen.calls[-1] == "close"
    assert stream.getvalue() == ""
    log.say("note", "after it")
    assert stream.getvalue().endswith(" info: after it\n")


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_when_a_display_is_used() -> None:
    able = {"TERM": "xterm-256color"}
    assert has_display(Tty(), "text", False, able)
    assert not has_display(io.StringIO(), "text", False, able)
    assert not has_display(Tty(), "json", False, able)
    assert not has_display(Tty(), "text", True, able)
    for environment in ({"TERM": "dumb"}, {"TERM": "unknown"}, {}):
        assert not has_display(Tty(), "text", False, environment)


def test_values_that_are_not_numbers_are_null(tmp_path: Path) -> None:
    event = ev.SharpnessMeasured(
        trial=ONE, attempt=1, steps=1, epsilon=1e-3, dimensions=None, samples=9, loss=None,
        highest_loss=None, sharpness=None, evaluations=1, iterations=1, seconds=0.5, reason="",
    )  # fmt: skip
    (line,) = [
        line
        for line in parsed(written(tmp_path / "x", [opened(), conductor(), started(ONE), event]))
        if line["event"] == "sharpness-measured"
    ]
    assert (line["sharpness"], line["reason"], line["epsilon"]) == (None, None, 1e-3)
    assert msgspec.json.encode(line)
