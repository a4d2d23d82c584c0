"""Reads `[[phases]]`, and says where schedule and phases cannot be."""

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
    """The configurations with the phases that each goes through, in their order.

    Raises:
        UsageProblem: a phase is malformed, or is for configurations that are not there.
    """
    if not isinstance(written, list) or not all(isinstance(phase, dict) for phase in written):
        raise UsageProblem(f"{where}: phases: expected tables, written [[phases]]")
    by_configuration: dict[str, list[tuple[Phase, str]]] = {each.id: [] for each in configurations}
    for index, raw in enumerate(written):
        at = f"{where}: phases[{index}]"
        for key in raw:
            if key not in KEYS:
                raise UsageProblem(f"{at}: unknown key {printable(key)!r}{nearest(key, KEYS)}")
        phase, members = _phase(raw, at), configurations
        if "where" in raw:
            selector = read_selector(raw["where"], configurations, f"{at}.where")
            members = list(picked(selector, configurations))
        for configuration in members:
            by_configuration[configuration.id].append((phase, at))
    return [_with(each, by_configuration[each.id]) for each in configurations]


def _phase(raw: dict[str, Any], where: str) -> Phase:
    moments = [key for key in ("at", "at_epoch") if key in raw]
    if len(moments) != 1:
        given = "both are given" if moments else "none is given"
        raise UsageProblem(
            f"{where}: when it begins is at, a share of the budget, or at_epoch; {given}"
        )
    (moment,) = moments
    check_value(raw[moment], field_types(Phase)[moment], f"{where}.{moment}")
    change = raw.get("set")
    if not isinstance(change, dict) or not change:
        raise UsageProblem(
            f"{where}.set: required, what changes, for example {{ lr = 0.001 }}"
            + (f", got {shown(change)}" if "set" in raw else "")
        )
    values: dict[str, Any] = {}
    for key, value in flat(change):
        path = full_key(key, f"{where}.set")
        if path not in SETTABLE:
            raise UsageProblem(
                f"{where}.set: {path} cannot change in mid-run; lr and batch_size can"
            )
        name = SETTABLE[path]
        if name in values:
            raise UsageProblem(f"{where}.set: {path} is there twice, bare and dotted")
        check_value(value, type_of(path), f"{where}.set.{printable(key)}")
        values[name] = float(value) if name == "lr" else value
    values[moment] = float(raw[moment])
    return Phase(**values)


def _with(configuration: Configuration, phases: list[tuple[Phase, str]]) -> Configuration:
    """The configuration with these phases, sorted by when they begin."""
    if not phases:
        return configuration
    epochs = configuration.settings.train.epochs
    label = f"in configuration {configuration.label!r}"
    if epochs is None and len({phase.at is None for phase, _ in phases}) > 1:
        raise UsageProblem(
            f"{phases[-1][1]}: at and at_epoch {label}: which comes first nobody knows with a "
            "budget that is not in epochs"
        )
    timed = []
    for phase, where in phases:
        if phase.at_epoch is not None and epochs is not None and phase.at_epoch >= epochs:
            raise UsageProblem(
                f"{where}.at_epoch: {phase.at_epoch:g} never comes {label}: "
                f"the budget ends after {epochs:,} epochs"
            )
        moment = phase.at if phase.at is not None else (phase.at_epoch or 0.0) / (epochs or 1)
        timed.append((moment, phase, where))
    timed.sort(key=lambda each: each[0])
    taken: set[tuple[float, str]] = set()
    for moment, phase, where in timed:
        new = {(moment, name) for name in SETTABLE.values() if getattr(phase, name) is not None}
        for _, name in sorted(new & taken):
            raise UsageProblem(f"{where}.set: {name} is set twice at one moment {label}")
        taken |= new
    ordered = tuple(phase for _, phase, _ in timed)
    return replace(configuration, settings=replace(configuration.settings, phases=ordered))


def course_problem(settings: Settings) -> str | None:
    """Why schedule and phases cannot be as they are; None where they can."""
    return _schedule_problem(settings) or _single_image_problem(settings)


def _schedule_problem(settings: Settings) -> str | None:
    schedule, asked = settings.schedule, settings.train.batch_size
    if schedule.kind == "step":
        if not schedule.at:
            return "schedule.at: required by kind 'step': shares of the budget, such as [0.5, 0.75]"
        if schedule.factor is None:
            return "schedule.factor: required by kind 'step': what the rate is divided by"
        if not _rises(schedule.at):
            return "schedule.at: expected shares in rising order, each once"
    if schedule.batch_warmup_epochs > 0:
        start = schedule.batch_warmup_start
        if start is None:
            return (
                "schedule.batch_warmup_start: required by batch_warmup_epochs: "
                "the batch size to begin with"
            )
        if start >= asked:
            return f"schedule.batch_warmup_start: {start} is not below the batch size of {asked}"
    return None


def _rises(values: Sequence[float]) -> bool:
    return all(one < other for one, other in pairwise(values))


def _single_image_problem(settings: Settings) -> str | None:
    """Where batch norm would see one image, or might; None where it would not."""
    if not has_batch_norm(settings.model) or not changing(settings):
        return None
    norm = f"batch norm ({batch_norm_key(settings.model)})"
    if settings.train.seconds is not None:
        return (
            f"train.seconds: with {norm} a batch size that changes needs "
            "another budget: where it changes, and so how many images end an epoch, would "
            "depend on the machine"
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
            f"{key}: {norm} has no variance over a single image; at least 2"
            for key, size in sizes.items()
            if size == 1
        ),
        None,
    )


def effective_schedule(schedule: Schedule) -> Schedule:
    """The schedule without what its kind never reads."""
    if schedule.kind != "step":
        schedule = replace(schedule, at=(), factor=None, by="lr")
    if schedule.by != "batch":
        schedule = replace(schedule, max_batch_size=None)
    if schedule.kind != "cosine":
        schedule = replace(schedule, final_lr_share=0.0)
    if not schedule.batch_warmup_epochs:
        schedule = replace(schedule, batch_warmup_start=None)
    return schedule
