"""Reads `[[phases]]`, and checks schedule and phases."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from batchscope.engine.errors import UsageProblem, nearest, printable, shown
from batchscope.engine.experiment.fields import check_value, field_types, flat, full_key, type_of
from batchscope.engine.experiment.selectors import picked, read_selector
from batchscope.engine.networks.architectures import batch_norm_key, has_batch_norm
from batchscope.engine.schedule.course import changing
from batchscope.engine.spec import Configuration, Phase, Schedule, Settings

KEYS = ("at", "at_epoch", "set", "where")
SETTABLE = {"train.lr": "lr", "train.batch_size": "batch_size"}


def with_phases(
    written: object, configurations: list[Configuration], where: str
) -> list[Configuration]:
    """Return the configurations with their phases, in the order in which they begin.

    Raises:
        UsageProblem: a phase is malformed, or matches no configuration.
    """
    if not isinstance(written, list) or not all(isinstance(phase, dict) for phase in written):
        raise UsageProblem(f"{where}: phases: expected tables, written [[phases]]")
    by_configuration: dict[str, list[tuple[Phase, str]]] = {each.id: [] for each in configurations}
    for index, raw in enumerate(written):
        at = f"{where}: phases[{index}]"
        phase, members = read_phase(raw, at), configurations
        if "where" in raw:
            selector = read_selector(raw["where"], configurations, f"{at}.where")
            members = list(picked(selector, configurations))
        for configuration in members:
            by_configuration[configuration.id].append((phase, at))
    return [_with(each, by_configuration[each.id]) for each in configurations]


def read_phase(raw: dict[str, Any], where: str) -> Phase:
    """Return one phase, without the configurations that it changes.

    Raises:
        UsageProblem: it is malformed.
    """
    for key in raw:
        if key not in KEYS:
            raise UsageProblem(f"{where}: unknown key {printable(key)!r}{nearest(key, KEYS)}")
    moments = [key for key in ("at", "at_epoch") if key in raw]
    if len(moments) != 1:
        given = "both" if moments else "neither"
        raise UsageProblem(
            f"{where}: expected either at (a share of the budget) or at_epoch, got {given}"
        )
    (moment,) = moments
    check_value(raw[moment], field_types(Phase)[moment], f"{where}.{moment}")
    change = raw.get("set")
    if not isinstance(change, dict) or not change:
        raise UsageProblem(
            f"{where}.set: required: the new values, for example {{ lr = 0.001 }}"
            + (f"; got {shown(change)}" if "set" in raw else "")
        )
    values: dict[str, Any] = {}
    for key, value in flat(change):
        path = full_key(key, f"{where}.set")
        if path not in SETTABLE:
            raise UsageProblem(
                f"{where}.set: {path} cannot change during a training; only lr and batch_size can"
            )
        name = SETTABLE[path]
        if name in values:
            raise UsageProblem(f"{where}.set: {path} is given twice, bare and dotted")
        check_value(value, type_of(path), f"{where}.set.{printable(key)}")
        values[name] = float(value) if name == "lr" else value
    values[moment] = float(raw[moment])
    return Phase(**values)


def _with(configuration: Configuration, phases: list[tuple[Phase, str]]) -> Configuration:
    """Return the configuration with these phases, sorted by when they begin."""
    if not phases:
        return configuration
    epochs = configuration.settings.train.epochs
    label = f"in configuration {configuration.label!r}"
    if epochs is None and len({phase.at is None for phase, _ in phases}) > 1:
        raise UsageProblem(
            f"{phases[-1][1]}: at and at_epoch are mixed {label}; their order is only known with "
            "a budget in epochs"
        )
    timed = []
    for phase, where in phases:
        if phase.at_epoch is not None and epochs is not None and phase.at_epoch >= epochs:
            raise UsageProblem(
                f"{where}.at_epoch: {phase.at_epoch:g} is never reached {label}: "
                f"the budget ends after {epochs:,} epochs"
            )
        moment = phase.at if phase.at is not None else (phase.at_epoch or 0.0) / (epochs or 1)
        timed.append((moment, phase, where))
    timed.sort(key=lambda each: each[0])
    taken: set[tuple[float, str]] = set()
    for moment, phase, where in timed:
        new = {(moment, name) for name in SETTABLE.values() if getattr(phase, name) is not None}
        for _, name in sorted(new & taken):
            raise UsageProblem(f"{where}.set: {name} is set twice at the same time {label}")
        taken |= new
    ordered = tuple(phase for _, phase, _ in timed)
    return replace(configuration, settings=replace(configuration.settings, phases=ordered))


def course_problem(settings: Settings) -> str | None:
    """Return why schedule and phases are invalid; None if they are valid."""
    return _schedule_problem(settings) or _single_image_problem(settings)


def _schedule_problem(settings: Settings) -> str | None:
    schedule, asked = settings.schedule, settings.train.batch_size
    if schedule.kind == "step":
        if not schedule.at:
            return "schedule.at: required by kind 'step': shares of the budget, such as [0.5, 0.75]"
        if schedule.factor is None:
            return (
                "schedule.factor: required by kind 'step': what the learning rate is divided by, "
                "such as 10"
            )
        if not _rises(schedule.at):
            return "schedule.at: expected increasing shares without repetition"
    if schedule.batch_warmup_epochs > 0:
        start = schedule.batch_warmup_start
        if start is None:
            return (
                "schedule.batch_warmup_start: required by batch_warmup_epochs: "
                "the batch size at the start, below train.batch_size"
            )
        if start >= asked:
            return (
                f"schedule.batch_warmup_start: expected less than the batch size of {asked}, "
                f"got {start}"
            )
    return None


def _rises(values: Sequence[float]) -> bool:
    return all(one < other for one, other in pairwise(values))


def _single_image_problem(settings: Settings) -> str | None:
    """Return which key could give batch norm a batch of one image; None if none can."""
    if not has_batch_norm(settings.model) or not changing(settings):
        return None
    norm = f"batch norm ({batch_norm_key(settings.model)})"
    if settings.train.seconds is not None:
        return (
            f"train.seconds: not possible with {norm} and a changing batch size, because the "
            "size of an epoch's last batch would depend on the machine's speed; use epochs, "
            "steps or samples"
        )
    warmup = settings.schedule.batch_warmup_epochs > 0
    sizes = {
        "schedule.batch_warmup_start": settings.schedule.batch_warmup_start if warmup else None,
        "phases.set.batch_size": min(
            (phase.batch_size for phase in settings.phases if phase.batch_size), default=None
        ),
    }
    return next(
        (
            f"{key}: expected at least 2 with {norm}, which needs the variance over a batch; got 1"
            for key, size in sizes.items()
            if size == 1
        ),
        None,
    )


def effective_schedule(schedule: Schedule) -> Schedule:
    """Return the schedule without the keys that its kind ignores."""
    if schedule.kind != "step":
        schedule = replace(schedule, at=(), factor=None, by="lr")
    if schedule.by != "batch":
        schedule = replace(schedule, max_batch_size=None)
    if schedule.kind != "cosine":
        schedule = replace(schedule, final_lr_share=0.0)
    if not schedule.batch_warmup_epochs:
        schedule = replace(schedule, batch_warmup_start=None)
    return schedule
