"""Reads `[select]`: values of settings among which the best is chosen on a validation split.

The keys are those of `[grid]`. Each configuration of grid and cells is unfolded into candidates,
which are rivals: they differ in these keys alone. A cell that sets one of the keys stands as it is
in that key.
"""

import math
from itertools import product
from typing import Any, NamedTuple

from batchscope.engine.errors import UsageProblem, printable, shown
from batchscope.engine.experiment.fields import check_value, field_types, flat, full_key, type_of
from batchscope.engine.schedule.target import has_target
from batchscope.engine.spec import Selection, Settings

BY = "by"
SHARE = 0.1
"""Of the training images held out where `[select]` is there and `data.validation` is not."""
NOT_COMPARABLE = (
    "data.name",
    "data.validation",
    "train.target_accuracy",
    "train.target_loss",
    "train.target_checks",
)
"""Keys that change what a candidate would be chosen by."""

Overrides = dict[str, Any]


class SelectTable(NamedTuple):
    """The values to choose among by dotted key, and what decides; no values without `[select]`."""

    values: dict[str, list[Any]]
    by: str

    @property
    def selection(self) -> Selection | None:
        """As a sweep states it; None where nothing is chosen."""
        return Selection(keys=tuple(self.values), by=self.by) if self.values else None  # type: ignore[arg-type]

    def candidates(self, overrides: Overrides) -> list[Overrides]:
        """What a configuration of grid or cells is unfolded into: itself where nothing is open."""
        keys = self.open_keys(overrides)
        chosen = product(*(self.values[key] for key in keys))
        return [{**overrides, **dict(zip(keys, each, strict=True))} for each in chosen]

    def count(self, overrides: Overrides) -> int:
        """How many those are."""
        return math.prod(len(self.values[key]) for key in self.open_keys(overrides))

    def open_keys(self, overrides: Overrides) -> list[str]:
        """The keys that a configuration does not set itself."""
        return [key for key in self.values if key not in overrides]


def read_select(written: object, grid: dict[str, list[Any]], where: str) -> SelectTable:
    """The table `[select]`, beside a grid that was read.

    Raises:
        UsageProblem: it is malformed, or names what cannot be chosen.
    """
    if not isinstance(written, dict):
        raise UsageProblem(f"{where}: select: expected a table, written [select]")
    values: dict[str, list[Any]] = {}
    for key, entry in flat(written):
        at = f"{where}: select.{printable(key)}"
        if key == BY:
            check_value(entry, field_types(Selection)[BY], at)
            continue
        path = full_key(key, f"{where}: select", also=(BY,))
        if path in NOT_COMPARABLE:
            raise UsageProblem(f"{at}: cannot be chosen: candidates are compared by it")
        if path in values:
            raise UsageProblem(f"{at}: {path} is there twice, bare and dotted")
        if path in grid:
            raise UsageProblem(
                f"{at}: [grid] has it too: [grid] runs all values to compare them, [select] "
                "chooses the best one"
            )
        if not isinstance(entry, list) or not entry:
            raise UsageProblem(f"{at}: expected a list of values, got {shown(entry)}")
        for index, value in enumerate(entry):
            check_value(value, type_of(path), f"{at}[{index}]")
        values[path] = entry
    if written and not values:
        raise UsageProblem(
            f"{where}: select: needs a key and values to choose among, for example "
            "lr = [0.01, 0.03, 0.1]"
        )
    return SelectTable(values, written.get(BY, "validation_accuracy"))


def refusal(contest: SelectTable, settings: Settings) -> str | None:
    """Why a candidate with these settings could not be chosen; None where it can."""
    if not settings.data.validation:
        return (
            "data.validation: must be above 0 with [select]: what is chosen on the test set "
            "would look better there than it is"
        )
    if contest.by == "steps_to_target" and not has_target(settings.train):
        return (
            "select.by: steps_to_target needs train.target_accuracy or train.target_loss: "
            "a target to reach"
        )
    return None
