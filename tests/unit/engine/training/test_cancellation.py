"""A pause: what it does to a training (nothing), to its clock, and to the fold."""

import itertools
import threading
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis.time_estimate import remaining, trial_remaining
from batchscope.engine.journal import events as ev
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Probe, Train
from batchscope.engine.training.batches import Images, load_images
from batchscope.engine.training.cancellation import PauseGate
from tests.unit.training_fixtures import (
    CPU,
    Run,
    conductor,
    configuration,
    ended,
    make_trial,
    opened,
    progress,
    started,
    synthetic,
    untimed,
    worker,
)

TRAIN = Train(batch_size=20, lr=0.05, epochs=3)
B64 = configuration(64)  # four epochs of 23 steps
PROBE = Probe(at=(0, 0.5), batch_sizes=(5,), draws=4)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return load_images(synthetic(tmp_path_factory.mktemp("small"), train=50, test=20), CPU)


def pausing_at(pause: PauseGate, *calls: int) -> Callable[[], bool]:
    """Begin a pause at these checks for a halt, as another thread would."""
    count = itertools.count(1)

    def look() -> bool:
        if next(count) in calls:
            pause.begin()
            threading.Timer(0.05, pause.lift).start()
        return False

    return look


@pytest.mark.parametrize("calls", [(1,), (2, 3, 5), (9,)])
def test_a_pause_changes_no_figure(calls: tuple[int, ...], small: Images) -> None:
    trial = make_trial(TRAIN, probe=PROBE)
    pause = PauseGate()
    held, whole = (
        Run(trial, small, halted=pausing_at(pause, *calls), pause=pause),
        Run(trial, small),
    )
    assert pause.seconds > 0
    assert held.ended.status == "finished"
    assert [untimed(r) for r in held.records] == [untimed(r) for r in whole.records]
    assert [replace(p, seconds=0.0) for p in held.probes] == [
        replace(p, seconds=0.0) for p in whole.probes
    ]


class Long(PauseGate):
    """A pause of an hour, on a clock that advances a second each step."""

    now = 1000.0

    def wait(self) -> None:
        if self.requested:
            self.now += 3600.0
            self.seconds += 3600.0
            self.lift()


def test_a_pause_is_off_the_clock(small: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    pause, calls = Long(), itertools.count(1)
    monkeypatch.setattr(time, "perf_counter", lambda: pause.now)

    def a_second_a_step() -> bool:
        pause.now += 1.0
        if next(calls) in (2, 7):
            pause.begin()
        return False

    train = replace(TRAIN, epochs=None, seconds=7.5)
    run = Run(make_trial(train), small, halted=a_second_a_step, pause=pause)
    assert pause.now > 1000.0 + 7200.0
    assert [(r.steps, r.seconds) for r in run.records] == [(3, 3.0), (6, 3.0), (8, 2.0)]
    reported = [event.seconds for event in run.events if isinstance(event, ev.Progress)]
    assert reported == [2.0, 7.0], "the progress at each pause"


def test_a_probe_does_not_count_a_pause(small: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Long()
    monkeypatch.setattr(time, "perf_counter", lambda: pause.now)
    pause.begin()
    run = Run(make_trial(TRAIN, probe=PROBE), small, pause=pause)
    assert pause.seconds == 3600.0
    assert [probed.seconds for probed in run.probes] == [0.0, 0.0]


def test_a_paused_training_can_be_halted(small: Images) -> None:
    pause, halt = PauseGate(), threading.Event()
    pause.begin()

    def end() -> None:
        halt.set()
        pause.lift()

    threading.Timer(0.05, end).start()
    run = Run(make_trial(TRAIN), small, halted=halt.is_set, pause=pause)
    assert (run.ended.status, run.training.at.steps) == ("stopped", 0)


# ---- the fold


def paused(at: float) -> ev.AnyEvent:
    return ev.SweepPaused(at=at)


def goes_on(at: float) -> ev.AnyEvent:
    return ev.SweepContinued(at=at)


def state_after(*events: ev.AnyEvent) -> SweepState:
    return SweepState().fold([*opened([B64]), worker(0), *events])


def test_the_phase_is_paused_only_while_a_conductor_runs() -> None:
    state = state_after(paused(10.0))
    assert state.phase(alive=True) == "paused"
    assert state.phase(alive=False) == "interrupted"
    assert state.fold([goes_on(15.0)]).phase(alive=True) == "running"
    assert state.fold([paused(16.0), conductor(20.0), worker(0)]).phase(alive=True) == "running"
    first, end, second = [line.text.lower() for line in state.log][-5:-2]
    assert "pause" in first
    assert "5 s" in end
    assert "pause" in second


@pytest.mark.parametrize(
    ("since", "until", "seconds"),
    [(0, 5, 0), (0, 12, 2), (11, 12, 1), (0, 40, 15), (13, 40, 12), (20, 29, 0), (35, 60, 25)],
)
def test_seconds_of_pauses_between_two_moments(since: float, until: float, seconds: float) -> None:
    """From 10 to 15, and from 30 on."""
    events = [paused(10.0), paused(11.0), goes_on(15.0), goes_on(16.0), paused(30.0)]
    assert state_after(*events).paused_between(since, until) == seconds


def test_a_sweep_that_has_ended_is_no_longer_paused() -> None:
    end = ev.SweepEnded(at=20.0, state="stopped", seconds=1.0, trials=1, finished=0, failed=0)
    state = state_after(paused(10.0), end)
    assert state.paused_at is None
    assert state.phase(alive=False) == "stopped"
    assert state.paused_between(0.0, 100.0) == 10.0


def test_the_remaining_time_does_not_fall_during_a_pause() -> None:
    half = [started(B64, at=100.0), progress(B64, steps=46, seconds=10.0)]
    running, held = state_after(*half), state_after(*half, paused(110.0))
    trial = held.trials["b64-s0"]
    assert trial_remaining(held, trial, 110.0) == trial_remaining(held, trial, 500.0) == 10.0
    assert remaining(held, 500.0) == remaining(running, 110.0)
    over = held.fold([goes_on(210.0), ended(B64, at=220.0)])
    more = SweepState().fold([*opened([configuration(64, seeds=2)]), worker(0), *half])
    more.fold([paused(110.0), goes_on(210.0), ended(B64, at=220.0)])
    left = remaining(more, 220.0)
    assert over.count("finished") == 1
    assert left is not None
    assert left.seconds == pytest.approx(20.0), "the pace of the first, without its pause"
