"""Reads the claims of a preset; a mistake is reported in a sentence that names claim and key."""

from collections.abc import Collection, Sequence
from typing import Any

from batchscope.engine.errors import UsageProblem, nearest, printable, shown
from batchscope.engine.experiment.fields import check_value, field_types, full_key
from batchscope.engine.experiment.selectors import Idle, picked, read_selector, read_text, value_at
from batchscope.engine.metrics.layer_registry import LAYER
from batchscope.engine.metrics.metric import Place
from batchscope.engine.metrics.probe_values import PAIRS, is_probed
from batchscope.engine.metrics.registry import FITTING, MEASURES, TRIAL, places
from batchscope.engine.metrics.task_metrics import is_task_metric
from batchscope.engine.spec import Claim, Configuration

TREND = ("trend", "over")
COMPARISON = ("left", "relation", "right", "value")
LEFT_OUT = "claim left out, with nothing to compare"


def leave_out_idle(
    written: object, configurations: Sequence[Configuration], where: str
) -> tuple[object, list[str]]:
    """Leave out the claims for which a changed grid has no configurations, with a note on each."""
    if not isinstance(written, list):
        return written, []
    kept, notes = [], []
    for index, claim in enumerate(written):
        try:
            read_claims([claim], configurations, f"{where}: claims[{index}]")
        except Idle:
            notes.append(f"{LEFT_OUT}: {shown(claim.get('statement'), 120)}")
            continue
        except UsageProblem:
            pass  # `read_claims` reports it, with its place
        kept.append(claim)
    return kept, notes


def read_claims(
    written: object, configurations: Sequence[Configuration], where: str
) -> tuple[Claim, ...]:
    """Return the claims about these configurations.

    Raises:
        UsageProblem: a claim is malformed, or names something that does not exist.
    """
    if not isinstance(written, list) or not all(isinstance(claim, dict) for claim in written):
        raise UsageProblem(f"{where}: claims: expected tables, written [[claims]]")
    return tuple(
        read_claim(claim, configurations, f"{where}: claims[{index}]")
        for index, claim in enumerate(written)
    )


def read_claim(raw: dict[str, Any], configurations: Sequence[Configuration], where: str) -> Claim:
    """Return one claim; `where` is the file and its place. See `read_claims` for the errors."""
    types = field_types(Claim)
    for key in raw:
        if key not in types:
            raise UsageProblem(f"{where}: unknown key {printable(key)!r}{nearest(key, types)}")
    _check_kind(raw, where)
    claim: dict[str, Any] = {}
    for key, value in raw.items():
        at = f"{where}.{key}"
        if key in ("left", "right"):
            claim[key] = read_selector(value, configurations, at)
            continue
        check_value(value, types[key], at)
        claim[key] = read_text(value, at) if key in ("statement", "measure", "over") else value
    own = any(each.settings.task for each in configurations) and is_task_metric(claim["measure"])
    if claim["measure"] not in MEASURES and not own:
        hint = nearest(claim["measure"], MEASURES)
        raise UsageProblem(f"{where}.measure: unknown measure {claim['measure']!r}{hint}")
    if "over" in claim:
        claim["over"] = _ordered(claim, configurations, where)
    elif "right" in claim:
        _check_apart(claim, configurations, where)
    else:
        claim["value"] = _number(claim["value"], claim["measure"], f"{where}.value")
    _check_places(claim, configurations, where)
    return Claim(**claim)


def _check_kind(raw: dict[str, Any], where: str) -> None:
    """Check that a claim is a trend or a comparison, not both, and has the keys that it needs."""
    trend, comparison = ([key for key in keys if key in raw] for keys in (TREND, COMPARISON))
    if trend and comparison:
        raise UsageProblem(
            f"{where}: {trend[0]} and {comparison[0]} exclude each other: a claim is a trend over "
            "a setting, or left in a relation to right or to a value"
        )
    if not trend and not comparison:
        raise UsageProblem(
            f"{where}: needs trend and over, or left, relation and right, or relation and value"
        )
    if "right" in raw and "value" in raw:
        raise UsageProblem(
            f"{where}: right and value exclude each other: left is compared with other "
            "configurations, or with a number"
        )
    if comparison and "right" not in raw and "value" not in raw:
        raise UsageProblem(
            f"{where}.right: required, or value instead of it: a number to compare with"
        )
    compared = ("relation",) if "value" in raw else ("left", "relation")
    for key in ("statement", "measure", *(TREND if trend else compared)):
        if key not in raw:
            raise UsageProblem(f"{where}.{key}: required")
    if raw.get("relation") == "equal" and "within" not in raw:
        raise UsageProblem(
            f"{where}.within: required by relation 'equal': the largest difference that counts "
            "as equal"
        )
    if "within" in raw and raw.get("relation") != "equal":
        raise UsageProblem(f"{where}.within: belongs to the relation equal only")


def _number(value: float, measure: str, where: str) -> float:
    """Return the number that a measure is compared with; an accuracy above 1 is a mistake."""
    known = TRIAL.get(measure)
    if known and known.is_accuracy and abs(value) > 1:
        fraction = f": {value / 100:g} for {value:g} %" if abs(value) <= 100 else ""
        raise UsageProblem(f"{where}: {measure} is a fraction{fraction}, got {shown(value)}")
    return float(value)


def _ordered(claim: dict[str, Any], configurations: Sequence[Configuration], where: str) -> str:
    """Return the dotted key of a trend: a number in every configuration, or probed levels."""
    path, at = full_key(claim["over"], f"{where}.over"), f"{where}.over"
    if path in FITTING:
        _check_levels(path, claim["measure"], configurations, where)
        return path
    for configuration in configurations:
        value = value_at(configuration, path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            has = "is not set" if value is None else f"is {shown(value)}"
            raise UsageProblem(
                f"{at}: a trend needs numbers, and {path} {has} in configuration "
                f"{configuration.label!r}"
            )
    return path


def _check_levels(
    path: str, measure: str, configurations: Sequence[Configuration], where: str
) -> None:
    """Check that configurations are probed at the levels, and that the measure has values there."""
    if measure not in FITTING[path]:
        fitting = FITTING[path]
        raise UsageProblem(
            f"{where}.measure: {measure!r} has no value for each of {path}"
            f"{nearest(measure, fitting)}"
        )
    if not any(is_probed(each, path) for each in configurations):
        raise Idle(f"{where}.over: no configuration has both probe.at and {path}")
    for configuration in configurations if path == PAIRS else ():
        sizes = [large for _, large in configuration.settings.probe.pairs]
        for large in sizes:
            if sizes.count(large) > 1:
                raise UsageProblem(
                    f"{where}.over: a trend over {PAIRS} is over the large batch size, and "
                    f"{large} occurs twice in configuration {configuration.label!r}"
                )


def _check_places(
    claim: dict[str, Any], configurations: Sequence[Configuration], where: str
) -> None:
    """Check the keys that say where in a training the measure is read, such as `epsilon`.

    Raises:
        UsageProblem: a key belongs to other measures, or one that the measure needs is missing.
        Idle: no configuration measures it, or none at that place.
    """
    measure = claim["measure"]
    known = TRIAL.get(measure)
    own = {place.key: place for place in known.places} if known else {}
    for key, place in places().items():
        if key in claim and key not in own:
            raise UsageProblem(
                f"{where}.{key}: belongs to {place.measures}, and the measure is {measure}"
            )
    for key, place in own.items():
        there = dict.fromkeys(
            value for each in configurations for value in place.offered(each.settings)
        )
        if place is LAYER and any(each.settings.task for each in configurations):
            if key not in claim:
                raise UsageProblem(f"{where}.{key}: required by {measure}")
            continue  # the layers of a task are known once it has run
        if not there:
            raise Idle(
                f"{where}.measure: {measure} needs {place.setting}, which no configuration has"
            )
        if key in claim:
            _check_place(claim, place, there, where)
        elif place.required:
            raise UsageProblem(f"{where}.{key}: required by {measure}")


def _check_place(
    claim: dict[str, Any], place: Place, there: Collection[float | str], where: str
) -> None:
    """Check that a measure is read where some configuration measures it."""
    value = claim[place.key]
    if not isinstance(value, str):
        value = claim[place.key] = float(value)
    if value not in there:
        if isinstance(value, str):
            names = [each for each in there if isinstance(each, str)]
            raise Idle(
                f"{where}.{place.key}: {place.setting} has no {shown(value)}{nearest(value, names)}"
            )
        offered = ", ".join(f"{each:g}" for each in sorted(map(float, there)))
        raise Idle(
            f"{where}.{place.key}: nothing is measured at {shown(value)}; "
            f"{place.setting} has {offered}"
        )


def _check_apart(
    claim: dict[str, Any], configurations: Sequence[Configuration], where: str
) -> None:
    right = picked(claim["right"], configurations)
    for configuration in picked(claim["left"], configurations):
        if configuration in right:
            raise UsageProblem(
                f"{where}: left and right both select {configuration.label!r}; "
                "a configuration cannot be compared with itself"
            )
