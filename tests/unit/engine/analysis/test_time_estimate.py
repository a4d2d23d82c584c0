"""Estimates in closed form, on sweeps whose every number was chosen."""

import pytest
from msgspec.structs import replace

from batchscope.engine.analysis.time_estimate import (
    MULTIPLY_ADDS_PER_SECOND,
    SECONDS_PER_STEP,
    SECONDS_PER_WEIGHT_DRAWN,
    START_SECONDS,
    Remaining,
    probe_seconds,
    remaining,
    sweep_seconds,
    trial_remaining,
    trial_seconds,
)
from batchscope.engine.journal.events import AnyEvent, Probed, TrialStarted, TrialStatus
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.schedule.course import totals as planned
from batchscope.engine.spec import Configuration, Model, Probe, Schedule
from tests.unit.training_fixtures import (
    conductor,
    configuration,
    ended,
    epochs,
    opened,
    progress,
    record,
    started,
    worker,
)

# One layer from 64 pixels to 10 classes.
MULTIPLY_ADDS = 640
TRAIN, TEST = 1437, 360


def fold(*configurations: Configuration, events: list[AnyEvent]) -> SweepState:
    return SweepState().fold([*opened(configurations), *events])


def predicted(steps: int, samples: int, evaluated: float) -> float:
    """Steps, three passes over each sample trained, one over each evaluated."""
    work = (3 * samples + evaluated) * MULTIPLY_ADDS
    return steps * SECONDS_PER_STEP + work / MULTIPLY_ADDS_PER_SECOND


def left(state: SweepState, now: float) -> tuple[float, bool]:
    found = remaining(state, now)
    assert found is not None
    return found.seconds, found.measured


# ---- before anything runs


@pytest.mark.parametrize(
    ("batch_size", "epochs", "steps"), [(1437, 1, 1), (64, 4, 92), (1, 2, 2874), (5000, 3, 3)]
)
def test_seconds_of_a_trial(batch_size: int, epochs: int, steps: int) -> None:
    """Both figures of an epoch are taken on 360 images."""
    found = trial_seconds(configuration(batch_size, epochs=epochs).settings)
    assert found == pytest.approx(predicted(steps, epochs * TRAIN, epochs * 2 * TEST))


def test_a_smaller_training_set_costs_less() -> None:
    found = trial_seconds(configuration(50, epochs=3).settings, train_size=100)
    assert found == pytest.approx(predicted(6, 300, 3 * 2 * 100))


def test_a_budget_in_seconds_lasts_as_long() -> None:
    assert trial_seconds(configuration(64, seconds=12.5).settings) == 12.5


def test_smaller_batches_and_larger_networks_take_longer() -> None:
    sizes = [trial_seconds(configuration(size).settings) for size in (512, 64, 8, 1)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4
    small = configuration(64).settings
    large = configuration(64, model=Model(name="mlp", hidden=(1024, 1024))).settings
    assert trial_seconds(large) > trial_seconds(small)


@pytest.mark.parametrize(("cores", "slots"), [(1, 1), (2, 2), (5, 5), (64, 5), (0, 1)])
def test_seconds_of_a_sweep_with_one_trial_a_core(cores: int, slots: int) -> None:
    sweep = (configuration(8, seeds=3), configuration(64, seeds=2))
    work = 3 * trial_seconds(sweep[0].settings) + 2 * trial_seconds(sweep[1].settings)
    assert sweep_seconds(sweep, cores) == pytest.approx(START_SECONDS + work / slots)


PROBE = Probe(at=(0, 0.5), batch_sizes=(1, 64, 9999), draws=100, pairs=((1, 4),), pair_draws=10)


def test_seconds_of_a_probe() -> None:
    """A size beyond the data is the whole data; a pair takes each of its images twice."""
    gradients = 300 + 10 * 5
    samples = 100 * (1 + 64 + TRAIN) + 10 * 8
    expected = predicted(gradients, samples, 0) + gradients * 650 * SECONDS_PER_WEIGHT_DRAWN
    probed, plain = configuration(64, probe=PROBE).settings, configuration(64).settings
    assert probe_seconds(probed, TRAIN) == pytest.approx(expected)
    assert trial_seconds(probed) - trial_seconds(plain) == pytest.approx(2 * expected)


def test_probing_is_no_training() -> None:
    """23 of 92 steps in 6 s, beside 10 s of probing: 18 s of training are left, and a probe."""
    b64 = configuration(64, probe=PROBE)
    probed = Probed(
        trial="b64-s0", attempt=1, at_share=0.0, epoch=0, steps=0, samples=0, seconds=10.0
    )
    events = [
        worker(0),
        started(b64, at=100),
        probed,
        epochs(b64, record(1, steps=23), at=116),
    ]
    state = fold(b64, events=events)
    assert trial_remaining(state, state.trials["b64-s0"], now=116) == pytest.approx(18 + 10)


# ---- while it runs


def test_nothing_is_known_of_a_sweep_that_is_not_there() -> None:
    assert remaining(SweepState(), now=10.0) is None


@pytest.mark.parametrize(("workers", "slots"), [(0, 1), (1, 1), (2, 2), (8, 4)])
def test_before_the_first_trial_it_is_the_prediction(workers: int, slots: int) -> None:
    """Never less than the longest trial, however many workers there are."""
    b64 = configuration(64, seeds=4)
    state = fold(b64, events=[worker(number) for number in range(workers)])
    expected = 4 * predicted(92, 4 * TRAIN, 4 * 2 * TEST) / slots
    assert left(state, now=50.0) == pytest.approx((expected, False))


def test_a_measured_trial_takes_the_place_of_the_prediction() -> None:
    """One took 10 s, so the three that are queued take 10 s each, on two workers."""
    b64 = configuration(64, seeds=4)
    events = [worker(0), worker(1), started(b64, at=100), ended(b64, at=110)]
    assert left(fold(b64, events=events), now=110) == pytest.approx((15, True))


def test_a_running_trial_counts_what_is_left_of_it() -> None:
    """23 of 92 steps in 6 s: 24 s in all, 18 s left, and 24 s for the one in the queue."""
    b64 = configuration(64, seeds=2)
    events = [worker(0), started(b64, at=100), epochs(b64, record(1, steps=23), at=106)]
    state = fold(b64, events=events)
    assert left(state, now=106) == pytest.approx((18 + 24, True))


def test_progress_within_an_epoch_counts() -> None:
    """46 of 92 steps in 12 s."""
    b64 = configuration(64)
    events = [
        worker(0),
        started(b64, at=100),
        epochs(b64, record(1, steps=23), at=106),
        progress(b64, at=112, steps=46),
    ]
    assert left(fold(b64, events=events), now=112) == pytest.approx((12, True))


def test_one_measured_configuration_corrects_the_others_in_proportion() -> None:
    b8, b64 = configuration(8), configuration(64)
    events = [worker(0), started(b8, at=0), ended(b8, at=100)]
    factor = 100 / trial_seconds(b8.settings)
    expected = factor * trial_seconds(b64.settings)
    state = fold(b8, b64, events=events)
    assert left(state, now=100) == pytest.approx((expected, True))


def test_two_measured_configurations_correct_by_their_mean_factor() -> None:
    b8, b32, b64 = configuration(8), configuration(32), configuration(64)
    events = [
        worker(0),
        *[started(b8, at=0), ended(b8, at=100)],
        *[started(b32, at=100), ended(b32, at=104)],
    ]
    factors = 100 / trial_seconds(b8.settings), 4 / trial_seconds(b32.settings)
    expected = sum(factors) / 2 * trial_seconds(b64.settings)
    state = fold(b8, b32, b64, events=events)
    assert left(state, now=104) == pytest.approx((expected, True))


def test_the_longest_trial_is_the_least_that_is_left() -> None:
    b8, b64 = configuration(8), configuration(64)
    events = [
        *[worker(0), worker(1)],
        *[started(b8, at=0), epochs(b8, record(1, steps=180), at=10)],  # of 720: 30 s left
        *[started(b64, at=0), epochs(b64, record(3, steps=69), at=9)],  # of 92
    ]
    assert left(fold(b8, b64, events=events), now=10) == pytest.approx((30, True))


def test_nothing_is_left_of_a_sweep_that_is_over() -> None:
    b64 = configuration(64, seeds=3)
    statuses: list[TrialStatus] = ["finished", "diverged", "failed"]
    events: list[AnyEvent] = []
    for seed, status in enumerate(statuses):
        events += [started(b64, seed, at=0), ended(b64, seed, at=5, status=status)]
    assert remaining(fold(b64, events=events), now=9) == Remaining(0.0, True)


def test_after_a_resume_an_unfinished_trial_begins_anew() -> None:
    """It took 10 s for three quarters of its steps, none of which count any more."""
    b64 = configuration(64, seeds=2)
    events = [
        worker(0),
        *[started(b64, at=0), ended(b64, at=20)],
        *[started(b64, 1, at=20), epochs(b64, record(3, steps=69), seed=1, at=30)],
        conductor(at=500.0),
        worker(0),
    ]
    assert left(fold(b64, events=events), now=501) == pytest.approx((20, True))


def test_a_budget_in_seconds_runs_down() -> None:
    b64 = configuration(64, seconds=60.0)
    events = [
        worker(0),
        started(b64, at=100),
        epochs(b64, record(1, steps=23, seconds=10), at=110),
        progress(b64, at=145, steps=92, seconds=45.0),
    ]
    assert left(fold(b64, events=events), now=145)[0] == pytest.approx(15, abs=1)


@pytest.mark.parametrize(("steps", "seconds", "rest"), [(23, 10, 30), (46, 10, 10), (69, 9, 3)])
def test_seconds_until_one_trial_ends(steps: int, seconds: float, rest: float) -> None:
    b64 = configuration(64)
    state = fold(b64, events=[started(b64, at=100), epochs(b64, record(1, steps=steps), at=101)])
    trial = state.trials["b64-s0"]
    assert trial_remaining(state, trial, now=100 + seconds) == pytest.approx(rest)


def test_a_trial_without_a_pace_has_no_end_in_sight() -> None:
    b64 = configuration(64, seeds=2)
    state = fold(b64, events=[started(b64, at=100), progress(b64, at=100.1, steps=1)])
    assert trial_remaining(state, state.trials["b64-s0"], now=101) is None  # 1 of 92 steps
    assert trial_remaining(state, state.trials["b64-s1"], now=101) is None  # in the queue


def test_a_finished_trial_has_nothing_left() -> None:
    b64 = configuration(64)
    state = fold(b64, events=[started(b64, at=100), ended(b64, at=110)])
    assert trial_remaining(state, state.trials["b64-s0"], now=150) == 0.0
    assert remaining(state, now=150) == Remaining(0.0, True)


# ---- where the batch size changes


GROWING = Schedule(kind="step", at=(0.5,), factor=10, by="batch")


def growing(*, epochs: int | None = 4, steps: int | None = None) -> Configuration:
    """Two epochs of 96 steps at 15 images, two of ten at 150."""
    of = configuration(15, epochs=epochs)
    train = replace(of.settings.train, steps=steps)
    return replace(of, settings=replace(of.settings, train=train, schedule=GROWING))


def begun(of: Configuration, total_steps: int, total_samples: int) -> AnyEvent:
    event = started(of)
    assert isinstance(event, TrialStarted)
    return replace(event, total_steps=total_steps, total_samples=total_samples)


def test_seconds_of_a_trial_whose_batch_grows() -> None:
    found = trial_seconds(growing().settings)
    assert found == pytest.approx(predicted(2 * 96 + 2 * 10, 4 * TRAIN, 4 * 2 * TEST))


def test_the_share_of_a_budget_in_epochs_is_one_of_its_images() -> None:
    """192 of 212 steps are half of the epochs; the time left is by what the rest should take."""
    of = growing()
    half = replace(record(2, steps=192), samples=2 * TRAIN)
    state = fold(of, events=[worker(0), begun(of, 212, 4 * TRAIN), epochs(of, half, at=10.0)])
    trial = state.trials["b15-s0"]
    assert trial.fraction == 0.5
    whole = predicted(212, 4 * TRAIN, 8 * TEST)
    done = predicted(192, 2 * TRAIN, 4 * TEST) / whole
    assert done > 0.5
    assert trial_remaining(state, trial, 10.0) == pytest.approx(10 * (1 / done - 1))
    assert left(state, 10.0)[0] == pytest.approx(10 / done * (1 - done))


def test_of_a_budget_in_steps_it_stays_one_of_the_steps() -> None:
    of = growing(epochs=None, steps=200)
    samples = planned(of.settings, TRAIN)
    assert samples is not None
    half = replace(record(2, steps=100), samples=1500)
    state = fold(of, events=[begun(of, 200, samples.samples), epochs(of, half, at=10.0)])
    assert state.trials["b15-s0"].fraction == 0.5
