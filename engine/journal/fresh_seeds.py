"""The candidates of `[select]` and the fresh seeds of the chosen ones, as the journal has them.

With `select.seeds_after` a chosen candidate is trained again as a configuration of its own, which
`confirms` it. It is added once the choice is made (`engine.analysis.tuning.to_confirm`).
"""

from collections.abc import Iterable

from batchscope.engine.journal.sweep_state import SweepState
from batchscope.engine.spec import Configuration

OPEN = ("queued", "running", "stopped")


def groups(state: SweepState) -> dict[str, list[Configuration]]:
    """Return the candidates of each group of rivals, in preset order."""
    found: dict[str, list[Configuration]] = {}
    for configuration in state.configurations.values():
        if configuration.rivals:
            found.setdefault(configuration.rivals, []).append(configuration)
    return found


def confirmations(state: SweepState) -> dict[str, Configuration]:
    """Return the configurations with fresh seeds, by the group whose choice they confirm."""
    every = state.configurations
    return {every[each.confirms].rivals: each for each in every.values() if each.confirms in every}


def confirmed(state: SweepState) -> dict[str, str]:
    """Return which configuration with fresh seeds stands for a chosen candidate, by id."""
    return {each.confirms: each.id for each in state.configurations.values() if each.confirms}


def waits(state: SweepState, configurations: Iterable[Configuration]) -> bool:
    """Return whether any trial of these configurations has not ended."""
    trials = (trial for each in configurations for trial in state.replicates(each.id))
    return any(trial.status in OPEN for trial in trials)


def seeds_after(state: SweepState) -> int:
    """Return the number of fresh seeds for each choice; 0 without `select.seeds_after`."""
    selection = state.opened.selection if state.opened else None
    return selection.seeds_after if selection else 0


def undecided(state: SweepState) -> list[list[Configuration]]:
    """Return the groups that are to get fresh seeds and have no choice yet."""
    if not seeds_after(state):
        return []
    made = confirmations(state)
    return [
        group for name, group in groups(state).items() if name not in made and waits(state, group)
    ]


def trials_to_come(state: SweepState) -> int:
    """Return the number of trials that the choices still to be made will add."""
    return seeds_after(state) * len(undecided(state))
