"""Reads `[interpolation]`: the line between the solutions of two configurations.

Each mistake is one sentence that names the key.
"""

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
    """The line between two of these configurations; None where none is asked for.

    Raises:
        UsageProblem: it is malformed, or (`Idle`) picks none.
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
                f"{at}.{key}: required: what the line goes {key}, for example {{ batch_size = 64 }}"
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
        raise UsageProblem(f"{at}.alpha: expected first the lower end, got {shown([low, high])}")
    return Interpolation(
        start=ends["from"].id,
        end=ends["to"].id,
        alpha=(float(low), float(high)),
        **{key: written[key] for key in ("points", "samples") if key in written},
    )


def leave_out_idle(
    written: object, configurations: Sequence[Configuration], where: str
) -> tuple[object, list[str]]:
    """The table, or none and a note where a changed grid left it without an end."""
    try:
        read_interpolation(written, configurations, where)
    except Idle as problem:
        reason = str(problem).removeprefix(f"{where}: ")
        return {}, [f"no line is drawn between two solutions: {reason}"]
    except UsageProblem:
        pass  # said by `read_interpolation`, with its place
    return written, []


def _one(value: object, configurations: Sequence[Configuration], where: str) -> Configuration:
    """The one configuration that a selector picks."""
    matches = picked(read_selector(value, configurations, where), configurations)
    if len(matches) > 1:
        labels = ", ".join(repr(each.label) for each in matches[:NAMED])
        more = ", …" if len(matches) > NAMED else ""
        raise UsageProblem(
            f"{where}: picks {len(matches)} configurations, and a line has one at each end: "
            f"{labels}{more}"
        )
    return matches[0]


def _check_together(start: Configuration, end: Configuration, where: str) -> None:
    if start.id == end.id:
        raise UsageProblem(
            f"{where}: from and to both pick {start.label!r}: there is no line to itself"
        )
    for table in ("data", "model"):
        one, other = getattr(start.settings, table), getattr(end.settings, table)
        if one != other:
            raise UsageProblem(
                f"{where}: {start.label!r} and {end.label!r} differ in [{table}]: "
                "a line lies between weights of one network, measured on the same images"
            )
