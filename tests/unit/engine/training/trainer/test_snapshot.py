"""A training that is interrupted and resumed has the same bits as one that was not."""

import errno
import io
import os
import pickle
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from batchscope.engine.checkpoints import file as checkpoints
from batchscope.engine.journal import events as ev
from batchscope.engine.planning.plan import make_plan
from batchscope.engine.training.batches import Images
from batchscope.engine.training.trainer import checkpointing, trainer
from batchscope.engine.training.trainer.state import TrainingState
from batchscope.engine.training.trainer.trainer import Trainer
from tests.unit.engine.training.trainer.snapshot_fixtures import (
    ALWAYS,
    CASES,
    Chain,
    Crash,
    after,
    crash,
    images,
    job_of,
    same,
    trial_of,
    undisturbed,
)
from tests.unit.training_fixtures import make_trial

__all__ = ["images"]


@pytest.mark.parametrize("apart", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_a_training_halted_every_few_steps_is_the_same(
    name: str, apart: int, images: Images, tmp_path: Path
) -> None:
    """A probe checks before every draw, up to ten times, so it is interrupted within, too."""
    trial = CASES[name]
    chain = Chain(trial, images, tmp_path)
    calls = apart + (9 if trial.settings.probe.at else 0)
    while True:
        training = chain.attempt(after(calls, lambda: True))
        last = chain.events[-1]
        assert isinstance(last, ev.TrialEnded)
        if last.status != "stopped":
            break
        assert chain.attempts < 200
    same(chain.outcome(training), undisturbed(trial, images))
    assert chain.attempts > 1
    assert None not in chain.resumed()[1:]


@pytest.fixture
def durable_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_SECONDS", -1.0)
    monkeypatch.setattr(trainer, "WITHIN_SECONDS", -1.0)
    monkeypatch.setattr(checkpointing, "MOST_SHARE", ALWAYS)


@pytest.mark.usefixtures("durable_all_the_time")
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("name", ["batch-norm", "probed"])
def test_a_training_killed_at_any_step_resumes_from_its_last_checkpoint(
    name: str, lost: bool, images: Images, tmp_path: Path
) -> None:
    """Also if all events of the killed attempt were `lost` before the journal."""
    trial, expected = CASES[name], undisturbed(CASES[name], images)
    apart = 4 if trial.settings.probe.at else 1
    for calls in range(int(lost), 40, apart):
        chain = Chain(trial, images, tmp_path / str(calls))
        try:
            training = chain.attempt(after(calls, crash))
        except Crash:
            stated = chain.resumed()
            assert stated == [None]
            if lost:
                chain.events.clear()
            training = chain.attempt(lambda: False)
        same(chain.outcome(training), expected)
        if chain.attempts == 1:
            break
        known = [e for e in chain.events if isinstance(e, ev.TrialStarted)][-1]
        assert known.resumed_epochs <= 3


@pytest.mark.usefixtures("durable_all_the_time")
def test_an_epoch_is_reported_after_it_is_in_a_checkpoint(images: Images, tmp_path: Path) -> None:
    """At each event, read the epochs that the files hold."""
    trial, held = CASES["adam"], list[tuple[int, int]]()
    chain = Chain(trial, images, tmp_path)

    def note(event: ev.AnyEvent) -> None:
        if isinstance(event, ev.EpochsFinished) and not event.last:
            header, _ = checkpoints.read(tmp_path / checkpoints.CURRENT)
            held.append((event.records[-1].steps, header.steps))

    job = job_of(trial, chain.plan, 1, tmp_path)
    Trainer(job, images, note, lambda: False).run()
    assert held == [(4, 4), (8, 8)]


def test_a_budget_in_seconds_continues_after_a_resume(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0

    def second() -> bool:
        nonlocal now
        now += 1.0
        return False

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    chain = Chain(trial_of(epochs=None, seconds=10.0), images, tmp_path)

    def halting() -> Iterator[bool]:
        yield from (second() for _ in range(6))
        yield True

    asked = halting()
    first = chain.attempt(lambda: next(asked))
    assert (first.at.steps, first.clock.seconds) == (6, 6.0)
    second_half = chain.attempt(second)
    assert (second_half.at.steps, second_half.clock.seconds) == (10, 10.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"plan": True}, "plan"),
        ({"digest": "another"}, "images"),
        ({"seed": 1}, "settings"),
    ],
)
def test_a_checkpoint_of_another_training_is_skipped(
    change: dict[str, object], word: str, images: Images, tmp_path: Path
) -> None:
    trial = CASES["sgd"]
    chain = Chain(trial, images, tmp_path)
    chain.attempt(after(5, lambda: True))
    other = make_trial(trial.settings.train, seed=1) if "seed" in change else trial
    plan = make_plan(other, images.train_size, threads=1)
    if "plan" in change:
        plan = msgspec.structs.replace(plan, micro_batch_size=7)
    events: list[ev.AnyEvent] = []
    digest = str(change.get("digest", "digest"))
    job = job_of(other, plan, 2, tmp_path, digest)
    Trainer(job, images, events.append, lambda: False).run()
    note, started = events[:2]
    assert isinstance(note, ev.Note)
    assert "checkpoint.pt" in note.text
    assert word in note.text
    assert isinstance(started, ev.TrialStarted)
    assert started.resumed_steps is None


def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(
    images: Images, tmp_path: Path
) -> None:
    trial = CASES["adam"]
    chain = Chain(trial, images, tmp_path)
    chain.attempt(after(3, lambda: True))
    chain.attempt(after(4, lambda: True))
    path = tmp_path / checkpoints.CURRENT
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    training = chain.attempt(lambda: False)
    assert chain.resumed() == [None, 3, 3]
    notes = [event.text for event in chain.events if isinstance(event, ev.Note)]
    assert len(notes) == 1
    assert "checkpoint.pt" in notes[0]
    assert not path.exists(), "it must not take the place of the whole one"
    header, _ = checkpoints.read(tmp_path / checkpoints.PREVIOUS)
    assert header.steps == 3
    same(chain.outcome(training), undisturbed(trial, images))


def test_a_checkpoint_that_torch_cannot_read_is_skipped_without_a_trace(
    images: Images, tmp_path: Path
) -> None:
    trial = CASES["adam"]
    checkpoints.write(tmp_path, 1, 5, b"whole, but no checkpoint of torch")
    chain = Chain(trial, images, tmp_path)
    training = chain.attempt(lambda: False)
    (note,) = [event for event in chain.events if isinstance(event, ev.Note)]
    assert "checkpoint.pt" in note.text
    assert "UnpicklingError" in note.text
    same(chain.outcome(training), undisturbed(trial, images))


def other_payload(kind: str, payload: bytes) -> bytes:
    """What somebody may put into a checkpoint whose checksums are right."""
    if kind == "nested":
        buffer = io.BytesIO()
        torch.save([], buffer)
        whole, written = zipfile.ZipFile(buffer), io.BytesIO()
        with zipfile.ZipFile(written, "w") as archive:
            for name in whole.namelist():
                deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
                archive.writestr(name, deep if name.endswith("data.pkl") else whole.read(name))
        return written.getvalue()
    content = torch.load(io.BytesIO(payload), weights_only=True)
    if kind == "nested members":
        content["members"] = b"\x91" * 100_000
    elif kind == "huge weights":
        content["weights"] = torch.zeros(1).expand(1 << 40)
    elif kind == "huge moments":
        content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1).expand(1 << 44)
    elif kind == "short moments":  # over whose end a fused loop would run
        content["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1, 3)
    elif kind == "a view of one moment":
        moments = content["optimizer"]["state"][0]["exp_avg_sq"]
        content["optimizer"]["state"][0]["exp_avg_sq"] = torch.zeros(1, 1).expand(moments.shape)
    elif kind == "no position":
        del content["position"]
    buffer = io.BytesIO()
    torch.save(content if kind != "a list" else [content], buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    [
        *("nested", "nested members", "huge weights", "huge moments", "short moments"),
        *("a view of one moment", "no position", "a list"),
    ],
)
def test_a_checkpoint_with_other_content_is_skipped_without_a_trace(
    kind: str, images: Images, tmp_path: Path
) -> None:
    trial = CASES["adam"]
    chain = Chain(trial, images, tmp_path)
    chain.attempt(after(5, lambda: True))
    header, payload = checkpoints.read(tmp_path / checkpoints.CURRENT)
    checkpoints.write(tmp_path, header.attempt, header.steps, other_payload(kind, payload))
    (tmp_path / checkpoints.PREVIOUS).unlink()
    training = chain.attempt(lambda: False)
    (note,) = [event for event in chain.events if isinstance(event, ev.Note)]
    assert note.text.startswith("checkpoint.pt is passed over: ")
    assert chain.resumed() == [None, None]
    same(chain.outcome(training), undisturbed(trial, images))


@pytest.mark.parametrize("how", ["fifo", "folder", "link", "sparse"])
def test_other_things_in_the_place_of_a_checkpoint_are_skipped(
    how: str, images: Images, tmp_path: Path
) -> None:
    trial = CASES["adam"]
    chain = Chain(trial, images, tmp_path)
    chain.attempt(after(3, lambda: True))
    chain.attempt(after(4, lambda: True))
    path = tmp_path / checkpoints.CURRENT
    if how == "sparse":
        os.truncate(path, 1 << 40)
    else:
        path.unlink()
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to("/dev/zero")
    training = chain.attempt(lambda: False)
    assert chain.resumed() == [None, 3, 3]
    why = {"fifo": "is not a regular file", "folder": "is a folder", "sparse": "it has 1,099,511"}
    (note,) = [event.text for event in chain.events if isinstance(event, ev.Note)]
    assert note.startswith(f"checkpoint.pt is passed over: {why.get(how, 'Too many levels')}")
    same(chain.outcome(training), undisturbed(trial, images))


class Evil:
    """Creates a file when unpickled; it could also delete some."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch", "legacy torch", "pickle"])
def test_a_checkpoint_cannot_execute_code(form: str, images: Images, tmp_path: Path) -> None:
    """Its checksums are right, as those of an attacker would be."""
    made, trial = tmp_path / "made", CASES["sgd"]
    content = {"trial": Evil(made), "weights": torch.zeros(3)}
    buffer = io.BytesIO()
    if form == "pickle":
        pickle.dump(content, buffer, protocol=2)
    else:
        torch.save(content, buffer, _use_new_zipfile_serialization=form == "torch")
    chain = Chain(trial, images, tmp_path / "kept")
    checkpoints.write(chain.folder, 1, 5, buffer.getvalue())
    training = chain.attempt(lambda: False)
    assert not made.exists()
    (note,) = [event for event in chain.events if isinstance(event, ev.Note)]
    assert "checkpoint.pt" in note.text
    assert "UnpicklingError" in note.text
    same(chain.outcome(training), undisturbed(trial, images))


@pytest.mark.usefixtures("durable_all_the_time")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_an_epoch_in_no_checkpoint_is_not_reported_before_the_end(
    number: int, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while the disk has room for the journal but for no checkpoint."""
    trial, real = CASES["adam"], checkpoints.write
    chain, asked = Chain(trial, images, tmp_path), list[int]()

    def write(folder: Path, attempt: int, steps: int, payload: bytes) -> None:
        asked.append(steps)
        if steps < 8:
            raise OSError(number, os.strerror(number))
        real(folder, attempt, steps, payload)

    monkeypatch.setattr(checkpoints, "write", write)
    held: list[tuple[int, int]] = []

    def note(event: ev.AnyEvent) -> None:
        chain.events.append(event)
        if isinstance(event, ev.EpochsFinished):
            header = checkpoints.latest_header(tmp_path)
            held.append((event.records[-1].epoch, header.steps if header else 0))

    job = job_of(trial, chain.plan, 1, tmp_path)
    trainer = Trainer(job, images, note, lambda: False)
    training = trainer.training
    trainer.run()
    assert held == [(1, 8), (2, 8), (3, 11)], "four steps an epoch, and the last with the end"
    assert min(asked) < 8
    notes = [event.text for event in chain.events if isinstance(event, ev.Note)]
    assert len(notes) == 2, "one for the refusal and one for its end"
    assert os.strerror(number) in notes[0]
    assert "again" in notes[1]
    same(chain.outcome(training), undisturbed(trial, images))


def test_training_continues_when_the_disk_refuses_checkpoints(
    images: Images, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be made here")
    trial = CASES["sgd"]
    chain = Chain(trial, images, blocked / "sweep" / "trials" / "trial")
    training = chain.attempt(after(9, lambda: True))
    notes = [event.text for event in chain.events if isinstance(event, ev.Note)]
    assert len(notes) == 1
    assert "Not a directory" in notes[0]
    assert training.at.steps == 9
    last = chain.events[-1]
    assert isinstance(last, ev.TrialEnded)
    assert last.status == "stopped"


def test_an_abandoned_attempt_does_not_overwrite_a_later_one(
    images: Images, tmp_path: Path
) -> None:
    trial = CASES["sgd"]
    chain = Chain(trial, images, tmp_path)
    late: list[TrainingState] = []

    def freeze() -> bool:
        """While the first attempt sleeps, a second one trains and is halted."""
        late.append(Chain.attempt(other, after(6, lambda: True)))
        return True

    other = Chain(trial, images, tmp_path)
    other.attempts = 1
    with pytest.raises(checkpoints.Superseded, match="attempt 2"):
        chain.attempt(after(3, freeze))
    header, _ = checkpoints.read(tmp_path / checkpoints.CURRENT)
    assert (header.attempt, header.steps) == (2, 6)
