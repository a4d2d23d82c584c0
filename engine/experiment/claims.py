"""Reads the claims of a preset: each mistake is one sentence that names the claim and the key."""

from collections.abc import Sequence
from typing import Any

from batchscope.engine.errors import UsageProblem, nearest, printable, shown
from batchscope.engine.experiment.fields import check_value, field_types, full_key
from batchscope.engine.experiment.measure_names import (
    ACCURACIES,
    COMPETED_NAMES,
    FITTING,
    MEASURES,
    PAIRS,
    PROBED,
    SHARPNESS,
    is_probed,
)
from batchscope.engine.experiment.selectors import Idle, picked, read_selector, read_text, value_at
from batchscope.engine.spec import Claim, Configuration

TREND = ("trend", "over")
COMPARISON = ("left", "relation", "right", "value")
LEFT_OUT = "claim left out, with nothing to compare"


def leave_out_idle(
    written: object, configurations: Sequence[Configuration], where: str
) -> tuple[object, list[str]]:
    """The claims without those that a changed grid left nothing to look at, and notes of these."""
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
            pass  # said by `read_claims`, with its place
        kept.append(claim)
    return kept, notes


def read_claims(
    written: object, configurations: Sequence[Configuration], where: str
) -> tuple[Claim, ...]:
    """The claims about these configurations.

    Raises:
        UsageProblem: a claim is malformed, or names what is not there.
    """
    if not isinstance(written, list) or not all(isinstance(claim, dict) for claim in written):
        raise UsageProblem(f"{where}: claims: expected tables, written [[claims]]")
    return tuple(
        _claim(claim, configurations, f"{where}: claims[{index}]")
        for index, claim in enumerate(written)
    )


def _claim(raw: dict[str, Any], configurations: Sequence[Configuration], where: str) -> Claim:
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
    if claim["measure"] not in MEASURES:
        hint = nearest(claim["measure"], MEASURES)
        raise UsageProblem(f"{where}.measure: unknown measure {claim['measure']!r}{hint}")
    if "over" in claim:
        claim["over"] = _ordered(claim, configurations, where)
    elif "right" in claim:
        _check_apart(claim, configurations, where)
    else:
        claim["value"] = _number(claim["value"], claim["measure"], f"{where}.value")
    if "at_share" in claim:
        claim["at_share"] = float(claim["at_share"])
    if "epsilon" in claim:
        claim["epsilon"] = float(claim["epsilon"])
    _check_probed(claim, configurations, where)
    _check_sharpness(claim, configurations, where)
    return Claim(**claim)


def _check_kind(raw: dict[str, Any], where: str) -> None:
    """Whether a claim is one thing, a trend or a comparison, and says all that it needs."""
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
        raise UsageProblem(f"{where}.within: required by equal: how far apart still counts as it")
    if "within" in raw and raw.get("relation") != "equal":
        raise UsageProblem(f"{where}.within: belongs to the relation equal alone")


def _number(value: float, measure: str, where: str) -> float:
    """What a measure is compared with; an accuracy in percent is taken for a mistake."""
    if measure in ACCURACIES and abs(value) > 1:
        fraction = f": {value / 100:g} for {value:g} %" if abs(value) <= 100 else ""
        raise UsageProblem(f"{where}: {measure} is a fraction{fraction}, got {shown(value)}")
    return float(value)


def _ordered(claim: dict[str, Any], configurations: Sequence[Configuration], where: str) -> str:
    """The dotted path of a setting that is a number in every configuration, or of probed levels."""
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
    """Whether trainings are probed at levels that the measure has a value at."""
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
                    f"{where}.over: a trend over {PAIRS} goes by the large batch size, and "
                    f"{large} is there twice in configuration {configuration.label!r}"
                )


def _check_probed(
    claim: dict[str, Any], configurations: Sequence[Configuration], where: str
) -> None:
    """Whether anything is probed, and at the moment asked for, where the measure needs it."""
    measure, share = claim["measure"], claim.get("at_share")
    if measure not in PROBED:
        if share is not None:
            raise UsageProblem(
                f"{where}.at_share: belongs to measures of the probe, and {measure} is none"
            )
        return
    over = PAIRS if measure in COMPETED_NAMES else ""
    if not any(is_probed(each, over) for each in configurations):
        needs = "probe.at and probe.pairs" if over else "probe.at"
        raise Idle(f"{where}.measure: {measure} needs {needs}, which no configuration has")
    if share is not None and not any(is_probed(each, over, share) for each in configurations):
        moments = sorted({at for each in configurations for at in each.settings.probe.at})
        there = ", ".join(f"{at:g}" for at in moments)
        raise Idle(f"{where}.at_share: nothing is probed at {share:g}; probe.at has {there}")


def _check_sharpness(
    claim: dict[str, Any], configurations: Sequence[Configuration], where: str
) -> None:
    """Whether any sharpness is measured, and in a box of the size asked for."""
    measure, epsilon = claim["measure"], claim.get("epsilon")
    if measure != SHARPNESS:
        if epsilon is not None:
            raise UsageProblem(f"{where}.epsilon: belongs to {SHARPNESS}, and {measure} is not it")
        return
    sizes = {size for each in configurations for size in each.settings.sharpness.epsilon}
    if not sizes:
        raise Idle(f"{where}.measure: {measure} needs sharpness.epsilon, which nothing has")
    if epsilon is not None and epsilon not in sizes:
        there = ", ".join(f"{size:g}" for size in sorted(sizes))
        raise Idle(
            f"{where}.epsilon: none is measured at {epsilon:g}; sharpness.epsilon has {there}"
        )


def _check_apart(
    claim: dict[str, Any], configurations: Sequence[Configuration], where: str
) -> None:
    right = picked(claim["right"], configurations)
    for configuration in picked(claim["left"], configurations):
        if configuration in right:
            raise UsageProblem(
                f"{where}: left and right both pick {configuration.label!r}: "
                "nothing can be compared with itself"
            )
