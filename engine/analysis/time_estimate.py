"""Estimates how long a sweep takes, before and while it runs.

Before anything is measured the estimate is the number of steps and multiply-adds ÷ rates typical of
one CPU core; it is right within a factor of about three. Once trials run, the measured seconds of
each configuration replace it, and correct the estimates of the others in proportion.
"""

from dataclasses import dataclass
from statistics import fmean

from batchscope.engine.data.catalog import DATASETS
from batchscope.engine.data.validation_split import training_size, validation_size
from batchscope.engine.journal.fresh_seeds import seeds_after, undecided
from batchscope.engine.journal.sweep_state import SweepState, TrialState
from batchscope.engine.networks.architectures import multiply_adds, weights
from batchscope.engine.schedule.course import totals
from batchscope.engine.schedule.probe_sizes import competing_pairs, drawn_sizes
from batchscope.engine.schedule.target import has_target
from batchscope.engine.spec import Configuration, Settings

SECONDS_PER_STEP = 3.5e-4
SECONDS_PER_EXCHANGE, SECONDS_PER_WEIGHT_EXCHANGED = 1.5e-3, 1e-8
MULTIPLY_ADDS_PER_SECOND = 1.2e10
PASSES = 3  # forward, and twice its cost backward (gradients of inputs and of weights)
SECONDS_PER_WEIGHT_DRAWN = 8e-9  # norms, bins and moments of one gradient
START_SECONDS = 5.0
LOOKS = 2  # evaluations for each iteration of a search for the sharpness
SECONDS_PER_WEIGHT_CLIMBED = 2e-7  # of L-BFGS-B in an iteration
UNKNOWN_SAMPLES, UNKNOWN_SECONDS = 10_000, 1e-4
"""Training samples of a task, and seconds of a sample's forward pass, before it has run."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """Seconds until the sweep ends; `measured` says whether they rest on any measurement."""

    seconds: float
    measured: bool


def trial_seconds(settings: Settings, train_size: int | None = None) -> float:
    """Return the expected seconds of one trial, on one CPU core for each of its workers.

    `train_size` includes the images that are held out.
    """
    train = settings.train
    if train.seconds is not None:
        return train.seconds
    images = train_size or _published(settings)
    size = training_size(settings.data, images)
    whole = totals(settings, size)
    assert whole is not None, "it is not counted in seconds"
    probing = len(settings.probe.at) * probe_seconds(settings, size)
    sharp = len(settings.sharpness.epsilon) * box_seconds(settings, size)
    steps, samples = whole
    return _work_seconds(settings, images, steps, samples) + probing + sharp


def _work_seconds(settings: Settings, images: int, steps: int, samples: int) -> float:
    """Return the expected seconds of `steps` and `samples`, evaluations included."""
    workers = settings.run.data_parallel
    evaluated = samples / training_size(settings.data, images) * _evaluated(settings, images)
    step = SECONDS_PER_STEP
    if workers > 1:
        step += SECONDS_PER_EXCHANGE + SECONDS_PER_WEIGHT_EXCHANGED * _weights(settings)
    passes = PASSES * samples / workers + evaluated
    return steps * step + passes * _pass_seconds(settings)


def _published(settings: Settings) -> int:
    """Return the number of training images before the data are read; of a task a guess."""
    if settings.task is None:
        return DATASETS[settings.data.name].train_size
    return settings.task.facts.train if settings.task.facts else UNKNOWN_SAMPLES


def _weights(settings: Settings) -> int:
    if settings.task is None:
        return weights(settings.model, DATASETS[settings.data.name])
    return settings.task.facts.weights if settings.task.facts else 0


def _pass_seconds(settings: Settings) -> float:
    """Return the seconds of one sample's forward pass; of a task what was measured."""
    if settings.task is None:
        adds = multiply_adds(settings.model, DATASETS[settings.data.name])
        return adds / MULTIPLY_ADDS_PER_SECOND
    facts = settings.task.facts
    return facts.sample_seconds / PASSES if facts else UNKNOWN_SECONDS


def _evaluated(settings: Settings, images: int) -> float:
    """Return the images that an epoch evaluates without training on them."""
    train, facts = settings.train, settings.task.facts if settings.task else None
    test = DATASETS[settings.data.name].test_size if settings.task is None else 0
    test = facts.test if facts else test
    held = validation_size(settings.data, images)
    between = train.target_checks - 1 if has_target(train) else 0
    return 2 * min(test, images - held) + held + between * (held or test)


def probe_seconds(settings: Settings, train_size: int) -> float:
    """Return the expected seconds of one probe, on one CPU core."""
    probe = settings.probe
    sizes = drawn_sizes(settings, train_size)
    gradients = probe.draws * len(sizes)
    samples = probe.draws * sum(sizes)
    for small, large in competing_pairs(settings, train_size):
        gradients += probe.pair_draws * (large // small + 1)
        samples += probe.pair_draws * 2 * large
    work = PASSES * samples * _pass_seconds(settings)
    each = SECONDS_PER_STEP + SECONDS_PER_WEIGHT_DRAWN * _weights(settings)
    return gradients * each + work


def box_seconds(settings: Settings, train_size: int) -> float:
    """Return the expected seconds of measuring the sharpness once, on one CPU core."""
    asked = settings.sharpness
    samples = LOOKS * asked.iterations * min(asked.samples, train_size)
    work = PASSES * samples * _pass_seconds(settings)
    climbed = asked.iterations * (asked.dimensions or 1) * _weights(settings)
    return work + climbed * SECONDS_PER_WEIGHT_CLIMBED


def sweep_seconds(configurations: tuple[Configuration, ...], cores: int) -> float:
    """Return the expected seconds of a sweep; a trial takes one core for each of its workers."""
    work = sum(trial_seconds(c.settings) * len(c.seeds) for c in configurations)
    count = sum(len(c.seeds) for c in configurations)
    parallel = max((c.settings.run.data_parallel for c in configurations), default=1)
    return START_SECONDS + work / max(1, min(cores // parallel, count))


def remaining(state: SweepState, now: float) -> Remaining | None:
    """Return the time left, from the pace of the trials so far; None before there are any."""
    left = [trial for trial in state.trials.values() if trial.status in ("queued", "running")]
    if not state.trials:
        return None
    slots = max(1, len(state.workers))
    pace = {name: _pace(state, name, now) for name in state.configurations}
    expected = {
        name: trial_seconds(configuration.settings, _train_size(state, configuration))
        for name, configuration in state.configurations.items()
    }
    ratios = [measured / expected[name] for name, measured in pace.items() if measured]
    correction = fmean(ratios) if ratios else 1.0
    each = {name: pace[name] or expected[name] * correction for name in expected}
    ends = [*_job_ends(state, left, each), *_after_choice(state, each)]
    longest = max(ends, default=0.0)
    return Remaining(max(longest, sum(ends) / slots), bool(ratios))


def _after_choice(state: SweepState, each: dict[str, float]) -> list[float]:
    """Return the seconds of the trials that choices of `[select]` will add, as `_job_ends` does.

    Which candidate will be chosen is not known, so they take the mean over its group.
    """
    means = [fmean(each[one.id] for one in group) for group in undecided(state)]
    return [mean for mean in means for _ in range(seeds_after(state))]


def _job_ends(state: SweepState, left: list[TrialState], each: dict[str, float]) -> list[float]:
    """Return the seconds until each job ends; replicates of a stack end together.

    Args:
        left: the trials that have not ended.
        each: the seconds of a trial's share in its stack, by configuration.
    """
    ends: dict[str, float] = {}
    for trial in left:
        job, plan = state.job_of(trial.id), state.plans.get(trial.id)
        size = len(plan.members) if plan else 1
        end = each[trial.configuration] * size * (1 - _done(state, trial))
        ends[job] = max(end, ends.get(job, 0.0))
    return list(ends.values())


def trial_remaining(state: SweepState, trial: TrialState, now: float) -> float | None:
    """Return the seconds until a running trial ends; None while its pace is not known."""
    done = _done(state, trial)
    if trial.started is None or done <= 0.02:
        return None
    left = _training(trial, _ran(state, trial, now)) * (1 / done - 1)
    left += _climbing(state, trial, len(trial.settings.sharpness.epsilon) - len(trial.sharpness))
    return left + _probing(state, trial, len(trial.settings.probe.at) - len(trial.probes))


def _pace(state: SweepState, configuration: str, now: float) -> float | None:
    """Return the measured seconds of a trial of a configuration, or of its share in a stack."""
    seconds = []
    for trial in state.replicates(configuration):
        if trial.started is None:
            continue
        if trial.status == "finished" and trial.ended_at is not None:
            seconds.append(_ran(state, trial, trial.ended_at) / trial.started.stacked)
        elif trial.status == "running" and (done := _done(state, trial)) > 0.02:
            whole = _training(trial, _ran(state, trial, now)) / done
            whole += _probing(state, trial, len(trial.settings.probe.at))
            whole += _climbing(state, trial, len(trial.settings.sharpness.epsilon))
            seconds.append(whole / trial.started.stacked)
    return fmean(seconds) if seconds else None


def _done(state: SweepState, trial: TrialState) -> float:
    """Return the fraction of a trial's work that is done.

    Where the batch size changes, a share of the budget does not take the same share of the time:
    the share is then that of the expected cost of steps and images.
    """
    started, train = trial.started, trial.settings.train
    changes = started is not None and started.total_samples is not None
    if not changes or trial.status != "running" or train.seconds is not None:
        return trial.fraction
    assert started is not None
    images = _images(state, trial.settings)
    whole = _work_seconds(
        trial.settings, images, started.total_steps or 0, started.total_samples or 0
    )
    steps, samples, _ = trial.trained()
    return min(1.0, _work_seconds(trial.settings, images, steps, samples) / whole)


def _ran(state: SweepState, trial: TrialState, until: float) -> float:
    """Return the seconds since a trial's start, without pauses."""
    since = trial.started.at if trial.started else until
    return until - since - state.paused_between(since, until)


def _training(trial: TrialState, elapsed: float) -> float:
    """Return the seconds since a trial's start, without probes and sharpness measurements."""
    probing = sum(probed.seconds for probed in trial.probes)
    sharpness = sum(measured.seconds for measured in trial.sharpness)
    return max(0.0, elapsed - (probing + sharpness))


def _probing(state: SweepState, trial: TrialState, times: int) -> float:
    """Return the expected seconds of `times` probes: the mean so far, or an estimate."""
    if trial.probes:
        return times * fmean(probed.seconds for probed in trial.probes)
    size = training_size(trial.settings.data, _images(state, trial.settings))
    return times * probe_seconds(trial.settings, size) if times else 0.0


def _climbing(state: SweepState, trial: TrialState, boxes: int) -> float:
    """Return the expected seconds of measuring the sharpness in `boxes` boxes; see `_probing`."""
    if trial.sharpness:
        return boxes * fmean(measured.seconds for measured in trial.sharpness)
    size = training_size(trial.settings.data, _images(state, trial.settings))
    return boxes * box_seconds(trial.settings, size) if boxes else 0.0


def _images(state: SweepState, settings: Settings) -> int:
    """Return the number of training images, with those that are held out."""
    data = state.data.get(settings.data.name)
    return data.train if data else _published(settings)


def _train_size(state: SweepState, configuration: Configuration) -> int | None:
    data = state.data.get(configuration.settings.data.name)
    return data.train if data else None
