"""The levels of a trend: what the same series of configurations measured at each of them."""

from dataclasses import dataclass

from batchscope.engine.experiment.selectors import Ladder
from batchscope.engine.findings.comparison_sides import LOST, Side, fate, gather, listed
from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.metrics.metric import Spot
from batchscope.engine.metrics.probe_values import NAMES
from batchscope.engine.spec import Claim, Configuration

Series = tuple[Configuration, ...]
"""One configuration a level."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A side for each level, and what was left aside.

    `lost` are the trials of series left aside that diverged or failed, `awaited` tells of the
    first level whose seeds are still to come, empty without one.
    """

    sides: list[Side]
    remarks: list[str]
    lost: frozenset[str]
    awaited: str


def levels_of(state: SweepState, claim: Claim, key: str, rungs: Ladder) -> Gathered:
    """Every level averaged over the same series.

    Where one level of a series will never have a value, its other levels are left aside too: an
    average over other configurations than at the next level would pass for an effect.
    """
    within = claim.over in NAMES
    series = list(zip(*rungs.levels.values(), strict=True))
    whole = [one for one in series if not any(fate(state, each) for each in one)]
    sides = []
    for level, members in zip(rungs.levels, zip(*whole, strict=True), strict=False):
        spot = Spot(level if within else None, claim.at_share, claim.epsilon)
        sides.append(gather(state, claim.measure, members, f"{key} {level:g}", spot))
    lacks = (side.lack() for side in sides if side.thin and not side.pending)
    remarks = list(dict.fromkeys(lacks))  # of a time all levels may lack the same
    broken = [one for one in series if one not in whole]
    if broken:
        remarks.append(_broken(state, broken))
    if rungs.aside and len(rungs.levels) > 1:
        remarks.append(_left_aside(key, len(rungs.aside), within))
    awaited = [side.lack() for side in sides if side.thin and side.pending]
    return Gathered(sides, remarks, _lost(state, broken), awaited[0] if awaited else "")


def _broken(state: SweepState, series: list[Series]) -> str:
    """Which configurations will have no value, and that their series are left aside."""
    gone = {each.label: fate(state, each) for one in series for each in one}
    clauses = [f"every trial of {label} {why}" for label, why in gone.items() if why]
    which = "their series are" if len(clauses) > 1 else "its series is"
    return f"{listed(clauses)}; {which} left aside"


def _left_aside(key: str, count: int, within: bool) -> str:
    one = count == 1
    many = f"{count} {'configuration' if one else 'configurations'}"
    if within:
        return f"{many} {'was' if one else 'were'} probed at other levels and left aside"
    return f"{many} {'differs' if one else 'differ'} in more than {key} and left aside"


def _lost(state: SweepState, series: list[Series]) -> frozenset[str]:
    trials = (t for one in series for each in one for t in state.replicates(each.id))
    return frozenset(trial.id for trial in trials if trial.status in LOST)
