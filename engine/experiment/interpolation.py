"""Reads `[interpolation]`: the line between the final weights of two configurations."""

from collections.abc import Sequence
from typing import Any

from batchscope.engine.errors import UsageProblem, nearest, printable, shown
from batchscope.engine.experiment.fields import check_value, field_types
from batchscope.engine.experiment.selectors import Idle, picked, read_selector
from batchscope.engine.spec import Configuration, Interpolation

ENDS = {"from": "start", "to": "end"}
KEYS = (*ENDS, "alpha", "points", "samples")
NAMED = 6


def read_interpolation(
    written: object, configurations: Sequence[Configuration], where: str
) -> Interpolation | None:
    """Return the line between two of these configurations; None if the table is empty.

    Raises:
        UsageProblem: the table is malformed, or (`Idle`) selects no configuration.
    """
    at = f"{where}: interpolation"
    if not isinstance(written, dict):
        raise UsageProblem(f"{at}: expected a table, written [interpolation]")
    if not written:
        return None
    types = field_types(Interpolation)
    for key in written:
        if key not in KEYS:
            hint = nearest(key, KEYS)
            raise UsageProblem(f"{where}: unknown key 'interpolation.{printable(key)}'{hint}")
    for key in ENDS:
        if key not in written:
            raise UsageProblem(
                f"{at}.{key}: required: the configuration at one end of the line, for example "
                "{ batch_size = 64 }"
            )
    ends: dict[str, Any] = {}
    for key, value in written.items():
        if key in ENDS:
            ends[key] = _one(value, configurations, f"{at}.{key}")
        else:
            check_value(value, types[key], f"{at}.{key}")
    _check_together(ends["from"], ends["to"], at)
    low, high = written.get("alpha", (-1.0, 2.0))
    if not low < high:
        raise UsageProblem(f"{at}.alpha: expected the lower end first, got {shown([low, high])}")
    return Interpolation(
        start=ends["from"].id,
        end=ends["to"].id,
        alpha=(float(low), float(high)),
        **{key: written[key] for key in ("points", "samples") if key in written},
    )


def leave_out_idle(
    written: object, configurations: Sequence[Configuration], where: str
) -> tuple[object, list[str]]:
    """Return the table, or an empty one and a note if the grid no longer has one of its ends."""
    try:
        read_interpolation(written, configurations, where)
    except Idle as problem:
        reason = str(problem).removeprefix(f"{where}: ")
        return {}, [f"no interpolation between final weights: {reason}"]
    except UsageProblem:
        pass  # `read_interpolation` raises it again
    return written, []


def _one(value: object, configurations: Sequence[Configuration], where: str) -> Configuration:
    """Return the only configuration that a selector matches; raise unless there is exactly one."""
    matches = picked(read_selector(value, configurations, where), configurations)
    if len(matches) > 1:
        labels = ", ".join(repr(each.label) for each in matches[:NAMED])
        more = ", …" if len(matches) > NAMED else ""
        raise UsageProblem(
            f"{where}: expected one configuration, but {len(matches)} match: {labels}{more}"
        )
    return matches[0]


def _span(of: Configuration) -> str:
    """Return the seeds of a configuration, which follow each other: 0 to 2."""
    first, *rest = of.seeds
    return f"{first} to {rest[-1]}" if rest else str(first)


def _check_together(start: Configuration, end: Configuration, where: str) -> None:
    if start.id == end.id:
        raise UsageProblem(
            f"{where}: from and to both match {start.label!r}; expected two configurations"
        )
    if not set(start.seeds) & set(end.seeds):
        raise UsageProblem(
            f"{where}: no seed is trained at both ends: with select.seeds_after, {start.label!r} "
            f"has seeds {_span(start)} and {end.label!r} has {_span(end)}"
        )
    for table in ("data", "model", "task"):
        one, other = getattr(start.settings, table), getattr(end.settings, table)
        if one != other and (table == "task" or start.settings.task is None):
            raise UsageProblem(
                f"{where}: {start.label!r} and {end.label!r} differ in [{table}]; "
                "both ends need the same model and the same data"
            )
