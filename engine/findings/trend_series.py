"""Gathers the levels of a trend: one value for each level, over the same configurations."""

from dataclasses import dataclass
from typing import NamedTuple

from batchscope.engine.experiment.selectors import Ladder
from batchscope.engine.findings.comparison_sides import LOST, Side, fate, gather, listed, named
from batchscope.engine.findings.missing_values import is_physical
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import spot_of
from batchscope.engine.metrics.probe_values import NAMES
from batchscope.engine.spec import Claim, Configuration

Series = tuple[Configuration, ...]
"""Configurations that differ only in the level, one for each level."""


class Diverged(NamedTuple):
    """A configuration of which every trial diverged: the place of its level, and its name."""

    level: int
    name: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """A side for each level, and what was left out.

    Attributes:
        sides: one for each level, in rising order.
        remarks: why some levels or configurations are missing.
        lost: trials that diverged or failed, in series that were left out.
        diverged: at which levels trainings diverged in series that were left out.
        awaited: why the first level that still lacks seeds must be waited for; empty if none.
    """

    sides: list[Side]
    remarks: list[str]
    lost: frozenset[str]
    awaited: str
    diverged: tuple[Diverged, ...] = ()


def levels_of(state: SweepState, claim: Claim, key: str, rungs: Ladder) -> Gathered:
    """Average every level over the same series.

    If one level of a series will never have a value, its other levels are left out too. Otherwise
    an average over different configurations could look like an effect of the level.
    """
    within = claim.over in NAMES
    series = list(zip(*rungs.levels.values(), strict=True))
    whole = [one for one in series if not any(fate(state, each) for each in one)]
    sides = []
    for level, members in zip(rungs.levels, zip(*whole, strict=True), strict=False):
        spot = spot_of(claim, level if within else None)
        sides.append(gather(state, claim.measure, members, f"{key} {level:g}", spot))
    lacks = (side.lack() for side in sides if side.thin and not side.pending)
    remarks = list(dict.fromkeys(lacks))  # all levels of a time may have the same reason
    broken = [one for one in series if one not in whole]
    if broken:
        remarks.append(_broken(state, broken))
    if rungs.aside and len(rungs.levels) > 1:
        remarks.append(_left_aside(key, len(rungs.aside), within))
    awaited = [side.lack() for side in sides if side.thin and side.pending]
    return Gathered(
        sides,
        remarks,
        _lost(state, broken),
        awaited[0] if awaited else "",
        _diverged(state, claim.measure, broken),
    )


def _diverged(state: SweepState, measure: str, broken: list[Series]) -> tuple[Diverged, ...]:
    """Return the levels at which trainings of a series diverged, so that it was left out."""
    if is_physical(measure):
        return ()
    return tuple(
        Diverged(at, named(each.label))
        for one in broken
        for at, each in enumerate(one)
        if "diverged" in fate(state, each)
    )


def _broken(state: SweepState, series: list[Series]) -> str:
    """Return the configurations that will never have a value; their series are left out."""
    gone = {each.label: fate(state, each) for one in series for each in one}
    clauses = [f"every trial of {named(label)} {why}" for label, why in gone.items() if why]
    which = "their series are" if len(clauses) > 1 else "its series is"
    return f"{listed(clauses)}; {which} left out at every level"


def _left_aside(key: str, count: int, within: bool) -> str:
    one = count == 1
    many, are = ("1 configuration", "is") if one else (f"{count} configurations", "are")
    if within:
        return f"{many} probed at other levels {are} left out"
    return f"{many} that {'differs' if one else 'differ'} in more than {key} {are} left out"


def _lost(state: SweepState, series: list[Series]) -> frozenset[str]:
    trials = (t for one in series for each in one for t in state.replicates(each.id))
    return frozenset(trial.id for trial in trials if trial.status in LOST)
